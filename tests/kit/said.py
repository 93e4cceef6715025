"""What a command says and answers, asked in this process."""

from __future__ import annotations

from pathlib import Path

from tinybuild.cli.command import Answer
from tinybuild.cli.commands import COMMANDS
from tinybuild.cli.session import Session


def said(root: Path, name: str, *words: str, **options: str) -> tuple[list[str], Answer]:
    """The lines of a command in a zoo, and its answer."""
    here, command = Session(root), COMMANDS[name]
    given = {**dict.fromkeys(command.options, ""), **options}
    lines, steps = list[str](), command.do(here, words, given)
    try:
        while True:
            lines.append(next(steps))
    except StopIteration as end:
        answer: Answer = end.value
        return lines, answer
    finally:
        here.close()
