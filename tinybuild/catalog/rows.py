"""A row for each bundle: what its own files say of it, without a library of models."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tinybuild import bundle, keys
from tinybuild.catalog import contents
from tinybuild.paths import Data, Json, get, whole

# The last words of the argument of a forward that holds a modality, the first that match.
INPUTS: Mapping[str, str] = {
    "video": r"videos?",
    "image": r"pixel|image|patches|visual",
    "audio": r"input_features|input_values|audio|mel$",
    "layout": r"bbox|xpath",
    "series": r"past_values",
    "trajectory": r"states?$",
    "text": r"input_ids",
}
# What a key says of a model's layers where it is positive, or true.
MARKS: Mapping[str, str] = {
    "kv_lora_rank": "mla",
    "is_encoder_decoder": "encoder-decoder",
    "tie_word_embeddings": "tied",
}
# What a number measures -> the kind of layer that it makes, and from which number on.
COUNTED: Mapping[str, tuple[str, int]] = {"experts": ("moe", 2), "state": ("ssm", 1)}
LISTS = ("kind of each layer", "something of each layer", "cycle of layers")


@dataclass(frozen=True, kw_only=True)
class Row:
    """What a bundle is. class_, model_type, task: "" where it has no model, or its card names no
    task. kinds: of layers and attention, sorted. parameters, vocabulary, rows: None where it has no
    model, no vocabulary, no dataset. bytes: of all its files. tensor_parallel: on how many devices
    its model can be split at most, 0 without one. checks: how many passed."""

    name: str
    class_: str
    model_type: str
    task: str
    modalities: tuple[str, ...]
    kinds: tuple[str, ...]
    parameters: int | None
    bytes: int
    vocabulary: int | None
    rows: int | None
    tensor_parallel: int
    checks: int
    untried: int
    licence: str


def rows(folder: Path) -> tuple[Row, ...]:
    """The rows of all bundles in a folder, such as a zoo's dist/, sorted by name."""
    places = sorted(folder.iterdir()) if folder.is_dir() else []
    return tuple(row(place) for place in places if is_bundle(place))


def is_bundle(place: Path) -> bool:
    return (place / bundle.SUMS).is_file() and (place / "report.json").is_file()


def row(place: Path) -> Row:
    """The row of the bundle in a folder."""
    config, card = bundle.data(place / "config.json"), _front(place / "README.md")
    checks = {str(check["name"]): check for check in contents.checks(place)}
    named = config.get("architectures")
    return Row(
        name=place.name,
        class_=str(named[0]) if isinstance(named, list) and named else "",
        model_type=str(config.get("model_type") or ""),
        task=_text(card.get("pipeline_tag")),
        modalities=_modalities(checks),
        kinds=tuple(sorted({*_kinds(config)})),
        parameters=_number(checks, "max_parameters", "parameters"),
        bytes=bundle.size(place),
        vocabulary=_number(checks, "tokenizer_loads", "tokens"),
        rows=_number(checks, "dataset_loads", "rows"),
        tensor_parallel=keys.parallel(config) if "model_type" in config else 0,
        checks=sum(check.get("state") == "passed" for check in checks.values()),
        untried=sum(check.get("state") == "not tried" for check in checks.values()),
        licence=_text(card.get("license")),
    )


def _front(card: Path) -> Data:
    """The front matter of a card."""
    import yaml

    text = card.read_text(encoding="utf-8") if card.is_file() else ""
    found = re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)
    data = yaml.safe_load(found[1]) if found else None
    return data if isinstance(data, Mapping) else {}


def _number(checks: Mapping[str, Data], check: str, value: str) -> int | None:
    """What a check measured."""
    number = get(checks.get(check, {}), ("values", value))
    return number if whole(number) else None


def _text(value: Json) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)


def _modalities(checks: Mapping[str, Data]) -> tuple[str, ...]:
    """What the model takes. `every_modality` names them; where there is one alone, it is that of
    the inputs on which the outputs depend."""
    if "every_modality" in checks:
        return tuple(str(checks["every_modality"]["wanted"]).split(", "))
    told = str(checks.get("inputs_matter", {}).get("measured", ""))
    inputs = told.partition("depend on ")[2].split(", ")
    return tuple(sorted({*(kind for name in inputs for kind in _held(name))}))


def _held(name: str) -> Sequence[str]:
    """The modality of an argument of a forward, or none."""
    return [kind for kind, words in INPUTS.items() if re.search(words, name)][:1]


def _kinds(config: Data) -> Iterator[str]:
    """The kinds of a config's layers, as their lists name them, and of attention."""
    for _, node in keys.configs(config):
        yield from (kind for key, kind in MARKS.items() if _set(node.get(key)))
        for name, value in node.items():
            if isinstance(value, list) and any(keys.says(name, what) for what in LISTS):
                yield from (kind for kind in value if isinstance(kind, str))
        for measure, (kind, least) in COUNTED.items():
            yield from (kind for _, number in keys.numbers(node, measure) if number >= least)
        heads, kv = (keys.first(node, what) for what in ("heads", "kv heads"))
        if heads and kv and _less(node[kv], node[heads]):
            yield "mqa" if node[kv] == 1 else "gqa"


def _set(value: Json) -> bool:
    return value is True or (whole(value) and value > 0)


def _less(one: Json, other: Json) -> bool:
    return whole(one) and whole(other) and one < other
