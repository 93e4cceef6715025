"""What the rules make of every model type's default config, and of real configs, in a table."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kit import found as real
from kit import tables

from tinybuild.config import carry, older, relations
from tinybuild.config.completed import complete, left_open
from tinybuild.config.found import read
from tinybuild.config.heads import AUTO, choose, types
from tinybuild.config.relations.clash import RELATIONS
from tinybuild.config.relations.relation import Node
from tinybuild.config.shrink import shrink
from tinybuild.config.spread import spread
from tinybuild.config.tree import Alike
from tinybuild.facts import Ids
from tinybuild.keys import configs
from tinybuild.paths import Data, Json, Path, differences, get, having, mapping, merge, whole

SHARE = 3  # one of so many types always, the others with -m slow
TYPES = {share: types()[share::SHARE] for share in range(SHARE)}
EVERY = pytest.mark.parametrize(
    "share", [0, *(pytest.param(share, marks=pytest.mark.slow) for share in range(1, SHARE))]
)


@functools.cache
def source(model_type: str) -> tuple[Any, Data]:
    """The default config of a type, made whole, and what it left open."""
    from transformers import CONFIG_MAPPING

    config = CONFIG_MAPPING[model_type]()
    left = left_open(config)
    return complete(config, left), left


def held(share: int, what: str, of: Callable[[Any], Data]) -> None:
    """Compare what is made of the default configs of a share of the types."""
    made = {name: of(source(name)[0]) for name in TYPES[share]}
    tables.held(__file__, {name + what: tables.row(data) for name, data in made.items() if data})


@EVERY
def test_default_configs_made_small(share: int) -> None:
    held(share, "", lambda config: shrink(config, {}).overrides)


@EVERY
def test_what_default_configs_leave_open(share: int) -> None:
    left = {name: source(name)[1] for name in TYPES[share]}
    tables.held(__file__, {f"{name}, left open": tables.row(d) for name, d in left.items() if d})


@pytest.mark.parametrize(
    ("how", "options"),
    [
        (", small", {"size": "small"}),
        (", of 5 layers", {"layers": 5}),
        (", alike", {"alike": Alike(parts=True)}),
    ],
)
def test_default_configs_made_small_otherwise(how: str, options: dict[str, Any]) -> None:
    made = {name: shrink(source(name)[0], {}, **options) for name in TYPES[0][::4]}
    tables.held(__file__, {name + how: tables.row(tree.overrides) for name, tree in made.items()})


IDS = Ids(
    sizes={"vocab_size": 500, "src_vocab_size": 400},
    special={"bos": 1, "eos": 2, "unk": 3, "pad": 4, "image": 5, "cls": 6},
    moved={"0": 0, "1": 11, "2": 12},
    keep=False,
    missing="any",
)


@EVERY
def test_ids_and_sizes_of_a_tokenizer_in_default_configs(share: int) -> None:
    def carried(config: Any) -> Data:
        data = json.loads(config.to_json_string(use_diff=False))
        return merge(carry.sizes(data, IDS), carry.align(data, IDS, {}))

    held(share, ", of a tokenizer", carried)


@EVERY
def test_how_wide_weights_are_drawn(share: int) -> None:
    held(share, ", drawn", lambda config: spread(config.to_dict()))


def test_versions_of_transformers_that_read_small_configs_alike() -> None:
    rows = dict[str, Data]()
    for name in TYPES[0][::4]:
        config = source(name)[0]
        data = json.loads(config.to_json_string(use_diff=False))
        small = merge(data, shrink(config, {}).overrides)
        changed = {".".join(at): new for at, _, new in differences(small, older.spelled(small))}
        rows[f"{name}, versions"] = {**vars(older.least(small, {}, {})), "spelled": changed}
    tables.held(__file__, {key: tables.row(row) for key, row in rows.items()})


def test_relations_of_default_configs_and_what_a_broken_one_says() -> None:
    """Of each relation between keys of some names, the first default config that has it: a
    number of it is one more, one less, and much more; a list of it is twice as long."""
    rows = dict[str, str]()
    for name in TYPES[0][::4]:
        tree = source(name)[0].to_dict()
        for path, data in configs(tree):
            for number, relation in enumerate(RELATIONS):
                for places in relation.keys(Node(path=path, data=data)):
                    key = f"relation {number} of {' '.join(place[-1] for place in places)}"
                    if key not in rows:
                        rows[key] = " | ".join(text for at in places for text in broken(tree, at))
    tables.held(__file__, rows)


def broken(tree: Data, place: Path) -> Iterator[str]:
    value = get(tree, place)
    others: list[Json] = []
    if whole(value):
        others = [value + 1, value - 1, value * 8]
    elif isinstance(value, list | tuple):
        others = [[*value, *value]]
    for other in others:
        wishes = mapping(having({}, place, other))
        for finding in relations.broken(mapping(having(tree, place, other)), wishes, ("c",)):
            yield f"{finding.what} ({finding.hint})"


@pytest.mark.parametrize("name", real.configs() or ["none"])
def test_a_real_config(name: str) -> None:
    made = read(real.config(name))
    mended = {".".join(one.path): one.new for one in made.mended}
    kind, config = choose(AUTO, made.config)
    told = {"class": kind.__name__, "dtype": made.dtype, **mended}
    rows = {"read": told, "small": shrink(config, {}).overrides}
    tables.held(__file__, {f"real {name}, {what}": tables.row(row) for what, row in rows.items()})
