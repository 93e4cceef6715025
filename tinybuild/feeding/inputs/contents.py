"""Which arguments of a batch carry something to understand, and other contents for one of them."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Generator, Tensor

_BESIDE = re.compile(
    r"(labels|mask|masks|position_ids|_positions|type_ids|grid_thw|grids|shapes?|sizes?(_videos)?|lengths?|num_\w+|"
    r"pos|ids_restore|observed\w*|indices|noise|_ids_of_\w+|aspect_ratio_ids|is_longer|rewards|"
    r"langs|lang_ids|future_values|^height|^width|patches_grid|images_per_sample|^freq|cutoffs|"
    r"structure|second_per_grid)$"
)


def contents(batch: Mapping[str, object]) -> list[str]:
    """The arguments that carry something to understand: not masks, positions, sizes and labels."""
    import torch

    return [
        name
        for name, value in batch.items()
        if isinstance(value, torch.Tensor)
        and value.dtype != torch.bool
        and value.numel() > 1
        and not _BESIDE.search(name)
    ]


def renewed(name: str, value: Tensor, special: Collection[int], drawn: Generator) -> Tensor:
    """Other contents for one argument: other noise of the same width, other token ids in place of
    all that are not special, and otherwise the same numbers in other places."""
    import torch

    if value.is_floating_point():
        width = max(float(value.float().std(correction=0)), 0.1)
        return value + (torch.randn(value.shape, generator=drawn) * width).to(value.dtype)
    if value.dim() == 3 and "input_ids" not in name:
        return value.roll(1, dims=1)  # boxes, codes: whole ones, in other places
    flat = value.clone().reshape(-1)
    plain = [i for i, number in enumerate(flat.tolist()) if number not in special]
    low, high = (int(flat[plain].min()), int(flat[plain].max())) if plain else (0, 0)
    if "input_ids" in name:
        pool = [number for number in range(low, high + 1) if number not in special]
        if len(pool) > 1:
            at = torch.randint(len(pool), (len(plain),), generator=drawn)
            flat[plain] = torch.tensor(pool, dtype=flat.dtype)[at]
    elif len(plain) > 1:
        flat[plain] = flat[plain].roll(1)
    return flat.reshape(value.shape)
