"""What a batch holds of each modality, and other values for it."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from tinybuild.feeding import Given, Model, Tensor
from tinybuild.feeding.inputs import beside, text
from tinybuild.feeding.inputs.draw import Draw, zeros
from tinybuild.feeding.inputs.facts import Facts
from tinybuild.feeding.inputs.senses import SENSES, senses

if TYPE_CHECKING:
    from torch import Generator

# Arguments that hold values of a modality, beside those that make forward take it.
MORE: Mapping[str, tuple[str, ...]] = {
    "text": ("input_ids", "decoder_input_ids"),
    "image": ("pixel_values_local", "high_res_pixel_values"),
    "layout": ("bbox", "xpath_tags_seq", "xpath_subs_seq"),
}
# Arguments that only describe others, by their names' ends.
_BESIDE = re.compile(
    r"(labels?|mask|masks|position_ids|_positions|type_ids|grid_thw|grids|shapes?|"
    r"sizes?(_videos)?|lengths?|num_\w+|pos|ids_restore|observed\w*|indices|noise|_ids_of_\w+|"
    r"aspect_ratio_ids|is_longer|rewards|langs|lang_ids|future_values|^height|^width|"
    r"patches_grid|images_per_sample|^freq|cutoffs|structure|second_per_grid)$"
)


def modalities(model: Model) -> tuple[str, ...]:
    """What the model takes, sorted: of text, image, video, audio, series, trajectory, layout."""
    facts = Facts(model)
    taken = {*senses(facts)}
    if "text" in taken and any(name in facts.takes for name in MORE["layout"]):
        taken.add("layout")
    if "decoder_input_ids" in facts.takes:
        taken.add("text")
    return tuple(sorted(taken))


def covered(model: Model, given: Mapping[str, object]) -> tuple[str, ...]:
    """Those of the model's modalities that a batch holds, sorted."""
    return tuple(name for name in modalities(model) if _arguments(given, name))


def varied(model: Model, given: Given, modality: str, seed: int) -> dict[str, Tensor]:
    """The same batch with one modality drawn anew; shapes, masks and labels stay.

    Of text, only plain tokens change: placeholders and special tokens stay where they are.
    Raises ValueError for a modality that the batch does not hold.
    """
    names = _arguments(given, modality)
    if not names:
        raise ValueError(f"the batch has no {modality}")
    facts, draw = Facts(model), Draw(seed, model.dtype)
    changed = dict(given)
    for name in names:
        if name in MORE["layout"]:
            ids = changed["input_ids"]
            read = text.Words(ids=ids, sorts=zeros(*ids.shape))
            changed[name] = beside.FOLLOWS[name](facts, draw, read)
        else:
            changed[name] = _other(facts, draw, name, given[name])
    return changed


def _arguments(given: Mapping[str, object], modality: str) -> list[str]:
    """The arguments that hold the values of a modality."""
    names = {name for name, sense in SENSES.items() if sense.modality == modality}
    names |= {*MORE.get(modality, ())}
    if modality == "image" and "grid_thw" in given:
        names.add("hidden_states")
    return [name for name in given if name in names]


def _other(facts: Facts, draw: Draw, name: str, old: Tensor) -> Tensor:
    import torch

    if old.is_floating_point():
        return _placed(name, draw.normal(name, *old.shape).to(old.dtype), old)
    if name not in MORE["text"]:
        return draw.whole(name, int(old.min()), int(old.max()) + 1, *old.shape)
    among = text.plain(facts, name)
    new = draw.chosen(name, among, *old.shape)
    return torch.where(torch.isin(old, torch.tensor(among)), new, old)


def _placed(name: str, new: Tensor, old: Tensor) -> Tensor:
    """Other values where the old ones were: a flattened patch begins with its row and column."""
    if name == "flattened_patches":
        new[..., :2] = old[..., :2]
    return new


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
    """Other contents for one argument, near to those that it has: other noise of the same width
    added, other token ids in place of all that are not special, and otherwise the same numbers in
    other places."""
    import torch

    if value.is_floating_point():
        width = max(float(value.float().std(correction=0)), 0.1)
        noise = (torch.randn(value.shape, generator=drawn) * width).to(value.dtype)
        return _placed(name, value + noise, value)
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
    made = flat.reshape(value.shape)
    if made.dim() == 3:  # an id of each book at each place: some books are smaller
        return torch.where(made > value.amax((0, 1)), value, made)
    return made
