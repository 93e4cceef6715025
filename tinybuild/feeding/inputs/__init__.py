"""Inputs by rule: one seeded batch of everything that a model's forward takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tinybuild.feeding.inputs import others, text, trial
from tinybuild.feeding.inputs.continued import MARGIN, NEW_TOKENS, Continued, continued, verdict
from tinybuild.feeding.inputs.draw import Draw
from tinybuild.feeding.inputs.facts import ROWS, Facts


def batch(model: Any, seed: int) -> dict[str, Any]:
    """Keyword arguments for `model.forward`: ROWS rows of every modality that it takes.

    Text has a placeholder for each feature that the model makes of an image, a video or a sound,
    and ends with eos where there is one; its other ids are of plain tokens. There are labels where
    they make the class compute a finite loss. What rules leave open is tried on the model, in a
    fixed order; the model and torch's random numbers are as before afterwards. Raises BuildFault,
    with the error of the likeliest candidate, where none was taken.
    """
    facts = Facts(model)
    with trial.quiet(model):
        return trial.search(facts, Draw(seed, model.dtype))


def apart(model: Any, given: Mapping[str, Any], seed: int) -> dict[str, dict[str, Any]]:
    """A batch for each modality of the model that a batch does not hold, modality -> arguments.

    Some classes take an image or a video, and never both: the text's placeholders are the same.
    These hold what is missing instead of the media that are there. Raises BuildFault.
    """
    facts = Facts(model)
    missing = [kind for kind in modalities(model) if kind not in covered(model, given)]
    made = {}
    for kind in missing:
        others_there = [other for other in text.MEDIA if other != kind]
        with trial.quiet(model):
            made[kind] = trial.search(facts, Draw(seed, model.dtype), others_there)
    return made


def modalities(model: Any) -> tuple[str, ...]:
    """What the model takes, sorted: of text, image, video, audio, series, trajectory, layout."""
    facts = Facts(model)
    found = set(trial.found(facts))
    if "text" in found and any(name in facts.takes for name in MORE["layout"]):
        found.add("layout")
    if "text" not in found and "decoder_input_ids" in facts.takes:
        found.add("text")
    return tuple(sorted(found))


def covered(model: Any, given: Mapping[str, Any]) -> tuple[str, ...]:
    """Those of the model's modalities that a batch holds, sorted."""
    return tuple(kind for kind in modalities(model) if _arguments(model, given, kind))


def varied(model: Any, given: Mapping[str, Any], kind: str, seed: int) -> dict[str, Any]:
    """The same batch with other values of one modality; shapes, masks and labels stay.

    Of text, only plain tokens change: placeholders and special tokens stay where they are.
    Raises ValueError for a modality that the batch does not hold.
    """
    names = _arguments(model, given, kind)
    if not names:
        raise ValueError(f"the batch has no {kind}")
    facts, draw = Facts(model), Draw(seed, model.dtype)
    changed = dict(given)
    for name in names:
        if name in MORE["layout"]:
            changed[name] = others.FOLLOWS[name](facts, draw, changed)
        else:
            changed[name] = _other(facts, draw, name, given[name])
    return changed


def _arguments(model: Any, given: Mapping[str, Any], kind: str) -> list[str]:
    """The arguments that hold the values of a modality."""
    names = {name for name, (of, _) in trial.RULES.items() if of == kind}
    names |= set(MORE.get(kind, ()))
    if kind == "image" and "grid_thw" in given:
        names.add("hidden_states")
    return [name for name in given if name in names]


MORE: Mapping[str, tuple[str, ...]] = {
    "text": ("input_ids", "decoder_input_ids"),
    "image": ("pixel_values_local", "high_res_pixel_values", "visual_feats", "visual_embeds"),
    "layout": ("bbox", "xpath_tags_seq", "xpath_subs_seq"),
    "state": trial.STATES,
}


def _other(facts: Facts, draw: Draw, name: str, old: Any) -> Any:
    import torch

    if old.is_floating_point():
        return draw.normal(name, *old.shape).to(old.dtype)
    if name not in MORE["text"]:
        return draw.whole(name, int(old.min()), int(old.max()) + 1, *old.shape)
    side = "decoder" if name.startswith("decoder") else "encoder"
    among = torch.tensor(text.plain(facts, text.vocabulary(facts, side)))
    new = draw.chosen(name, among.tolist(), *old.shape)
    return torch.where(torch.isin(old, among), new, old)


def tensors(outputs: Any) -> dict[str, Any]:
    """The floating-point tensors of a model's output, name -> tensor; nested ones numbered."""
    import torch

    found: dict[str, Any] = {}

    def walk(name: str, value: Any) -> None:
        if isinstance(value, torch.Tensor):
            if value.is_floating_point():
                found[name] = value
        elif isinstance(value, Mapping):
            for key, item in value.items():
                walk(f"{name}.{key}" if name else str(key), item)
        elif isinstance(value, list | tuple):
            for number, item in enumerate(value):
                walk(f"{name}.{number}", item)

    walk("", outputs)
    return found


__all__ = [
    "MARGIN",
    "NEW_TOKENS",
    "ROWS",
    "Continued",
    "apart",
    "batch",
    "continued",
    "covered",
    "modalities",
    "tensors",
    "varied",
    "verdict",
]
