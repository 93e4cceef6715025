"""Seeded draws: each argument has numbers of its own, whatever else is in the batch."""

from __future__ import annotations

import hashlib
from typing import Any


class Draw:
    """Random tensors; those of one argument depend on `seed` and its name only."""

    def __init__(self, seed: int, dtype: Any):
        self.seed, self.dtype = seed, dtype

    def _generator(self, name: str) -> Any:
        import torch

        digest = hashlib.sha256(f"{self.seed}/{name}".encode()).digest()
        return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)

    def normal(self, name: str, *shape: int) -> Any:
        """Standard normal numbers in the model's dtype."""
        import torch

        return torch.randn(shape, generator=self._generator(name)).to(self.dtype)

    def uniform(self, name: str, *shape: int) -> Any:
        """Numbers from 0 to 1 in the model's dtype."""
        import torch

        return torch.rand(shape, generator=self._generator(name)).to(self.dtype)

    def whole(self, name: str, low: int, high: int, *shape: int) -> Any:
        """Integers from low up to, not including, high; int64."""
        import torch

        return torch.randint(low, max(high, low + 1), shape, generator=self._generator(name))

    def chosen(self, name: str, among: list[int], *shape: int) -> Any:
        """Integers out of a list; int64."""
        import torch

        return torch.tensor(among)[self.whole(name, 0, len(among), *shape)]
