"""Which argument of a forward holds which modality, and the rule for what it may hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from tinybuild.feeding import Given
from tinybuild.feeding.inputs import audio, others, vision
from tinybuild.feeding.inputs.draw import Draw
from tinybuild.feeding.inputs.facts import Facts

Rule: TypeAlias = "Callable[[Facts, Draw, str], Iterator[Given]]"


@dataclass(frozen=True, kw_only=True)
class Sense:
    """An argument that holds a modality.

    candidates: the rule that makes it and what describes it, likeliest first; None for text, whose
    ids are laid out around what the other arguments hold.
    """

    modality: str
    argument: str
    candidates: Rule | None


def _senses(modality: str, candidates: Rule, *arguments: str) -> dict[str, Sense]:
    return {
        name: Sense(modality=modality, argument=name, candidates=candidates) for name in arguments
    }


# By argument; the first that forward takes is the modality's.
SENSES: Mapping[str, Sense] = {
    **_senses("image", vision.images, "pixel_values", "image_pixel_values", "flattened_patches"),
    **_senses("image", vision.images, "image_patches", "image"),
    **_senses("image", vision.regions, "visual_feats", "visual_embeds"),
    **_senses("video", vision.videos, "pixel_values_videos"),
    **_senses(
        "audio",
        audio.features,
        "input_features",
        "audio_input_features",
        "audio_mel",
        "spectrogram",
    ),
    **_senses("audio", audio.waves, "input_values"),
    **_senses("audio", audio.targets, "decoder_input_values"),
    **_senses("audio", audio.codes, "audio_input_ids", "audio_codes"),
    **_senses("series", others.series, "past_values"),
    **_senses("trajectory", others.trajectory, "states"),
    **_senses("trajectory", others.robot, "state"),
}
OPTIONAL = ("state",)  # what a recurrent model goes on from, where forward can do without
# Taken only where forward has none of the above, or cannot do without.
STATES: tuple[str, ...] = (
    *("hidden_states", "inputs_embeds", "inputs", "input", "latents", "query_embeds"),
    *("noise_embeds", "context_hidden_states", "action_embeds"),
)
# The sub-config of a modality: None says that the model has no part for it.
PARTS = {"image": "vision_config", "video": "vision_config", "audio": "audio_config"}


def senses(facts: Facts) -> dict[str, Sense]:
    """By modality: the argument for each that the model takes."""
    taken: dict[str, Sense] = {}
    needed = facts.required()
    if "input_ids" in facts.takes:
        taken["text"] = Sense(modality="text", argument="input_ids", candidates=None)
    for name, sense in SENSES.items():
        if name in facts.takes and (name in needed or not _absent(facts, sense)):
            taken.setdefault(sense.modality, sense)
    if "hidden_states" in needed and "grid_thw" in needed:
        taken["image"] = Sense(modality="image", argument="hidden_states", candidates=vision.images)
    return taken


def _absent(facts: Facts, sense: Sense) -> bool:
    """Whether forward can do without an argument, or the model has no part for it."""
    return sense.argument in OPTIONAL or lacks(facts.config, sense.modality)


def lacks(config: object, modality: str) -> bool:
    """Whether a config's class has a part for a modality, and this one leaves it out."""
    part = PARTS.get(modality, "")
    return hasattr(config, part) and getattr(config, part) is None


def states(facts: Facts, taken: Mapping[str, Sense]) -> list[Sense]:
    """States that forward cannot do without, or takes for want of anything else."""
    arguments = {sense.argument for sense in taken.values()}
    names = [n for n in facts.required() if n in STATES and n not in arguments]
    if not taken and not names:
        names = [name for name in STATES if name in facts.takes][:1]
    return [Sense(modality="state", argument=n, candidates=others.states) for n in names]
