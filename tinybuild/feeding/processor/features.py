"""What a model makes of images and sounds: how many features, to be compared with placeholders."""

from __future__ import annotations

import inspect
import math
from typing import TYPE_CHECKING, Any

from tinybuild.feeding import Given, Model
from tinybuild.feeding.processor.geometry import Pair, find
from tinybuild.paths import Data, whole

if TYPE_CHECKING:
    import numpy
    import torch
    from PIL.Image import Image
    from transformers.video_utils import VideoMetadata

TOWERS = ("vision_tower", "vision_model", "vision_encoder", "image_tower", "visual")
# The argument that holds a medium where a method does not say.
SENSED = {"image": "pixel_values", "video": "pixel_values_videos", "audio": "input_features"}
FILLED = ("audio_soft_tokens_per_image",)  # to so many forward fills up the features of a sound
GRIDS = "image_grid_thw"  # the patches of each image: of times, rows and columns
FRAMES, RATE = 8, 4.0  # of the sample video where a config says no number, and a second
SECONDS = 1.28  # of the sample sound: 128 hops of 10 ms, which a model may lay side by side in twos
HIGH, WIDE = 60, 80  # pixels of the sample image, of which a processor makes its own size


def image(seed: int = 0) -> Image:
    """A sample image as people have them: colours, and not a square."""
    from PIL import Image

    return Image.fromarray(_pixels(seed, HIGH, WIDE, 3))


def frames(config: Data) -> int:
    """Of how many images a sample video is for a model with this config (JSON data)."""
    told = find(config, ("num_frames",), "video")
    return told if whole(told) and told > 0 else FRAMES


def video(seed: int, frames: int, side: Pair = (HIGH, WIDE)) -> numpy.ndarray:
    """A sample video: an array (frames, height, width, 3) of bytes."""
    return _pixels(seed, frames, *side, 3)


def _pixels(seed: int, *shape: int) -> numpy.ndarray:
    import numpy

    return numpy.random.default_rng(seed).integers(0, 256, shape, dtype=numpy.uint8)


def film(frames: int, side: Pair = (HIGH, WIDE)) -> VideoMetadata:
    """What is known of the sample video: which some processors choose frames by."""
    from transformers.video_utils import VideoMetadata

    return VideoMetadata(
        total_num_frames=frames,
        fps=RATE,
        width=side[1],
        height=side[0],
        duration=frames / RATE,
        frames_indices=list(range(frames)),
    )


def sound(rate: int, seed: int = 0) -> numpy.ndarray:
    """SECONDS of noise, float32, of `rate` samples each."""
    import numpy

    samples = round(SECONDS * rate)
    return (numpy.random.default_rng(seed).standard_normal(samples) * 0.1).astype(numpy.float32)


def rows(model: Model, medium: str, inputs: Given) -> int | None:
    """How many feature rows (one a placeholder) the model makes of `inputs`, in all.

    medium: image, video or audio. None where the model has no method for it, or is not given what
    the method needs. Follows get_image_features: a tensor (.., rows, width), or a list of them, by
    itself or as the pooler_output.
    """
    import torch

    name = f"get_{medium}_features"
    method = getattr(model, name, None) or getattr(model.base_model, name, None)
    if method is None:
        return None
    takes = inspect.signature(method).parameters
    named = {n: p for n, p in takes.items() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
    # A decorator may hide them: that of Voxtral's realtime models.
    known = {*named} or {SENSED[medium]}
    given = {name: value for name, value in inputs.items() if name in known}
    lacking = {
        n for n, p in named.items() if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD
    }
    if lacking - given.keys() or not given:
        return None
    try:
        with torch.no_grad():
            made = method(**given)
    except TypeError:
        return None  # an argument is lacking that only the method behind it wants
    made = getattr(made, "pooler_output", made)
    tensors = list(made) if isinstance(made, tuple | list) else [made]
    if not all(isinstance(tensor, torch.Tensor) for tensor in tensors):
        return None
    filled = find(model.config.to_dict(), FILLED, medium) if medium == "audio" else None
    if whole(filled):
        return filled * len(tensors[0])
    return sum(_rows(tensor, inputs) for tensor in tensors)


def _rows(tensor: torch.Tensor, inputs: Given) -> int:
    """Features in a tensor (.., rows, width), or in a map (width, rows, columns) of an image that
    has as many patches along its sides (GLM-Image's)."""
    grids = inputs.get(GRIDS)
    sides = {(high, wide) for _, high, wide in grids.tolist()} if grids is not None else set()
    mapped = tensor.dim() == 3 and tuple(tensor.shape[1:]) in sides
    return math.prod(tensor.shape[1:] if mapped else tensor.shape[:-1])


def tiles(inputs: Given) -> int:
    """How many images, or parts that images are cut in, stand in `inputs`."""
    pixels = inputs["pixel_values"]
    return math.prod(pixels.shape[:-3]) if pixels.dim() > 3 else int(pixels.shape[0])


def extra(model: Model, shape: tuple[int, int, int], patch: tuple[int, int]) -> int | None:
    """Tokens that the vision tower puts beside those of the patches (its class token).

    shape: channels, height and width of an image. None where no tower is found that gives a row
    for each patch.
    """
    import torch

    towers = (
        module
        for name, module in model.named_modules()
        if name.rpartition(".")[2] in TOWERS
        and "pixel_values" in inspect.signature(module.forward).parameters
    )
    tower = next(towers, None)
    if tower is None:
        return None
    pixels = torch.zeros((1, *shape), dtype=model.dtype)
    try:
        with torch.no_grad():
            hidden = tower(pixel_values=pixels).last_hidden_state
    except (TypeError, ValueError, RuntimeError, AttributeError):
        return None  # it wants more than pixels
    more = int(hidden.shape[1]) - (shape[1] // patch[0]) * (shape[2] // patch[1])
    return more if hidden.dim() == 3 and 0 <= more < 16 else None


def cast(model: Model, inputs: Given) -> dict[str, Any]:
    """Inputs whose floating-point tensors have the model's dtype."""
    import torch

    return {
        name: value.to(model.dtype)
        if isinstance(value, torch.Tensor) and value.is_floating_point()
        else value
        for name, value in inputs.items()
    }
