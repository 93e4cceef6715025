"""Real configs made small keep their modules and what they tell apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from kit import tables
from kit.files import SHARED

from tinybuild.config import found, heads
from tinybuild.config.distinct import compared
from tinybuild.config.sizes import SIZES
from tinybuild.config.tree import Tree
from tinybuild.model.resized import Change, resize
from tinybuild.model.trial import Trial
from tinybuild.sections import Model

SECTION: Model = {
    "architecture": "auto",
    "shrink": "auto",
    "size": "tiny",
    "config": {},
    "dtype": "bfloat16",
}


def row(changes: Sequence[Change]) -> str:
    return tables.row({change.key: [change.to, change.reason] for change in changes})


@pytest.mark.parametrize("name", ["qwen3-0.6b", "deepseek-v3", "bart-large-cnn"])
def test_a_real_config_loses_nothing(name: str) -> None:
    folder = SHARED / "configs" / name
    if not folder.is_dir():
        pytest.skip("there are no real configs: shared/configs is not beside the project")
    kind, source = heads.choose("auto", found.load(folder))
    tiny, changes = resize(source, SECTION, None, kind, seed=0).spread()
    tables.held(__file__, {f"real {name}": row(changes)})
    lost = compared(kind, source, tiny)
    assert (lost.lost, lost.gained) == ((), ())
    assert [str(one) for one in lost.coincidences] == []


@pytest.mark.parametrize(
    "model_type",
    [
        "bros",  # a head is as wide as a box is told in sines
        "cohere2_vision",  # neighbours side by side are as wide as what they go through
        "blt",  # a module is there where two widths are not one twice the other
    ],
)
def test_what_meets_in_a_classs_own_sums_is_parted(model_type: str) -> None:
    from transformers import CONFIG_MAPPING

    kind, source = heads.choose("auto", CONFIG_MAPPING[model_type]())
    tiny, changes = resize(source, SECTION, None, kind, seed=0).spread()
    tables.held(__file__, {model_type: row(changes)})
    found = compared(kind, source, tiny)
    assert (*found.lost, *found.gained, *map(str, found.coincidences)) == ()


def test_axes_that_a_search_makes_equal_are_counted() -> None:
    """The keys alone do not say it: a projection is as wide as heads times what each is wide."""
    from transformers import LlamaConfig, LlamaModel

    source = LlamaConfig(num_hidden_layers=1, head_dim=64)

    def small(changes: Mapping[str, Any]) -> LlamaConfig:
        return LlamaConfig(**{"num_hidden_layers": 1, "vocab_size": 99, **changes})

    rules = {"hidden_size": 64, "intermediate_size": 112, "num_attention_heads": 4, "head_dim": 8}
    tree = Tree(source.to_dict(), {}, SIZES["tiny"], None)
    for name, value in {**rules, "num_key_value_heads": 2}.items():
        tree.set((name,), value, "rule")
    trial = Trial(model_class=LlamaModel, source=source, given={}, small=small, seed=0, tree=tree)
    assert trial.parts({**tree.overrides, "intermediate_size": 96})
    assert not trial.parts({**tree.overrides, "intermediate_size": 64})
    assert not trial.parts({**tree.overrides, "head_dim": 16})


def test_a_model_that_is_too_large_to_be_built_is_not_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What stands in a library's code may be large whatever the rules say (a tower of timm's): it
    would be drawn and run again and again before its size is refused."""
    from transformers import LlamaConfig, LlamaModel

    from tinybuild.model import trial

    def small(changes: Mapping[str, Any]) -> LlamaConfig:
        return LlamaConfig(num_hidden_layers=1, hidden_size=64, vocab_size=99)

    source = LlamaConfig()
    tree = Tree(source.to_dict(), {}, SIZES["tiny"], None)
    tried = Trial(model_class=LlamaModel, source=source, given={}, small=small, seed=0, tree=tree)
    assert tried.runs
    monkeypatch.setattr(trial, "MOST", 10_000)
    monkeypatch.setattr(Trial, "drawn", lambda *_: pytest.fail("it was drawn"))
    assert not replace(tried).runs
