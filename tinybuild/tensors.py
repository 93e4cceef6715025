"""The tensors of safetensors files, read by header and digested by bytes, without torch."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tinybuild import bundle, wire
from tinybuild.wire import Misshapen

# https://huggingface.co/docs/safetensors: eight bytes of length, a header in JSON, the bytes.
SUFFIX = ".safetensors"
LENGTH, LONGEST, CHUNK = 8, 100_000_000, 1 << 20
METADATA = "__metadata__"


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """dtype: in the words of safetensors, such as BF16. sha256: of its bytes."""

    dtype: str
    shape: tuple[int, ...]
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Placed:
    """A tensor as a header has it; the offsets count from the end of the header."""

    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


def weights(folder: Path, pattern: str = f"*{SUFFIX}") -> list[Path]:
    """The files of weights in a bundle, sorted: all but what a port of the model is held to."""
    beside = folder / bundle.EXPECTED
    return sorted(path for path in folder.glob(pattern) if path.parent != beside)


def held(folder: Path) -> dict[str, Tensor]:
    """All tensors of a bundle: of the model, however many files it has, by their names; of an
    adapter in a folder below, with the folder before the name. Raises ValueError."""
    found = dict[str, Tensor]()
    for path in weights(folder, f"**/*{SUFFIX}"):
        below = path.parent.relative_to(folder).as_posix()
        prefix = "" if below == "." else f"{below}/"
        found |= {f"{prefix}{name}": tensor for name, tensor in read(path).items()}
    return found


def headers(folder: Path) -> dict[str, Placed]:
    """What headers say of the tensors of a bundle's model, by their names. Raises ValueError."""
    made = dict[str, Placed]()
    for path in weights(folder):
        with path.open("rb") as file:
            made |= placed(file, path.stat().st_size)[1]
    return made


def shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """The shapes of the tensors of a bundle's model, by their names. Raises ValueError."""
    return {name: tensor.shape for name, tensor in headers(folder).items()}


def read(path: Path) -> dict[str, Tensor]:
    """The tensors of a file by their names; raises ValueError for what is not safetensors."""
    with path.open("rb") as file:
        begin, tensors = placed(file, path.stat().st_size)
        return {name: _digested(file, begin, one) for name, one in tensors.items()}


def placed(file: BinaryIO, size: int) -> tuple[int, dict[str, Placed]]:
    """Where the tensors of an open file are: where its bytes begin, and each tensor's place there.
    Raises ValueError for what is not safetensors."""
    length = int.from_bytes(file.read(LENGTH), "little")
    begin = LENGTH + length
    if size < LENGTH or length > LONGEST or begin > size:
        raise ValueError("it is cut off, or not safetensors")
    try:
        header = json.loads(file.read(length))
    except RecursionError:
        raise ValueError("its header is nested too deeply") from None
    if not isinstance(header, dict):
        raise Misshapen("the header must be a mapping")
    header.pop(METADATA, None)
    tensors = {name: wire.load(Placed, one) for name, one in header.items()}
    for name, one in tensors.items():
        start, stop = one.data_offsets
        if not 0 <= start <= stop <= size - begin:
            raise ValueError(f"the bytes of {name} lie outside the file")
    return begin, tensors


def _digested(file: BinaryIO, begin: int, one: Placed) -> Tensor:
    start, stop = one.data_offsets
    file.seek(begin + start)
    hasher, left = hashlib.sha256(), stop - start
    while left and (chunk := file.read(min(left, CHUNK))):
        hasher.update(chunk)
        left -= len(chunk)
    return Tensor(dtype=one.dtype, shape=one.shape, sha256=hasher.hexdigest())
