"""`verify`, `rebuild` and `import`: what can be done with a bundle alone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from tinybuild import progress, wire
from tinybuild.artefact import place, rebuild, signature, verify
from tinybuild.artefact.place import Found
from tinybuild.artefact.verify import Mend
from tinybuild.cli import starting
from tinybuild.cli.command import Answer, Command, Lines, Option, Options
from tinybuild.cli.session import Session
from tinybuild.errors import RecipeFault
from tinybuild.files import write

WORDS = "DIR | NAME | OWNER/REPOSITORY[@REVISION]"


def _one(command: str, words: Sequence[str]) -> str:
    if len(words) != 1:
        hint = f"{command} {WORDS}"
        raise RecipeFault.of(f"{command} takes one bundle", hint=hint)
    return words[0]


@contextlib.contextmanager
def _found(here: Session, command: str, words: Sequence[str]) -> Iterator[tuple[Found, Mend]]:
    """The bundle that a command was given, and what puts it right. Raises Fault."""
    named = _one(command, words)
    if named in here.zoo.names and not (here.root / "dist" / named).is_dir():
        here.bundle(named)  # says that it is not built
    with place.found(named, here.root, here.pool) as found:
        name = found.folder.name
        if found.folder == here.root / "dist" / name and name in here.zoo.recipes:
            yield found, Mend(shown=found.shown, recipe=name)
        else:
            repository = named.partition("@")[0] if found.commit else ""
            yield found, Mend(shown=found.shown, repository=repository)


def _verify(here: Session, words: Sequence[str], options: Options) -> Lines:
    key = Path(options["public-key"]) if options["public-key"] else None
    with _found(here, "verify", words) as (found, mend):
        told = verify.verify(found.folder, key, mend)
    at = f" at commit {found.commit}" if found.commit else ""
    if told.problems:
        yield f"{found.shown}{at} is not what its SHA256SUMS says:"
        for problem, hint in verify.advised(told.problems):
            yield f"  {problem}"
            if hint:
                yield f"    hint: {hint}"
    else:
        size = progress.size(told.bytes)
        yield f"{found.shown}{at} is whole: {told.files} files, {size}, as its SHA256SUMS says"
        if key is not None:
            yield f"its signature is that of {key}"
        elif told.signed:
            yield "it is signed; --public-key FILE verifies the signature"
    data = {"bundle": found.shown, "commit": found.commit or None, **wire.dump(told)}
    return Answer(data=data, code=1 if told.problems else 0)


VERIFY = Command(
    doc="read every file of a bundle, and say what is not as its SHA256SUMS says",
    do=_verify,
    words=WORDS,
    options={
        "public-key": Option(value="FILE", help="verify its signature, too, by the signer's key"),
    },
    zoo=False,
    more="Also files that it does not name, links, modes, and the archive beside the folder.\n"
    "NAME is a recipe's, for dist/NAME. Exit code 1 where anything is not so.",
)


def _sign(here: Session, words: Sequence[str], options: Options) -> Lines:
    if not options["key"]:
        raise RecipeFault.of("sign needs a private key", hint=f"--key FILE; {signature.MAKE}")
    names = here.named(words) or here.zoo.groups[""]
    signed = list[str]()
    for name in names:
        folder, shown = here.bundle(name), f"dist/{name}"
        verify.intact(folder, Mend(shown=shown, recipe=name))
        made = signature.sign(folder, Path(options["key"]), shown)
        signed.append(here.shown(made))
        yield f"signed {signed[-1]}"
    return Answer(data={"signed": [*signed]})


SIGN = Command(
    doc="sign bundles with a key of your own, in the format of OpenSSF Model Signing",
    do=_sign,
    options={"key": Option(value="FILE", help="the private key, an elliptic one (PEM)")},
    group="hub",
    more="The signature is dist/NAME/model.sig; publish takes it along. A bundle that is built\n"
    "anew has none. `verify --public-key FILE` verifies it, and so does any reader of the format.",
)


def _rebuild(here: Session, words: Sequence[str], options: Options) -> Lines:
    with _found(here, "rebuild", words) as (found, mend):
        verify.intact(found.folder, mend)
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


def _import(here: Session, words: Sequence[str], options: Options) -> Lines:
    from tinybuild.artefact import importing  # it brings what makes models

    tiny, full = _one("import", words), options["source"]
    if not full:
        hint = "--source DIR, OWNER/REPOSITORY, or a model type of transformers such as llama"
        raise RecipeFault.of("import needs the full-size model that it was made from", hint=hint)
    name = options["name"] or importing.name_of(tiny)
    place = here.root / "recipes" / f"{name}.yaml"
    starting.named(here, name, "give another name: --name NAME")
    done = importing.recipe(tiny, full, here.root, here.pool)
    write(place, done.text)
    seen = done.seen
    yield f"wrote recipes/{place.name}: {seen.class_}, {seen.parameters:,} parameters"
    if seen.other:
        yield f"{len(seen.other)} of {seen.tensors} tensors have another shape than there:"
        yield from (f"  {tensor}" for tensor in seen.other)
    else:
        yield f"all {seen.tensors} tensors have the shapes that they have there"
    yield "what cannot be known, or a recipe cannot say:"
    yield from (f"  {line}" for line in done.unknown)
    data = {"recipe": f"recipes/{place.name}", **wire.dump(seen), "unknown": [*done.unknown]}
    return Answer(data=data, code=1 if seen.other else 0)


IMPORT = Command(
    doc="write a recipe that makes an existing tiny model's shape from its full-size source",
    do=_import,
    words="DIR | OWNER/REPOSITORY[@REVISION]",
    options={
        "source": Option(help="a folder, a repository, or a model type", value="FULL"),
        "name": Option(help="of the recipe [the folder's or repository's]", value="NAME"),
    },
    zoo=False,
    group="zoo",
    more="Reads configs and tokenizer files only. The overrides are the difference of the two\n"
    "configs, as few as make it; the tensors are held against those of the tiny model.",
)
