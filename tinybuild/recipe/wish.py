"""A recipe as the rest of the house knows it: checked, or broken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tinybuild.errors import Fault
from tinybuild.sections import Publish, Sections
from tinybuild.source import Pin


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A wish, checked and with its defaults filled in."""

    name: str
    file: Path
    group: str
    data: Sections
    sha256: str
    pins: Mapping[str, Pin]  # of its lock
    common: Publish = field(default_factory=Publish)  # of zoo.yaml, as it stands there

    @property
    def summary(self) -> str:
        return self.data["summary"]


@dataclass(frozen=True, kw_only=True)
class Broken:
    """A recipe file that cannot be used, and why."""

    name: str
    file: Path
    group: str
    fault: Fault
