"""A stage called in this process."""

from __future__ import annotations

from collections.abc import Callable

from tinybuild.workers import Job

MakeJob = Callable[..., Job]  # the fixture `job` of conftest.py
