"""What no config may ask for is refused before anything is made of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from kit.found import config as found_config
from kit.found import configs
from kit.stage import MakeJob

from tinybuild import model
from tinybuild.config import bounds, found
from tinybuild.errors import BuildFault

LLAMA = {"model_type": "llama", "vocab_size": 32000, "hidden_size": 64}
SECTION = {"architecture": "auto", "shrink": "auto", "size": "tiny"}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"num_hidden_layers": 10**9}, "num_hidden_layers of the source's config.json asks for"),
        ({"n_layer": 1e9}, "n_layer of the source's config.json asks for 1,000,000,000; at most"),
        ({"n_layer": "1e9"}, "n_layer of the source's config.json asks for 1,000,000,000; at most"),
        ({"num_hidden_layers": 1e308}, "asks for more than 10^18; at most 10,000"),
        ({"depths": [2, 10**9]}, "asks for 1,000,000,002; at most 10,000"),
        ({"num_labels": 10**9}, "num_labels of the source's config.json asks for 1,000,000,000"),
        ({"id2label": {str(n): "x" for n in range(300_000)}}, "asks for 300,000; at most 100,000"),
        ({"num_local_experts": 10**9}, "asks for 1,000,000,000; at most 32,768"),
        ({"hidden_size": 10**400}, "asks for more than 10^18; at most"),
        ({"layer_types": ["full_attention"] * 20_000}, "asks for 20,000; at most 10,000"),
        ({"text_config": {"num_hidden_layers": 10**9}}, "text_config.num_hidden_layers of"),
    ],
)
def test_sizes_of_a_source(more: dict[str, Any], said: str) -> None:
    with pytest.raises(BuildFault, match="at most") as caught:
        bounds.hold({**LLAMA, **more}, "the source's config.json", ("source",))
    assert said in str(caught.value)
    assert caught.value.findings[0].hint


def test_text_that_counts_nothing() -> None:
    """A date, a commit, a size that no class reads as a number."""
    more = {"revision": "20260101123456789", "hidden_act": "inf", "num_hidden_layers": "nan"}
    largest = {"clamp": 3.4028234663852886e38}  # of float32, where a class clamps nothing
    bounds.hold({**LLAMA, **more, **largest}, "it", ("source",))


@pytest.mark.parametrize("key", ["num_hidden_layers", "num_labels"])
def test_nothing_is_made_before(job: MakeJob, tmp_path: Path, key: str) -> None:
    """Neither of the source's nor of the recipe's: the answer comes at once."""
    folder = tmp_path / "fetch/source"
    folder.mkdir(parents=True)
    for source, wishes in (({key: 10**9}, {}), ({}, {key: 10**9})):
        (folder / "config.json").write_text(json.dumps({**LLAMA, **source}))
        section = {"model": {**SECTION, "config": wishes}, "max_parameters": 10**6}
        with pytest.raises(BuildFault, match=f"{key} of the (source|recipe).* at most"):
            model.sized(job(section, fetch=folder.parent))


@pytest.mark.parametrize("name", configs())
def test_real_configs_are_within(name: str) -> None:
    data = json.loads((found_config(name) / "config.json").read_text())
    bounds.hold(data, "it", ("source",))


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (
            {"model_type": ["llama"]},
            "model_type of the source's config.json is ['llama'], not",
        ),
        ({"model_type": float("nan")}, "is nan, not text"),
        ({"architectures": "LlamaForCausalLM"}, "is 'LlamaForCausalLM', not a list of names"),
        ({"architectures": [None]}, "is [None], not a list of names"),
    ],
)
def test_what_names_a_class_has_its_type(tmp_path: Path, more: dict[str, Any], said: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps({**LLAMA, **more}))
    with pytest.raises(BuildFault) as caught:
        found.read(tmp_path)
    assert said in str(caught.value)
    assert caught.value.findings[0].hint
