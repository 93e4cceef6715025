"""`completion`: what a shell completes after `tinybuild` and, in a zoo, after `doit`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tinybuild.cli.command import JSON, Answer, Command, Lines, Options
from tinybuild.cli.commands import COMMANDS
from tinybuild.cli.plugins import zoo_here
from tinybuild.cli.session import Session
from tinybuild.engine.plan import listed
from tinybuild.errors import RecipeFault

# Each asks `PROGRAM completion words -- PROGRAM WORD ...`; files, where nothing is said.
BASH = """\
_tinybuild() {
    local cur=${COMP_WORDS[COMP_CWORD]} IFS=$'\\n'
    COMPREPLY=($(tinybuild completion words -- "${COMP_WORDS[@]:0:COMP_CWORD+1}" 2>/dev/null))
}
complete -o default -F _tinybuild tinybuild doit
"""
ZSH = """\
_tinybuild() {
    local -a found
    found=(${(f)"$(tinybuild completion words -- "${(@)words[1,CURRENT]}" 2>/dev/null)"})
    if (( $#found )); then compadd -Q -a found; else _files; fi
}
compdef _tinybuild tinybuild doit
"""
FISH = """\
function __tinybuild
    set -l typed (commandline -opc) (commandline -ct)
    tinybuild completion words -- $typed 2>/dev/null
end
complete -c tinybuild -a '(__tinybuild)'
complete -c doit -a '(__tinybuild)'
"""
SHELLS: Mapping[str, str] = {"bash": BASH, "zsh": ZSH, "fish": FISH}


def _completion(here: Session, words: Sequence[str], options: Options) -> Lines:
    match words:
        case [shell] if shell in SHELLS:
            yield SHELLS[shell].rstrip("\n")
            return Answer(data=SHELLS[shell])
        case ["words", program, *before, begun]:
            found = sorted({one for one in _after(here, program, before) if one.startswith(begun)})
            yield from found
            return Answer(data=[*found])
    hint = " or ".join(f"tinybuild completion {shell}" for shell in SHELLS)
    raise RecipeFault.of("completion is for a shell that is named", hint=hint)


def _after(here: Session, program: str, before: Sequence[str]) -> Iterator[str]:
    """What can stand after some words; nothing of ours where doit is another project's."""
    if program.endswith("doit") and not zoo_here():
        return
    if before[:1] == ["-C"]:  # another zoo: its names are not these
        before, names = before[2:], list[str]()
    else:
        names = _names(here)
    if not before:
        yield from COMMANDS
        yield "help"
        yield from names if program.endswith("doit") else ()
    elif before == ["help"]:
        yield from COMMANDS
    elif before[0] in COMMANDS:
        command = COMMANDS[before[0]]
        yield from (f"--{option}" for option in {**command.options, "json": JSON})
        yield from names if "NAME" in command.words else ()
    elif program.endswith("doit"):
        yield from names


def _names(here: Session) -> list[str]:
    """Of recipes and groups, as their files say: no recipe is read."""
    folder = here.root / "recipes"
    if not folder.is_dir():
        return []
    files, groups = listed(folder)
    return [path.stem for path, _ in files] + [group for group in groups if group]


COMPLETION = Command(
    doc="print what makes a shell complete commands, options and the names of recipes",
    do=_completion,
    words="bash | zsh | fish",
    zoo=False,
    group="zoo",
    more='In ~/.bashrc: eval "$(tinybuild completion bash)"; in ~/.zshrc, after compinit:\n'
    'eval "$(tinybuild completion zsh)"; fish: tinybuild completion fish | source.\n'
    "The same completes doit in a zoo.",
)
