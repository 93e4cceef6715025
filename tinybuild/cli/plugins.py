"""doit's commands in a zoo: `doit list` and the like are tinybuild's, elsewhere they are doit's.

The entry points of the group doit.COMMAND in pyproject.toml name the attributes of this module.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from doit.cmd_base import Command
from doit.cmd_run import Run as DoitRun
from doit.doit_cmd import DoitMain
from doit.exceptions import InvalidCommand

from tinybuild.errors import Fault, RecipeFault
from tinybuild.progress import Progress

OWN = {command.get_name(): command for command in DoitMain.DOIT_CMDS}
RECEIPTS = "receipts decide what is up to date, doit keeps no record"
# Commands of doit that have no meaning here, with what to do instead.
MOOT: Mapping[str, tuple[str, str]] = {
    "forget": (RECEIPTS, "build it again: doit -a NAME; remove it: doit clean NAME"),
    "reset-dep": (RECEIPTS, "see why something runs: doit why NAME"),
    "dumpdb": (RECEIPTS, "read build/NAME/STAGE/receipt.json, or doit why NAME"),
    "ignore": ("a recipe cannot be ignored", "name those to build, or move its file elsewhere"),
    "info": ("tasks are told by the recipe that they are of", "doit why NAME, or doit list NAME"),
}


def zoo_here() -> bool:
    """Whether the current folder is a zoo of tinybuild."""
    dodo = Path("dodo.py")
    if dodo.is_file():
        return b"tinybuild" in dodo.read_bytes()
    return Path("recipes").is_dir()


def _refused(fault: Fault) -> int:
    Progress().warn(str(fault))
    return 1


def __getattr__(name: str) -> type[Command]:
    """The class of a command, by its name with _ for -."""
    name = name.replace("_", "-")
    if name in MOOT:
        return _moot(name)
    from tinybuild.cli.commands import COMMANDS

    if name == "help" or name in COMMANDS:
        return _ours(name, COMMANDS[name].doc if name in COMMANDS else "what tinybuild does")
    raise AttributeError(name)


def _ours(name: str, doc: str) -> type[Command]:
    """A command of the face; in a folder that is no zoo what it was without tinybuild: a command
    of doit's own, or the name of a task."""
    original = OWN.get(name)

    def parse_execute(self: Command, given: Sequence[str]) -> object:
        if zoo_here():
            from tinybuild.cli.face import main

            return main([name, *given], program="doit")
        if original is not None:
            return original.parse_execute(self, given)
        return DoitRun.parse_execute(self, [name, *given])

    body = {"name": name, "doc_purpose": doc, "parse_execute": parse_execute}
    return type(name.title(), (original or DoitRun,), body)


def _moot(name: str) -> type[Command]:
    why, hint = MOOT[name]

    def parse_execute(self: Command, given: Sequence[str]) -> object:
        if zoo_here():
            return _refused(RecipeFault.of(f"doit {name} does nothing here: {why}", hint=hint))
        return OWN[name].parse_execute(self, given)

    return type(name.title(), (OWN[name],), {"name": name, "parse_execute": parse_execute})


class Run(DoitRun):  # type: ignore[misc]  # doit has no types
    """Building, with patterns for names, and with the nearest names where one is not known."""

    name = "run"

    def parse_execute(self, in_args: list[str]) -> object:
        if {"-h", "--help"} & {*in_args} and zoo_here():
            from tinybuild.cli.face import main

            return main(["help"], program="doit")
        return super().parse_execute(in_args)

    def execute(self, params: Mapping[str, object], args: list[str]) -> object:
        if not zoo_here() or params["dodoFile"] != "dodo.py":
            return super().execute(params, args)
        from tinybuild.cli.session import session, unknown

        zoo = session().zoo
        known = {*zoo.recipes, *zoo.groups, *(broken.name for broken in zoo.broken)}
        patterns = {word for word in args if set(word) & set("*?[") and word not in zoo.tasks}
        try:
            for word in patterns:
                places = session().named([word])
                args = [name for one in args for name in (places if one == word else [one])]
            return super().execute(params, args)
        except InvalidCommand as error:
            if error.not_found is None:
                raise
            stage, _, name = error.not_found.rpartition(":")
            for broken in zoo.broken:
                if broken.name == name:
                    return _refused(session().refusal(broken))
            return _refused(unknown(name or stage, known - {""}))
        except Fault as fault:
            return _refused(fault)
