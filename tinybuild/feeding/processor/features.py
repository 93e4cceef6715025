"""What a model makes of images and sounds: how many features, to be compared with placeholders."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import Any

TOWERS = ("vision_tower", "vision_model", "vision_encoder", "image_tower", "visual")
PIXELS = ("pixel_values", "pixel_values_videos", "input_features")
SENSED = dict(zip(("image", "video", "audio"), PIXELS, strict=True))
FRAMES, RATE = 8, 4.0  # of the sample video, and a second
SECONDS = 1.28  # of the sample sound: 128 hops of 10 ms, which a model may lay side by side in twos
HIGH, WIDE = 60, 80  # pixels of the sample image, of which a processor makes its own size


def image(seed: int = 0) -> Any:
    """A sample image as people have them: colours, and not a square."""
    import numpy
    from PIL import Image

    drawn = numpy.random.default_rng(seed)
    return Image.fromarray(drawn.integers(0, 256, (HIGH, WIDE, 3), dtype=numpy.uint8))


def video(seed: int = 0) -> Any:
    """A sample video: FRAMES images, an array (frames, height, width, 3) of bytes."""
    import numpy

    drawn = numpy.random.default_rng(seed)
    return drawn.integers(0, 256, (FRAMES, HIGH, WIDE, 3), dtype=numpy.uint8)


def film() -> Any:
    """What is known of the sample video: which some processors choose frames by."""
    from transformers.video_utils import VideoMetadata

    return VideoMetadata(
        total_num_frames=FRAMES,
        fps=RATE,
        width=WIDE,
        height=HIGH,
        duration=FRAMES / RATE,
        frames_indices=list(range(FRAMES)),
    )


def sound(rate: int, seed: int = 0) -> Any:
    """SECONDS of noise, float32, of `rate` samples each."""
    import numpy

    samples = round(SECONDS * rate)
    return (numpy.random.default_rng(seed).standard_normal(samples) * 0.1).astype(numpy.float32)


def rows(model: Any, kind: str, inputs: Mapping[str, Any]) -> int | None:
    """How many feature rows (one a placeholder) the model makes of `inputs`, in all.

    kind: image, video or audio. None where the model has no method for it, or is not given what
    the method needs. Follows get_image_features: a tensor (.., rows, width), or a list of them, by
    itself or as the pooler_output.
    """
    import torch

    name = f"get_{kind}_features"
    method = getattr(model, name, None) or getattr(model.base_model, name, None)
    if method is None:
        return None
    takes: Mapping[str, inspect.Parameter] = inspect.signature(method).parameters
    hidden = all(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in takes.values())
    if hidden:  # by a decorator that does not tell: Voxtral's realtime models
        takes = {SENSED[kind]: inspect.Parameter(SENSED[kind], inspect.Parameter.KEYWORD_ONLY)}
    given = {name: value for name, value in inputs.items() if name in takes}
    lacking = [
        name
        for name, parameter in takes.items()
        if parameter.default is parameter.empty
        and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
        and name not in given
    ]
    if lacking or not given:
        return None
    try:
        with torch.no_grad():
            found = method(**given)
    except TypeError:
        return None  # an argument is lacking that only the method behind it wants
    found = getattr(found, "pooler_output", found)
    if isinstance(found, tuple | list) and found and not isinstance(found[0], torch.Tensor):
        return None
    tensors = list(found) if isinstance(found, tuple | list) else [found]
    if not all(isinstance(tensor, torch.Tensor) for tensor in tensors):
        return None
    return int(sum(math.prod(tensor.shape[:-1]) for tensor in tensors))


def tiles(inputs: Mapping[str, Any]) -> int:
    """How many images, or parts that images are cut in, stand in `inputs`."""
    pixels = inputs["pixel_values"]
    return math.prod(pixels.shape[:-3]) if pixels.dim() > 3 else int(pixels.shape[0])


def extra(model: Any, side: tuple[int, int], patch: tuple[int, int], channels: int) -> int | None:
    """Tokens that the vision tower puts beside those of the patches (its class token).

    None where no tower is found that gives a row for each patch.
    """
    import torch

    tower = next(
        (
            module
            for name, module in model.named_modules()
            if name.rpartition(".")[2] in TOWERS and "pixel_values" in _takes(module)
        ),
        None,
    )
    if tower is None:
        return None
    pixels = torch.zeros((1, channels, *side), dtype=model.dtype)
    try:
        with torch.no_grad():
            hidden = tower(pixel_values=pixels).last_hidden_state
    except (TypeError, ValueError, RuntimeError, AttributeError):
        return None  # it wants more than pixels
    found = int(hidden.shape[1]) - (side[0] // patch[0]) * (side[1] // patch[1])
    return found if hidden.dim() == 3 and 0 <= found < 16 else None


def cast(model: Any, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Inputs whose floating-point tensors have the model's dtype."""
    import torch

    return {
        name: value.to(model.dtype)
        if isinstance(value, torch.Tensor) and value.is_floating_point()
        else value
        for name, value in inputs.items()
    }


def _takes(module: Any) -> Any:
    return inspect.signature(module.forward).parameters
