"""What moved upstream since the locks were written; nothing is written here.

`upstream.ask` runs in a worker that may reach the Hub: it takes `Questions` and gives `Answers`.
"""

from tinybuild.drift.moved import Answers, Moved, Question, Questions, Said, data, lines

__all__ = ["Answers", "Moved", "Question", "Questions", "Said", "data", "lines"]
