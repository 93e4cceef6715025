"""The tensors of a bundle are those of its model, and not what a port of it is held to."""

from __future__ import annotations

from pathlib import Path

from kit.laid import TENSORS, safetensors

from tinybuild import tensors
from tinybuild.page.pictures import pictures


def test_what_a_port_is_held_to_is_not_of_the_model(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(safetensors(TENSORS))
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter/a.safetensors").write_bytes(safetensors({"x": TENSORS["lm_head.weight"]}))
    beside = {"forward/outputs/logits": TENSORS["lm_head.weight"]}
    (tmp_path / "expected").mkdir()
    (tmp_path / "expected/expected.safetensors").write_bytes(safetensors(beside))
    assert set(tensors.shapes(tmp_path)) == {*TENSORS}
    assert set(tensors.held(tmp_path)) == {*TENSORS, "adapter/x"}
    assert {picture.name for picture in pictures(tmp_path)} == {*TENSORS}
