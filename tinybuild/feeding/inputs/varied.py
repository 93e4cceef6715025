"""What a batch holds of each modality, and the same batch with other values of one of them."""

from __future__ import annotations

from collections.abc import Mapping

from tinybuild.feeding import Given, Model, Tensor
from tinybuild.feeding.inputs import beside, text
from tinybuild.feeding.inputs.draw import Draw, zeros
from tinybuild.feeding.inputs.facts import Facts
from tinybuild.feeding.inputs.senses import SENSES, senses

# Arguments that hold values of a modality, beside those that make forward take it.
MORE: Mapping[str, tuple[str, ...]] = {
    "text": ("input_ids", "decoder_input_ids"),
    "image": ("pixel_values_local", "high_res_pixel_values"),
    "layout": ("bbox", "xpath_tags_seq", "xpath_subs_seq"),
}


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
    """The same batch with other values of one modality; shapes, masks and labels stay.

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
        return draw.normal(name, *old.shape).to(old.dtype)
    if name not in MORE["text"]:
        return draw.whole(name, int(old.min()), int(old.max()) + 1, *old.shape)
    among = text.plain(facts, text.side(name))
    new = draw.chosen(name, among, *old.shape)
    return torch.where(torch.isin(old, torch.tensor(among)), new, old)
