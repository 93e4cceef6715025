"""Inputs by rule: one seeded batch of everything that a model's forward takes."""

from __future__ import annotations

from tinybuild.feeding import Given, Model, Tensor
from tinybuild.feeding.inputs import text, trial
from tinybuild.feeding.inputs.attempt import attempt, quiet, tensors
from tinybuild.feeding.inputs.contents import covered, modalities, varied
from tinybuild.feeding.inputs.continued import MARGIN, NEW_TOKENS, Continued, continued, verdict
from tinybuild.feeding.inputs.draw import ROWS, Draw
from tinybuild.feeding.inputs.facts import Facts


def batch(model: Model, seed: int) -> dict[str, Tensor]:
    """Keyword arguments for `model.forward`: ROWS rows of every modality that it takes.

    Text has a placeholder for each feature that the model makes of an image, a video or a sound,
    and ends with eos where there is one; its other ids are of plain tokens. There are labels where
    they make the class compute a finite loss. What rules leave open is tried on the model, in a
    fixed order; the model and torch's random numbers are as before afterwards. Raises BuildFault
    with the error of the try that came farthest.
    """
    with quiet(model):
        return trial.search(Facts(model), Draw(seed, model.dtype))


def apart(model: Model, given: Given, seed: int) -> dict[str, dict[str, Tensor]]:
    """A batch for each modality of the model that a batch does not hold, modality -> arguments.

    Some classes take an image or a video, and never both: the text's placeholders are the same.
    These hold what is missing instead of the media that are there. Raises BuildFault.
    """
    here = covered(model, given)
    made = {}
    for missing in modalities(model):
        if missing not in here:
            others = [medium for medium in text.MEDIA if medium != missing]
            with quiet(model):
                made[missing] = trial.search(Facts(model), Draw(seed, model.dtype), others)
    return made


__all__ = [
    "MARGIN",
    "NEW_TOKENS",
    "ROWS",
    "Continued",
    "apart",
    "attempt",
    "batch",
    "continued",
    "covered",
    "modalities",
    "quiet",
    "tensors",
    "varied",
    "verdict",
]
