"""The face for a dodo.py: `from tinybuild.tasks import *` makes the folder it stands in a zoo."""

from tinybuild.cli.doit import *  # noqa: F403
