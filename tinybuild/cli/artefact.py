"""`verify`, `rebuild` and `import`: what can be done with a bundle alone."""

from __future__ import annotations

from collections.abc import Sequence

from tinybuild import progress, wire
from tinybuild.artefact import place, verify
from tinybuild.cli.command import Answer, Command, Lines, Options
from tinybuild.cli.session import Session
from tinybuild.errors import RecipeFault

WORDS = "DIR | NAME | OWNER/REPOSITORY[@REVISION]"


def _one(command: str, words: Sequence[str]) -> str:
    if len(words) != 1:
        hint = f"{command} {WORDS}"
        raise RecipeFault.of(f"{command} takes one bundle", hint=hint)
    return words[0]


def _verify(here: Session, words: Sequence[str], options: Options) -> Lines:
    with place.found(_one("verify", words), here.root, here.pool) as found:
        told = verify.verify(found.folder)
    at = f" at commit {found.commit}" if found.commit else ""
    if told.problems:
        yield f"{found.shown}{at} is not what its SHA256SUMS says:"
        yield from (f"  {problem}" for problem in told.problems)
    else:
        size = progress.size(told.bytes)
        yield f"{found.shown}{at} is whole: {told.files} files, {size}, as its SHA256SUMS says"
    data = {"bundle": found.shown, "commit": found.commit or None, **wire.dump(told)}
    return Answer(data=data, code=1 if told.problems else 0)


VERIFY = Command(
    doc="read every file of a bundle, and say what is not as its SHA256SUMS says",
    do=_verify,
    words=WORDS,
    zoo=False,
    more="Also files that it does not name, links, modes, and the archive beside the folder.\n"
    "NAME is a recipe's, for dist/NAME. Exit code 1 where anything is not so.",
)
