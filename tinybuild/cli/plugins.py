"""doit in a zoo: `doit list`, `doit check` and the like are tinybuild's commands.

The entry points of the group doit.COMMAND in pyproject.toml name what stands here in place of
doit's own commands. Elsewhere they do what they did, and no name is taken that doit did not have:
another project may have a task `build` or `check`. So commands of that kind come through `Run`,
which doit asks for all that it does not know.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from doit.cmd_base import Command
from doit.cmd_run import Run as DoitRun
from doit.cmdparse import CmdParseError
from doit.doit_cmd import DoitMain
from doit.exceptions import InvalidCommand, InvalidDodoFile

from tinybuild.errors import Fault, RecipeFault
from tinybuild.progress import Progress

OWN = {command.get_name(): command for command in DoitMain.DOIT_CMDS}
COMMANDS_HERE = "what tinybuild does in this zoo, and its commands"
RECEIPTS = "receipts decide what is up to date, doit keeps no record"
# Commands of doit that have no meaning here, with what to do instead.
MOOT: Mapping[str, tuple[str, str]] = {
    "forget": (RECEIPTS, "build it again: doit -a NAME; remove it: doit clean NAME"),
    "reset-dep": (RECEIPTS, "see why something runs: doit why NAME"),
    "dumpdb": (RECEIPTS, "read build/NAME/STAGE/receipt.json, or doit why NAME"),
    "ignore": ("a recipe cannot be ignored", "name those to build, or move its file elsewhere"),
    "strace": ("a stage sees only what it declares", "see what it depends on: doit why NAME"),
    "tabcompletion": ("the commands are tinybuild's", "see tinybuild completion --help"),
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


def _stopped(fault: Fault) -> int:
    """Nothing was built, and this is why."""
    from tinybuild.cli.session import findings, session

    session().outcome = findings(fault)
    return _refused(fault)


def _ours(name: str) -> type[Command]:
    """A command of the face in place of doit's own."""
    original = OWN[name]

    def parse_execute(self: Command, given: Sequence[str]) -> object:
        return _face([name, *given]) if zoo_here() else original.parse_execute(self, given)

    said = {"doc_purpose": COMMANDS_HERE} if name == "help" and zoo_here() else {}
    return type(name.title(), (original,), {"name": name, "parse_execute": parse_execute, **said})


def _face(words: Sequence[str]) -> int:
    from tinybuild.cli.face import main

    return main(words, program="doit")


def _moot(name: str) -> type[Command]:
    why, hint = MOOT[name]

    def parse_execute(self: Command, given: Sequence[str]) -> object:
        if zoo_here():
            return _refused(RecipeFault.of(f"doit {name} does nothing here: {why}", hint=hint))
        return OWN[name].parse_execute(self, given)

    return type(name.title(), (OWN[name],), {"name": name, "parse_execute": parse_execute})


def _is_command(word: str) -> bool:
    """Whether it is ours, and no recipe's."""
    from tinybuild.cli.session import session

    if any(word in names for names in (session().clean.groups or {}).values()):
        return False
    from tinybuild.cli.commands import COMMANDS

    return word in COMMANDS


class Run(DoitRun):  # type: ignore[misc]  # doit has no types
    """Building, with patterns for names, and with the nearest names where one is not known."""

    name = "run"

    def parse_execute(self, in_args: list[str]) -> object:
        if zoo_here() and in_args:
            if _is_command(in_args[0]):
                return _face(in_args)
            if {"-h", "--help"} & {*in_args}:
                return _face(["help"])
        try:
            return super().parse_execute(in_args)
        except CmdParseError:
            if not zoo_here():
                raise
        except InvalidDodoFile:
            if not zoo_here() or Path("dodo.py").is_file():
                raise
            what, hint = "there is no dodo.py here for doit to read", "tinybuild build needs none"
            return _refused(RecipeFault.of(what, hint=hint))
        return _face(["build", *in_args])  # it knows more options, and says which it does not know

    def execute(self, params: Mapping[str, object], args: list[str]) -> object:
        if not zoo_here() or params.get("dodoFile", "dodo.py") != "dodo.py":
            return super().execute(params, args)
        from tinybuild.cli.session import session

        self.loader.load_tasks = functools.partial(_load, self.loader.load_tasks, params)
        if params.get("always") and session().fault is None:  # in any case means: made here
            session().builder.stored.reads = False
        try:
            for word in {word for word in args if set(word) & set("*?[")}:
                if word not in session().zoo.tasks:
                    places = session().places(word)
                    args = [name for one in args for name in (places if one == word else [one])]
            return super().execute(params, args)
        except InvalidCommand as error:
            if error.not_found is None:
                raise
            return _stopped(_unknown(error.not_found))
        except Fault as fault:
            return _stopped(fault)


def _load(
    load: Callable[..., object], params: Mapping[str, object], cmd: Run, pos_args: object
) -> object:
    """Has doit make its tasks. It needs no more of ours than it was asked for, unless there are
    others, which may depend on any, or all stages are to be done or told of."""
    from tinybuild.cli.doit import DOIT_CONFIG
    from tinybuild.cli.session import session

    creators = [
        name
        for name, one in cmd.loader.namespace.items()
        if name.startswith("task_") or hasattr(one, "create_doit_tasks")
    ]
    ours = params["reporter"] is DOIT_CONFIG["reporter"]
    if creators == ["task_recipes"] and ours and not (params["always"] or params["single"]):
        session().ask(cmd.sel_tasks)
    return load(cmd=cmd, pos_args=pos_args)


def _unknown(task: str) -> Fault:
    """What is wrong with the name of a task that is none."""
    from tinybuild.cli.session import session, unknown

    if (none := session().fault) is not None:  # no recipe was read
        return none
    try:
        session().places(task)
    except Fault as fault:
        return fault
    return unknown(task, session().zoo.names)


Clean, Help, List = map(_ours, ("clean", "help", "list"))
DumpDB, Forget, Ignore, Info, ResetDep, Strace, TabCompletion = map(
    _moot, ("dumpdb", "forget", "ignore", "info", "reset-dep", "strace", "tabcompletion")
)
