"""`verify`, `rebuild` and `import`: what can be done with a bundle alone."""

from __future__ import annotations

from collections.abc import Sequence

from tinybuild import progress, wire
from tinybuild.artefact import place, rebuild, verify
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


def _rebuild(here: Session, words: Sequence[str], options: Options) -> Lines:
    with place.found(_one("rebuild", words), here.root, here.pool) as found:
        verify.intact(found.folder, found.shown)
        yield f"{found.shown}: building what it tells, from nothing"
        done = rebuild.rebuild(found.folder)
    made_from = f", made from {', '.join(done.made_from)}" if done.made_from else ""
    if done.differences:
        many = f"{len(done.differences)} of {done.files} files are not the same"
        yield f"{found.shown} (the recipe {done.recipe}{made_from}): {many}"
        yield from (f"  {difference}" for difference in done.differences)
        if not done.toolchain:
            yield "the versions are the same: the code of tinybuild differs, or the processor's"
    else:
        same = f"is byte-identical: {done.files} files"
        yield f"{found.shown} (the recipe {done.recipe}{made_from}) {same}"
    data = {"bundle": found.shown, "commit": found.commit or None, **wire.dump(done)}
    return Answer(data=data, code=3 if done.differences else 0)


REBUILD = Command(
    doc="make a bundle again from its own recipe and locks, and say whether it is byte-identical",
    do=_rebuild,
    words=WORDS,
    zoo=False,
    more="Builds in a temporary zoo and a process of its own, from recipe and locks in the bundle\n"
    "and those of recipes that it was made from. Exit code 3 where a file is not the same: each\n"
    "is told with the libraries that decide its bytes and have another version here.",
)
