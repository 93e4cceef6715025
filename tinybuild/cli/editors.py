"""The schema of recipes as editors want it for one zoo: types, tasks, classes, keys of configs."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from tinybuild.cli.command import Answer, Command, Lines, Options
from tinybuild.cli.session import Session
from tinybuild.config import heads
from tinybuild.errors import Fault, RecipeFault, did_you_mean
from tinybuild.files import pretty, write
from tinybuild.paths import Data, Json, mapping
from tinybuild.recipe.contract import contract
from tinybuild.recipe.contract import file as contract_file

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

SCHEMA = "schemas/recipe.v1.schema.json"
KINDS = frozenset(("transformers", "hub", "path"))  # of sources that have a config of their own
Sources = Mapping[tuple[str, str], "PreTrainedConfig"]  # (kind, value) of a source -> its config


def schema(sources: Sources | None = None) -> str:
    """The contract of recipes, as an editor reads it: it completes model types and tasks and, for
    the sources that are given, the model's classes and the keys of its config."""
    return _text([*_all_of(sources or {})])


def _text(chosen: Sequence[Data]) -> str:
    offers = {"transformers": heads.every(), "architecture": [heads.AUTO, *heads.TASKS]}
    made = mapping(_offering(cast("Json", contract("recipe")), offers))
    return pretty({**made, "allOf": [*chosen]} if chosen else made)


def _all_of(sources: Sources) -> Iterator[Data]:
    yield from (_chosen(*source, config) for source, config in sources.items())


def _offering(rules: Json, offers: Mapping[str, Sequence[str]]) -> Json:
    """Rules in which keys that hold a text say which values an editor should offer."""
    if isinstance(rules, Mapping):
        changed = {name: _offering(inner, offers) for name, inner in rules.items()}
        for key in offers.keys() & rules.keys():
            own = mapping(rules, (key,))
            if own.get("type") == "string":
                changed[key] = {**own, **_any_of(offers[key])}
        return changed
    if isinstance(rules, Sequence) and not isinstance(rules, str):
        return [_offering(inner, offers) for inner in rules]
    return rules


def _any_of(names: Sequence[str]) -> Data:
    """These texts are offered, and any other is taken."""
    return {"anyOf": [{"enum": [*names]}, {"type": "string"}]}


def _chosen(kind: str, value: str, config: PreTrainedConfig) -> Data:
    """What an editor offers in the section `model` of a recipe with this source."""
    there: Data = {"required": [kind], "properties": {kind: {"const": value}}}
    names = [heads.AUTO, *heads.of_type(config.model_type), *heads.classes(config)]
    model: Data = {"architecture": _any_of(names), "config": _keys(config)}
    return {
        "if": {"required": ["source"], "properties": {"source": there}},
        "then": {"properties": {"model": {"properties": model}}},
    }


def _keys(config: PreTrainedConfig) -> Data:
    """The keys of a config and of the configs in it, each with the value that the source has.

    `check` says which keys and values cannot be; the schema lets all through.
    """
    from tinybuild.config.overrides import BASE, fields, plain, sub_config

    held, offered = plain(config), dict[str, Json]()
    for name in sorted(fields(config) - BASE):
        inner = sub_config(config, name)
        if inner is not None:
            offered[name] = _keys(inner)
        elif name in held:
            shown = json.dumps(held[name], ensure_ascii=False)
            offered[name] = {"description": f"{shown[:200]} in the source"}
        else:
            same = config.attribute_map.get(name)
            offered[name] = {"description": f"another name of {same}"} if same else {}
    return {"type": "object", "properties": offered}


def sources(here: Session) -> dict[tuple[str, str], str]:
    """(kind, value) of the sources of a zoo's models -> a recipe that has it."""
    made = dict[tuple[str, str], str]()
    for name, recipe in here.zoo.recipes.items():
        wish = mapping(cast("Data", recipe.data), ("source",)) if "model" in recipe.data else {}
        for kind in KINDS & wish.keys():
            made[kind, str(wish[kind])] = name
    return made


def configs(here: Session, wished: Mapping[tuple[str, str], str]) -> Sources:
    """The configs of sources. One that was not fetched, and one of which no config can be made
    here, is left out: `check` says what is wrong with it."""
    made = dict[tuple[str, str], "PreTrainedConfig"]()
    for (kind, value), name in sorted(wished.items()):
        with contextlib.suppress(Fault):
            config = _config(here, kind, value, name)
            if config is not None:
                made[kind, value] = config
    return made


def _config(here: Session, kind: str, value: str, name: str) -> PreTrainedConfig | None:
    """Raises Fault."""
    from tinybuild.config.found import load
    from tinybuild.config.overrides import refusals

    if kind != "transformers":
        folder = here.builder.place(f"fetch:{name}") / "source"
        return load(folder) if (folder / "config.json").is_file() else None
    from transformers import CONFIG_MAPPING

    try:
        made: PreTrainedConfig = CONFIG_MAPPING[value]()
    except refusals():
        return None  # a type without a default config
    return made


def learn(here: Session, kind: str, value: str, name: str) -> None:
    """Let the schema of a zoo that has one know a source, which the recipe `name` has."""
    file = here.root / SCHEMA
    if not file.is_file() or _own(file):
        return
    try:
        held = mapping(json.loads(file.read_text(encoding="utf-8"))).get("allOf")
    except ValueError:
        held = None
    (more, *_) = [*_all_of(configs(here, {(kind, value): name})), None]
    others = [one for one in held if isinstance(one, Mapping)] if isinstance(held, list) else []
    known = [one for one in others if more is None or one.get("if") != more["if"]]
    write(file, _text([*known, more] if more is not None else known))


def _own(file: Path) -> bool:
    """Whether a file is the contract that tinybuild itself reads: so it is in a clone of it."""
    return file.resolve() == contract_file("recipe").resolve()


def _write(here: Session, words: Sequence[str], options: Options) -> Lines:
    known, file = heads.every(), here.root / SCHEMA
    for word in words:
        if word not in known:
            what = f"transformers has no model type {word}"
            raise RecipeFault.of(what, hint=did_you_mean(word, known))
    if _own(file):
        raise RecipeFault.of(f"{SCHEMA} is tinybuild's own here: it is what a zoo's is made from")
    wished = {**sources(here), **{("transformers", word): "" for word in words}}
    found = configs(here, wished)
    file.parent.mkdir(exist_ok=True)
    write(file, schema(found))
    yield f"wrote {SCHEMA}, with the config keys of {len(found)} sources"
    for kind, value in sorted(wished.keys() - found.keys()):
        yield f"without those of {kind}: {value}, which is not here yet: build its recipe first"
    yield "the first line of a recipe that names it:"
    yield f"# yaml-language-server: $schema=../{SCHEMA}"
    return Answer(data={"wrote": [SCHEMA], "sources": [value for _, value in sorted(found)]})


WRITE = Command(
    doc=f"write {SCHEMA}, which editors check and complete recipes with",
    do=_write,
    words="[TYPE ...]",
    group="zoo",
    more="It knows the model types of the transformers that is installed, the tasks, and the\n"
    "classes and config keys of the zoo's sources and of each TYPE.",
)
