"""What each stage needs of a recipe: a function a stage, from a recipe to its slice."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from tinybuild import bundle, facts, named, source
from tinybuild.dataset.parts import AMOUNT, NUMBERS, parts
from tinybuild.dataset.select import WAYS
from tinybuild.engine.stages import STAGES, Need, Slice, Task, seed
from tinybuild.keys import PROCESSORS
from tinybuild.paths import Data, Json, mapping
from tinybuild.recipe import Recipe, amount, lock, size
from tinybuild.tokenizer.methods import METHODS

# What a recipe that builds on another one takes of it: the fetch stage copies exactly these files.
MADE: Mapping[str, tuple[str, ...]] = {
    "tokenizer": ("",),
    "model": ("config.json", "generation_config.json", *PROCESSORS, "chat_template.json"),
    "dataset": ("",),
}

PARTS = named.slot("source", "")  # the folders of the parts that a source's config only names


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A recipe as the slices look at it, with its wishes. others: recipes that it may build on."""

    recipe: Recipe
    wishes: tuple[source.Wish, ...]
    others: Mapping[str, Recipe]
    root: Path

    @functools.cached_property
    def slots(self) -> dict[str, source.Wish]:
        return {wish.slot: wish for wish in self.wishes}

    @functools.cached_property
    def here(self) -> tuple[source.Wish, ...]:
        """Sources that a stage reads where they are."""
        return tuple(wish for wish in self.wishes if source.in_place(wish))

    @functools.cached_property
    def fetched(self) -> tuple[source.Wish, ...]:
        return tuple(wish for wish in self.wishes if not source.in_place(wish))

    @functools.cached_property
    def upstreams(self) -> tuple[source.Wish, ...]:
        return upstreams(self.wishes)

    @property
    def tokenizer_slot(self) -> str:
        """Whose fetched files the tokenizer is made from; "" where from none."""
        section = self.recipe.data["tokenizer"]
        if not METHODS[section["method"]].source and "class" in section:
            return ""
        return next((slot for slot in ("tokenizer", "source") if slot in self.slots), "")

    def need(self, stage: str, *files: str, facts: type | None = None) -> Need:
        return Need.of(stage, self.recipe.name, files=files, facts=facts)


def upstreams(wishes: tuple[source.Wish, ...]) -> tuple[source.Wish, ...]:
    """The wishes that name another recipe of the zoo."""
    return tuple(wish for wish in wishes if source.KINDS[wish.kind].builds_on)


def tasks(asked: Asked) -> Iterator[Task]:
    """The tasks of one recipe: fetch if it has a source, the stages it asks for, validate, pack."""
    recipe = asked.recipe
    for stage, made in SLICES.items():
        part = made(asked)
        if part is not None:
            section = cast(Mapping[str, Mapping[str, int]], recipe.data).get(stage, {})
            given = section.get("seed", recipe.data["seed"])
            yield Task(
                name=f"{stage}:{recipe.name}",
                stage=stage,
                recipe=recipe,
                slice=part,
                seed=seed(given, recipe.name, stage) if part.draws else 0,
            )


def fetch(asked: Asked) -> Slice | None:
    if not asked.fetched:
        return None
    recipe = asked.recipe
    wanted = {wish.slot: sized(wish.data) for wish in asked.fetched}
    settings: dict[str, Json] = {
        "wishes": wanted,
        "base": recipe.file.parent.relative_to(asked.root).as_posix(),
        "locks": {slot: pin.json() for slot, pin in lock.holding(recipe.pins, wanted).items()},
    }
    if "dataset" in wanted and source.KINDS[asked.slots["dataset"].kind].rows is not None:
        settings["rows"] = {
            **_deciding(_json(recipe.data["dataset"])),
            "source": wanted["dataset"],
        }
    needs = [
        Need(name=f"{wish.slot}.{stage}", task=f"{stage}:{wish.text()}", files=MADE[stage])
        for wish in asked.upstreams
        for stage in (("dataset",) if wish.slot == "dataset" else ("tokenizer", "model"))
        if stage in asked.others[wish.text()].data
    ]
    made = any(source.KINDS[wish.kind].blank for wish in asked.fetched)
    makers = (STAGES["tokenizer"].libraries, STAGES["model"].libraries) if made else ()
    return Slice(
        settings=settings,
        needs=tuple(needs),
        wishes=asked.fetched,
        after=tuple(f"pack:{wish.text()}" for wish in asked.upstreams),
        libraries=tuple(sorted({library for libraries in makers for library in libraries})),
        draws="rows" in settings and _drawn(recipe),
    )


