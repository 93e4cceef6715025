"""Seeded draws: each argument has numbers of its own, whatever else is in the batch."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tinybuild.errors import BuildFault
from tinybuild.feeding import Tensor
from tinybuild.portable import chance

if TYPE_CHECKING:
    from torch import Generator, dtype

    from tinybuild.portable.chance import Floats

ROWS = 2


@dataclass(frozen=True)
class Draw:
    """Random tensors; those of one argument depend on `seed` and its name only."""

    seed: int
    dtype: dtype
    _drawn: dict[str, Floats] = field(default_factory=dict, compare=False, repr=False)

    def _generator(self, name: str) -> Generator:
        import torch

        digest = hashlib.sha256(f"{self.seed}/{name}".encode()).digest()
        return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)

    def normal(self, name: str, *shape: int) -> Tensor:
        """Standard normal numbers in the model's dtype. Fewer are the first of more, so that those
        of many sizes are drawn once."""
        import torch

        size = math.prod(shape)
        if name not in self._drawn or self._drawn[name].size < size:
            self._drawn[name] = chance.normal(size, self.seed, name)
        numbers = self._drawn[name][:size].reshape(shape)
        return torch.from_numpy(numbers).to(self.dtype, copy=True)

    def uniform(self, name: str, *shape: int) -> Tensor:
        """Numbers from 0 to 1 in the model's dtype."""
        import torch

        return torch.rand(shape, generator=self._generator(name)).to(self.dtype)

    def whole(self, name: str, low: int, high: int, *shape: int) -> Tensor:
        """Integers from low up to, not including, high; int64."""
        import torch

        return torch.randint(low, max(high, low + 1), shape, generator=self._generator(name))

    def chosen(self, name: str, among: list[int], *shape: int) -> Tensor:
        """Integers out of a list; int64. Raises BuildFault where it has none."""
        import torch

        if not among:
            raise BuildFault.of(
                f"there is nothing to draw {name} from: all ids that the config counts are special",
                key=("model",),
                hint="give the config a larger vocab_size",
            )
        return torch.tensor(among)[self.whole(name, 0, len(among), *shape)]


def ones(*shape: int) -> Tensor:
    """int64: a mask that leaves nothing out, or types that are 1 everywhere."""
    import torch

    return torch.ones(shape, dtype=torch.long)


def zeros(*shape: int) -> Tensor:
    """int64."""
    return ones(*shape) * 0


def yes(*shape: int) -> Tensor:
    """A mask of truth values that leaves nothing out."""
    return ones(*shape).bool()


def each(value: int | list[int]) -> Tensor:
    """The same number, or the same numbers, for each row: (ROWS,) or (ROWS, n) int64."""
    import torch

    return torch.tensor([value] * ROWS)
