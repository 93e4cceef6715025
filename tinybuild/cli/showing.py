"""The command that shows a bundle in the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tinybuild import wire
from tinybuild.catalog import contents
from tinybuild.catalog.rows import Row, row
from tinybuild.cli.building import state
from tinybuild.cli.command import Answer, Command, Lines, Option, Options
from tinybuild.cli.session import Session
from tinybuild.cli.sketching import sketch
from tinybuild.errors import RecipeFault
from tinybuild.modules import Module, modules
from tinybuild.paths import Json, get, mapping
from tinybuild.progress import BAR, count, size, table
from tinybuild.tensors import shapes

DEEPEST = 3  # modules in modules that are listed


def _show(here: Session, words: Sequence[str], options: Options) -> Lines:
    if options["source"]:
        return (yield from sketch(options["source"]))
    if here.fault is not None:
        raise here.fault
    names = here.named(words)
    if not names:
        hint = "see tinybuild list; --source TYPE for one that has no recipe"
        raise RecipeFault.of("show takes the name of a recipe", hint=hint)
    told = list[Json]()
    for name in names:
        recipe = here.recipe(name)
        place = here.bundle(name)
        told.append(_told(here, name, place))
        gap = "\n" if len(told) > 1 else ""
        yield f"{gap}{name}: {recipe.summary} ({state(here, name)})"
        yield from _parts(here, name, place)
    return Answer(data=told)


def _parts(here: Session, name: str, place: Path) -> Iterator[str]:
    """Each part of what is shown, with a blank line above it."""
    yield "\n" + "\n".join(f"{key:<12} {value}" for key, value in _facts(here, name, row(place)))
    changes = [(one.key, one.before, one.after, one.reason) for one in contents.changes(place, 32)]
    if changes:
        yield "\n" + table(("config", "source", "here", "why"), changes)
    held = shapes(place)
    if held:
        rows = list(_sizes(modules(held), sum(map(math.prod, held.values())) or 1, 0))
        yield "\n" + table(("module", "parameters", ""), rows, right=[1])
    if tokens := _tokens(here, name):
        kept = [(count(number), reason) for reason, number in tokens.items()]
        yield "\n" + table(("tokens", "kept for"), kept, right=[0])
    if expected := [*contents.expected(place)]:
        yield "\n" + table(("a port is held to", "outputs"), expected)
    files = [(file, size(count)) for file, count in contents.files(place)]
    yield "\n" + table(("file", "bytes"), files, right=[1])
    others = [check for check in contents.checks(place) if check["state"] != "passed"]
    if others:
        keys = ("name", "state", "measured")
        yield "\n" + table(keys, [[str(check[key]) for key in keys] for check in others])


def _told(here: Session, name: str, place: Path) -> Json:
    """The same as data."""
    return {
        **wire.dump(row(place)),
        "made_from": {**_credits(here, name)},
        "changes": [
            {"config": one.key, "source": one.before, "here": one.after, "why": one.reason}
            for one in contents.changes(place, 32)
        ],
        "tokens": {**_tokens(here, name)},
        "expected": dict(contents.expected(place)),
        "files": dict(contents.files(place)),
    }


def _facts(here: Session, name: str, about: Row) -> Iterator[tuple[str, str]]:
    for slot, words in _credits(here, name).items():
        yield f"{slot} from" if slot != "source" else "made from", words
    if about.class_:
        yield "class", about.class_
        yield "takes", ", ".join(about.modalities)
        yield "parameters", count(about.parameters)
        yield "devices", f"{about.tensor_parallel} at most, by tensor parallelism"
    if about.kinds:
        yield "layers", ", ".join(about.kinds)
    if about.vocabulary:
        yield "tokens", count(about.vocabulary)
    if about.rows:
        yield "rows", count(about.rows)
    yield "bytes", size(about.bytes)
    untried = f", {about.untried} not tried" if about.untried else ""
    yield "checks", f"{about.checks} passed{untried}"


def _credits(here: Session, name: str) -> Mapping[str, str]:
    """What each source of a recipe is, in a card's words."""
    receipt = here.builder.receipt(f"fetch:{name}")
    told = mapping(receipt.facts if receipt else {}, ("credits",))
    return {slot: str(get(told, (slot, "words"))).replace("`", "") for slot in told}


def _tokens(here: Session, name: str) -> Mapping[str, int]:
    """Reason -> tokens kept for it, where a vocabulary was cut."""
    receipt = here.builder.receipt(f"tokenizer:{name}")
    kept = mapping(receipt.facts if receipt else {}, ("shrunk", "kept"))
    return {reason: number for reason, number in kept.items() if isinstance(number, int)}


def _sizes(module: Module, whole: int, depth: int) -> Iterator[tuple[str, str, str]]:
    """A line for each module that is not too deep: name, parameters, and a bar of its share."""
    for one in module.inside:
        times = f" × {one.count}" if one.count > 1 else ""
        parameters = one.parameters * one.count
        bar = "█" * round(BAR * parameters / whole)
        yield "  " * depth + one.name + times, count(parameters), bar
        if depth + 1 < DEEPEST and one.inside:
            yield from _sizes(one, whole, depth + 1)


SHOW = Command(
    doc="what a bundle is: sources, config beside the source's, modules, tokens, files, checks",
    do=_show,
    words="NAME ...",
    options={
        "source": Option(
            help="what a recipe for a source would make of it, before there is one",
            value="TYPE|OWNER/NAME|DIR",
        )
    },
    zoo=False,
)
