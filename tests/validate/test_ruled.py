"""What the checks look for in every model type's config, made small by the rules, in a table."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from kit import tables

from tinybuild.config import heads
from tinybuild.config.completed import complete, left_open
from tinybuild.config.shrink import shrink
from tinybuild.keys import configs
from tinybuild.paths import Data, merge
from tinybuild.validate import dimensions, features, layers

TYPES = heads.types()[1::4]


@functools.cache
def sides(model_type: str) -> tuple[Data, Data]:
    """The default config of a type, and what the rules make of it."""
    from transformers import CONFIG_MAPPING

    config = CONFIG_MAPPING[model_type]()
    config = complete(config, left_open(config))
    return config.to_dict(), merge(config.to_dict(), shrink(config, {}).overrides)


def held(what: str, rows: Mapping[str, Mapping[str, Any]]) -> None:
    tables.held(__file__, {f"{n}, {what}": tables.row(row) for n, row in rows.items() if row})


def test_features_that_a_config_switches_on() -> None:
    """As many as it has, each with the keys that switch it off."""

    def switched(data: Data) -> dict[str, Any]:
        nodes = dict(configs(data))
        long = features._beyond([*nodes.values()])
        parts = [features.Part(path=path, node=node, length=long) for path, node in nodes.items()]
        offs = {off.what: off for _, off in features._offs(parts) if not off.zeroed}
        return {"beyond": long, **{what: _said(off) for what, off in offs.items()}}

    for side, name in enumerate(("source", "small")):
        held(f"features of the {name}", {t: switched(sides(t)[side]) for t in TYPES})


def _said(off: features.Off) -> Any:
    """Without what it is by default."""
    plain = vars(features.Off(what=off.what))
    said = {name: value for name, value in vars(off).items() if value != plain[name]}
    for name in ("changes", "extreme"):
        if name in said:
            said[name] = {".".join(map(str, at)): value for at, value in said[name].items()}
    return said


def test_kinds_of_layers() -> None:
    def kinds(data: Data) -> dict[str, Any]:
        dense = {
            ".".join(at): layers._dense_beside_experts(node) for at, node in layers._models(data)
        }
        lists = {".".join(at): names for at, names in layers._kinds(data)}
        return {**lists, **{f"dense.{at}": one for at, one in dense.items() if one is not None}}

    held("layers", {t: kinds(sides(t)[0]) for t in TYPES})


def test_numbers_of_layers() -> None:
    rows = dict[str, dict[str, Any]]()
    for name in TYPES:
        for side, data in zip(("source", "small"), sides(name), strict=True):
            config = SimpleNamespace(to_dict=lambda data=data: data)
            found = layers.layer_indexes.measure(
                SimpleNamespace(model=SimpleNamespace(config=config))
            )
            if found is not None:
                rows.setdefault(name, {})[side] = [found.measured, *found.values.values()]
    held("numbers of layers", rows)


def test_keys_that_may_say_more_than_a_width() -> None:
    """Of all types together: what is a vocabulary, a table of positions, or neither."""
    keys = {path[-1]: (path, value) for name in TYPES for path, value in _numbers(name).items()}
    fine = sorted(
        key for key, (path, value) in keys.items() if dimensions._fine(path, {path: value})
    )
    rows = {
        "keys, vocabularies": [key for key in sorted(keys) if dimensions._vocabulary(key)],
        "keys, tables": [key for key in sorted(keys) if dimensions._table(key)],
        "keys, as large as they are": fine,
    }
    tables.held(__file__, {key: " ".join(names) for key, names in rows.items()})


def _numbers(name: str) -> Mapping[tuple[str, ...], int]:
    return dimensions._numbers(sides(name)[0])
