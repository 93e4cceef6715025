"""The face: `tinybuild COMMAND ...`, and what `doit COMMAND ...` does in a zoo."""

from __future__ import annotations

import argparse
import json
import os
import sys
import traceback
from collections.abc import Generator, Mapping, Sequence
from typing import NoReturn

from tinybuild import __version__
from tinybuild.cli.command import JSON, Answer, Command, Group, Option, Options
from tinybuild.cli.commands import COMMANDS
from tinybuild.cli.session import findings, placed, session
from tinybuild.errors import Fault, RecipeFault, nearest
from tinybuild.files import explain
from tinybuild.paths import Json
from tinybuild.progress import Progress
from tinybuild.workers import Bug

GROUPS: Mapping[Group, str] = {
    "build": "Build",
    "look": "Look",
    "hub": "The Hub, and pull requests",
    "zoo": "Recipes and their material",
}


def main(arguments: Sequence[str] | None = None, program: str = "tinybuild") -> int:
    """Runs a command; the exit code: 0, 1 where something is wrong, 2 for a bug of ours, 3 where
    something moved (of commands that look for that)."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _main(words, program)
    except Fault as fault:
        Progress().warn(str(fault))
        if "--json" in words:
            _print(findings(fault))
        return 1


def _main(words: list[str], program: str) -> int:
    if words[:1] == ["-C"]:
        _enter(words[1:2])
        words = words[2:]
    match words:
        case [] | ["help" | "-h" | "--help"]:
            Progress().say(usage(program))
        case ["--version"]:
            Progress().say(f"tinybuild {__version__}")
        case ["help", name, *_]:
            _parser(name, _known(name, program), program).print_help()
        case [name, *rest]:
            command = _known(name, program)
            given = vars(_given(_parser(name, command, program), command, rest))
            named = given.pop("words", [])
            said = given.pop("json")
            options = {key: _text(value) for key, value in given.items()}
            return perform(name, named, options, as_json=said)
    return 0


def _enter(folder: Sequence[str]) -> None:
    try:
        os.chdir(folder[0])
    except IndexError:
        raise RecipeFault.of("-C needs a folder", hint="-C DIR COMMAND") from None
    except OSError as error:
        hint = "give the folder of a zoo; tinybuild init DIR makes one"
        raise RecipeFault.of(f"-C {folder[0]}: {error.strerror}", hint=hint) from None


def _known(name: str, program: str) -> Command:
    """The command of a name; raises RecipeFault."""
    if name in COMMANDS:
        return COMMANDS[name]
    if os.path.isdir("recipes") and name in session().zoo.recipes:
        hint = f"to build the recipe: {program} build {name}"
    else:
        near = nearest(name, COMMANDS)
        hint = f"did you mean {' or '.join(near)}?" if near else f"see {program} help"
    raise RecipeFault.of(f"there is no command {name}", hint=hint)


def usage(program: str) -> str:
    """What `help` says."""
    lines = [
        f"usage: {program} COMMAND [...]      in a zoo: a folder with recipes/",
        "",
        "Builds tiny models, tokenizers and datasets from the recipes in recipes/, into dist/.",
    ]
    width = max(map(len, COMMANDS))
    for group, title in GROUPS.items():
        members = [(name, command) for name, command in COMMANDS.items() if command.group == group]
        if members:
            lines += ["", f"{title}:"]
            lines += [f"  {name:<{width}}  {command.doc}" for name, command in members]
    said = f"{program} help COMMAND"
    return "\n".join([*lines, "", f"{said} says what a command takes."])


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise RecipeFault.of(f"{self.prog}: {message}", hint=f"see {self.prog} --help")


def _parser(name: str, command: Command, program: str) -> argparse.ArgumentParser:
    form = argparse.RawDescriptionHelpFormatter
    about = f"{command.doc[0].upper()}{command.doc[1:]}."
    parser = _Parser(
        prog=f"{program} {name}",
        usage=" ".join([program, name, *([command.words] if command.words else []), "[OPTIONS]"]),
        description=f"{about}\n{command.more}".rstrip(),
        formatter_class=form,
        allow_abbrev=False,
    )
    if command.words:
        parser.add_argument("words", nargs="*", help=argparse.SUPPRESS)
    for option, said in {**command.options, "json": JSON}.items():
        _add(parser, option, said)
    return parser


def _given(
    parser: argparse.ArgumentParser, command: Command, words: Sequence[str]
) -> argparse.Namespace:
    """What a command was given. Raises RecipeFault."""
    given, others = parser.parse_known_intermixed_args(words)
    if not others:
        return given
    word, see = others[0].partition("=")[0], f"see {parser.prog} --help"
    if not word.startswith("-"):
        raise RecipeFault.of(f"{parser.prog} takes no names, and was given {word}", hint=see)
    near = nearest(word, [f"--{option}" for option in (*command.options, "json")])
    hint = f"did you mean {' or '.join(near)}?" if near else see
    raise RecipeFault.of(f"{parser.prog} has no option {word}", hint=hint)


def _add(parser: argparse.ArgumentParser, name: str, option: Option) -> None:
    flags = [f"--{name}", *([f"-{option.short}"] if option.short else [])]
    if option.value:
        parser.add_argument(*flags, dest=name, default="", metavar=option.value, help=option.help)
    else:
        parser.add_argument(*flags, dest=name, action="store_true", help=option.help)


def _text(value: str | bool) -> str:
    return value if isinstance(value, str) else "yes" if value else ""


def perform(name: str, words: Sequence[str], options: Options, *, as_json: bool) -> int:
    """Does a command here and says what it says; its exit code."""
    here, command = session(), COMMANDS[name]
    # What transformers warns of configs is for those who wrote them.
    os.environ["TRANSFORMERS_VERBOSITY"] = os.environ.get("TRANSFORMERS_VERBOSITY") or "error"
    if as_json:
        here.screen.hush()
    code = 1
    data: Json
    try:
        if command.zoo and here.fault is not None:
            raise here.fault
        answer = _follow(command.do(here, words, options), here.screen)
        code, data = answer.code, answer.data
    except Exception as error:  # noqa: BLE001 - whatever nobody meant to raise is a bug of ours
        fault = explain(error, here.root) if isinstance(error, OSError) else error
        if isinstance(fault, Fault):
            wrong = placed(fault, name)
            here.screen.warn(str(wrong))
            data = findings(wrong)
        else:
            bug = str(error) if isinstance(error, Bug) else traceback.format_exc()
            here.screen.warn(f"a bug in {name}; please report it\n{bug}")
            code, data = 2, {"bug": bug}
    if as_json:
        _print(data)
    return code


def _print(data: Json) -> None:
    """The one thing that `--json` writes to standard output."""
    Progress(sys.stdout).say(json.dumps(data, ensure_ascii=False, indent=2))


def _follow(lines: Generator[str, None, Answer], screen: Progress) -> Answer:
    """Says the lines of a command as they come; its answer."""
    while True:
        try:
            line = next(lines)
        except StopIteration as end:
            answer: Answer = end.value
            return answer
        screen.say(line)