def _drawn(recipe: Recipe) -> bool:
    """Whether rows of the recipe's dataset are drawn at random."""
    section = cast("Mapping[str, Mapping[str, object]]", recipe.data)["dataset"]
    ways = (str(part.wish.get("select") or "first") for part in parts(section))
    return any(WAYS[way].draws for way in ways)


def dataset(asked: Asked) -> Slice | None:
    if "dataset" not in asked.recipe.data:
        return None
    section = _json(asked.recipe.data["dataset"], "seed")
    settings: dict[str, Json] = {"dataset": section}
    if "source" in section:
        wish = sized(mapping(section["source"]))
        section["source"], settings["origin"] = wish, source.rows_of(wish)
    fetched = any(wish.slot == "dataset" for wish in asked.fetched)
    needs = (asked.need("fetch", "dataset/"),) if fetched else ()
    return Slice(settings=settings, needs=needs, wishes=asked.here, draws=_drawn(asked.recipe))


def tokenizer(asked: Asked) -> Slice | None:
    data = asked.recipe.data
    if "tokenizer" not in data:
        return None
    section, slot, needs = data["tokenizer"], asked.tokenizer_slot, list[Need]()
    if slot:
        slots = (slot, *filter(source.is_text, asked.slots))
        needs.append(asked.need("fetch", *(f"{name}/" for name in slots)))
    text = section.get("text", "dataset" if "dataset" in data else "")
    if METHODS[section["method"]].reads and text == "dataset":
        needs.append(asked.need("dataset", "data/"))
    kind = asked.slots[slot].kind if slot else ""
    settings: dict[str, Json] = {
        "tokenizer": _json(section, "source"),
        "slot": slot,
        "kind": kind,
        "blank": bool(slot) and source.KINDS[kind].blank,
        "related": slot == "source",
    }
    return Slice(settings={**settings, **_compat(asked)}, needs=tuple(needs))


def model(asked: Asked) -> Slice | None:
    data = asked.recipe.data
    if "model" not in data:
        return None
    section = _json(data["model"], "seed")
    if "max_parameters" in data["model"]:
        section["max_parameters"] = amount(data["model"]["max_parameters"])
    if "max_bytes" in data["model"]:
        section["max_bytes"] = size(data["model"]["max_bytes"])
    needs = [asked.need("fetch", "source/", PARTS)]
    if "tokenizer" in data:
        files = ("",) if "gguf" in section else ()  # what a format is made from
        needs.append(asked.need("tokenizer", *files, facts=facts.TokenizerIds))
    most = amount(data["checks"]["max_parameters"])
    settings: dict[str, Json] = {"model": section, "max_parameters": most, **_compat(asked)}
    return Slice(settings=settings, needs=tuple(needs), draws=True)


def validate(asked: Asked) -> Slice | None:
    data = asked.recipe.data
    checks: dict[str, Json] = {
        "max_parameters": amount(data["checks"]["max_parameters"]),
        "max_coincidences": data["checks"]["max_coincidences"],
    }
    if "max_bytes" in data["checks"]:
        checks["max_bytes"] = size(data["checks"]["max_bytes"])
    settings: dict[str, Json] = {"checks": checks, **_compat(asked)}
    origin = list[str]()
    if "tokenizer" in data and METHODS[data["tokenizer"]["method"]].shrinks:
        slot = asked.tokenizer_slot
        origin.append(f"{slot}/")
        settings["source"] = {"slot": slot, "class": data["tokenizer"].get("class")}
    if "model" in data:
        origin += ["source/config", "source/generation_config", PARTS]
        section = _json(data["model"])
        kept = ("config", "shrink", "size", "sentence_transformer")
        settings["model"] = {key: section[key] for key in kept if key in section}
    looked = {
        "tokenizer": facts.TokenizerFacts,
        "model": facts.ModelShown,
        "dataset": facts.DatasetRows,
    }
    needs = [asked.need(s, "", facts=read) for s, read in looked.items() if s in data]
    if origin:
        needs.append(asked.need("fetch", *origin))
    return Slice(settings=settings, needs=tuple(needs), draws=True)


