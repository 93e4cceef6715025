"""Every weight as a picture: one pixel an element, grey is zero."""

from __future__ import annotations

import base64
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tinybuild.tensors import Placed, placed, weights

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# safetensors' name of a dtype -> numpy's of the same bytes; bfloat16 is the upper half of float32.
DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U8": "u1",
    "BOOL": "?",
}
LARGEST = 400_000  # elements of one tensor that are shown; a page stays below some megabytes
WIDEST = 1024  # pixels of a row of a tensor with one axis


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A tensor to look at. png: a data URI, "" where it is not shown. low, high: of its values.
    shown: how many of its rows are in the picture; all unless it is large."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    png: str
    width: int
    height: int
    low: float
    high: float
    rows: int
    shown: int


def pictures(folder: Path) -> list[Picture]:
    """The tensors of a bundle's model, in the order of their names, numbers by value."""
    made = []
    for path in weights(folder):
        with path.open("rb") as file:
            begin, tensors = placed(file, path.stat().st_size)
            for name, tensor in tensors.items():
                file.seek(begin + tensor.data_offsets[0])
                data = file.read(tensor.data_offsets[1] - tensor.data_offsets[0])
                made.append(_picture(name, tensor, data))
    return sorted(made, key=lambda picture: _by_number(picture.name))


def _by_number(name: str) -> tuple[tuple[int, str], ...]:
    parts = name.split(".")
    return tuple((int(part), "") if part.isdecimal() else (-1, part) for part in parts)


def _picture(name: str, tensor: Placed, data: bytes) -> Picture:
    """Signed values around grey by the largest of them; the rest is clear from low and high."""
    import numpy as np

    flat = _values(tensor.dtype, data)
    if not flat.size:
        return _unseen(name, tensor)
    finite = np.nan_to_num(flat.astype(np.float32))
    sides = tensor.shape if len(tensor.shape) > 1 else (-(-flat.size // WIDEST), WIDEST)
    width = min(flat.size, int(np.prod(sides[1:])))
    rows = -(-flat.size // width)
    shown = max(1, min(rows, LARGEST // width))
    most = float(np.abs(finite).max()) or 1.0
    grey = np.full(shown * width, 128, dtype=np.uint8)
    seen = finite[: shown * width]
    grey[: seen.size] = np.rint(seen / most * 127 + 128).clip(1, 255)
    return Picture(
        name=name,
        dtype=tensor.dtype,
        shape=tensor.shape,
        png=_png(grey.reshape(shown, width)),
        width=width,
        height=shown,
        low=float(finite.min()),
        high=float(finite.max()),
        rows=rows,
        shown=shown,
    )


def _unseen(name: str, tensor: Placed) -> Picture:
    return Picture(
        name=name,
        dtype=tensor.dtype,
        shape=tensor.shape,
        png="",
        width=0,
        height=0,
        low=0.0,
        high=0.0,
        rows=0,
        shown=0,
    )


def _values(dtype: str, data: bytes) -> NDArray[np.generic]:
    """The elements in their order; none where the dtype has no numbers here (float8 ...)."""
    import numpy as np

    if dtype not in DTYPES:
        return np.empty(0, dtype=np.float32)
    read: NDArray[np.generic] = np.frombuffer(data, dtype=DTYPES[dtype])
    if dtype == "BF16":
        return (read.astype(np.uint32) << 16).view(np.float32)
    return read


def _png(grey: NDArray[np.uint8]) -> str:
    """A greyscale PNG (ISO/IEC 15948) of 8 bits, as a data URI."""
    height, width = grey.shape
    lines = b"".join(b"\0" + row.tobytes() for row in grey)
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(lines, 6)), (b"IEND", b""))
    chunks = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )
    png = b"\x89PNG\r\n\x1a\n" + b"".join(chunks)
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
