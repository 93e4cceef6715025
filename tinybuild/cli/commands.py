"""The commands by name: what one needs is imported when somebody asks for it."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping

from tinybuild.cli.command import Command

# Where each stands: module:NAME below tinybuild.cli, in the order of the help.
PLACES: Mapping[str, str] = {
    "affected": "compare:AFFECTED",
    "diff": "compare:DIFF",
    "build": "building:BUILD",
    "clean": "building:CLEAN",
    "store": "storing:STORE_COMMAND",
    "list": "building:LIST",
    "path": "building:PATH",
    "why": "why:WHY",
    "check": "checking:CHECK",
    "plan": "planning:PLAN",
    "show": "showing:SHOW",
    "page": "paging:PAGE",
    "outdated": "drift:OUTDATED",
    "update": "drift:UPDATE",
    "ci": "ci:CI",
    "init": "starting:INIT",
    "new": "starting:NEW",
    "schema": "editors:WRITE",
    "completion": "completing:COMPLETION",
    "verify": "artefact:VERIFY",
    "sign": "artefact:SIGN",
    "publish": "publish:PUBLISH",
    "rebuild": "artefact:REBUILD",
    "import": "artefact:IMPORT",
    "unpack": "unpack:UNPACK",
    "missing": "architectures:WRITE_MISSING",
    "table": "architectures:WRITE_TABLE",
}


class _Commands(Mapping[str, Command]):
    """Importing all of them takes half a second."""

    def __getitem__(self, name: str) -> Command:
        module, _, given = PLACES[name].partition(":")
        command: Command = getattr(importlib.import_module(f"tinybuild.cli.{module}"), given)
        return command

    def __contains__(self, name: object) -> bool:
        return name in PLACES

    def __iter__(self) -> Iterator[str]:
        return iter(PLACES)

    def __len__(self) -> int:
        return len(PLACES)


COMMANDS: Mapping[str, Command] = _Commands()
