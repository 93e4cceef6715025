"""Pictures of weights hold each element: read back by another library."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from tinybuild.page import pictures


def pixels(picture: pictures.Picture) -> np.ndarray:
    data = base64.b64decode(picture.png.partition(",")[2])
    return np.asarray(Image.open(io.BytesIO(data)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.int64])
def test_one_pixel_an_element(tmp_path: Path, dtype: torch.dtype) -> None:
    values = torch.tensor([[0, 1, -1], [4, 2, -2]]).to(dtype)
    save_file({"w": values, "v": torch.zeros(5)}, tmp_path / "model.safetensors")
    blank, seen = pictures.pictures(tmp_path)
    assert (seen.name, seen.shape, seen.low, seen.high) == ("w", (2, 3), -2.0, 4.0)
    assert pixels(seen).tolist() == [[128, 160, 96], [255, 192, 64]]
    assert pixels(blank).tolist() == [[128] * 5]


def test_more_axes_are_rows_of_the_first_and_layers_come_in_their_order(tmp_path: Path) -> None:
    tensors = {f"l.{n}.w": torch.ones(2, 3, 4) for n in (10, 2)} | {"n": torch.tensor(3.0)}
    save_file(tensors, tmp_path / "model.safetensors")
    two, ten, number = pictures.pictures(tmp_path)
    assert (two.name, ten.name) == ("l.2.w", "l.10.w")
    assert pixels(two).shape == (2, 12)
    assert (number.shape, pixels(number).tolist()) == ((), [[255]])


def test_what_is_large_is_cut_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "LARGEST", 10)
    nan = torch.tensor([[1.0, float("nan"), float("inf"), -1.0]] * 6)
    tensors = {"a": nan, "b": torch.ones(2, 2, dtype=torch.float8_e4m3fn), "c": torch.ones(0)}
    save_file(tensors, tmp_path / "model.safetensors")
    cut, unknown, empty = pictures.pictures(tmp_path)
    assert (cut.rows, cut.shown, pixels(cut).shape) == (6, 2, (2, 4))
    assert unknown.png == empty.png == ""