def _compat(asked: Asked) -> dict[str, Json]:
    """Whether an older transformers is to read the bundle alike, where the recipe asks for it."""
    return {"compat": True} if "compat" in asked.recipe.data else {}


def pack(asked: Asked) -> Slice | None:
    recipe = asked.recipe
    shown = {
        "tokenizer": facts.TokenizerShown,
        "model": facts.ModelShown,
        "dataset": facts.DatasetFacts,
    }
    needs = [asked.need("fetch", facts=facts.FetchShown)] if asked.fetched else []
    needs += [asked.need(s, "", facts=read) for s, read in shown.items() if s in recipe.data]
    # What the recipe is made from stands in the bundle as well: it is all that a rebuild has.
    needs += [
        Need(
            name=f"{bundle.RECIPES}/{other}",
            task=f"pack:{other}",
            files=tuple(f"{other}/{name}" for name in bundle.MAKINGS),
        )
        for other in sorted({wish.text() for wish in asked.upstreams})
    ]
    settings: dict[str, Json] = {
        "name": recipe.name,
        "summary": recipe.summary,
        "recipe": recipe.sha256,
        "local": {
            wish.slot: {"wish": dict(wish.data), "credit": source.credit(wish.data, {})}
            for wish in asked.here
        },
        "given": "tokenizer" in recipe.data
        and not METHODS[recipe.data["tokenizer"]["method"]].source,
        **_told(recipe),
    }
    ran = (*(stage for stage in shown if stage in recipe.data), "validate")
    made = [STAGES[stage].libraries for stage in ran]
    return Slice(
        settings=settings,
        needs=(*needs, asked.need("validate", "report.json", f"{bundle.EXPECTED}/")),
        libraries=tuple(sorted({library for libraries in made for library in libraries})),
    )


TOLD = ("repo", "dataset_repo", "license")  # what cards know of publishing


def _told(recipe: Recipe) -> dict[str, Json]:
    """What the cards follow beside what the stages tell, where there is such."""
    places = _json(cast("Mapping[str, object]", recipe.data.get("publish", {})))
    common = _json(cast("Mapping[str, object]", recipe.common))
    section = recipe.data.get("tokenizer", {})
    method = METHODS[section["method"]] if section else None
    learned = method is not None and method.reads and not method.shrinks
    text = section.get("text", "dataset" if "dataset" in recipe.data else method and method.text)
    told: dict[str, Json] = {
        "places": {key: places[key] for key in TOLD if key in places},
        "zoo": {key: common[key] for key in TOLD if key in common},
        "text": text if learned and text in ("plain", "multilingual") else "",
    }
    return {key: value for key, value in told.items() if value}


SLICES: Mapping[str, Callable[[Asked], Slice | None]] = {
    "fetch": fetch,
    "dataset": dataset,
    "tokenizer": tokenizer,
    "model": model,
    "validate": validate,
    "pack": pack,
}


def _deciding(section: Data) -> dict[str, Json]:
    """What of a dataset section decides which rows are read; not what becomes of them."""
    kept = ("source", "config", "split", "seed", *NUMBERS, *AMOUNT)
    decisive = {key: section[key] for key in kept if key in section}
    for key in ("configs", "splits"):
        inner = section.get(key)
        if isinstance(inner, Mapping):
            decisive[key] = {
                name: _deciding(part) if isinstance(part, Mapping) else part
                for name, part in inner.items()
            }
    return decisive


def sized(wish: Data) -> dict[str, Json]:
    """A source as the stages take it: its bound in bytes."""
    return {
        key: size(value) if key == "max_read" and isinstance(value, int | str) else value
        for key, value in wish.items()
    }


def _json(section: Mapping[str, object], *without: str) -> dict[str, Json]:
    """A section as JSON data, without some of its keys."""
    return {key: cast(Json, value) for key, value in section.items() if key not in without}
