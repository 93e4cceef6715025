"""Real configs made small keep their modules and what they tell apart."""

from __future__ import annotations

import pytest
from kit.files import SHARED

from tinybuild.config import found, heads
from tinybuild.config.distinct import compared
from tinybuild.model.resized import resize
from tinybuild.sections import Model

SECTION: Model = {
    "architecture": "auto",
    "shrink": "auto",
    "size": "tiny",
    "config": {},
    "dtype": "bfloat16",
}


@pytest.mark.parametrize("name", ["qwen3-0.6b", "deepseek-v3", "bart-large-cnn"])
def test_a_real_config_loses_nothing(name: str) -> None:
    folder = SHARED / "configs" / name
    if not folder.is_dir():
        pytest.skip("there are no real configs: shared/configs is not beside the project")
    kind, source = heads.choose("auto", found.load(folder))
    tiny, _ = resize(source, SECTION, None, kind, seed=0).spread()
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
    tiny, _ = resize(source, SECTION, None, kind, seed=0).spread()
    found = compared(kind, source, tiny)
    assert (*found.lost, *found.gained, *map(str, found.coincidences)) == ()
