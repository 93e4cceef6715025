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
    assert [str(one) for one in (*lost.axes, *lost.layers, *lost.sizes)] == []
