"""Samples of images, videos and sounds through a processor, as people call it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tinybuild.feeding.inputs import beside
from tinybuild.feeding.inputs.draw import Draw
from tinybuild.feeding.inputs.facts import Facts
from tinybuild.feeding.inputs.senses import SENSES, lacks
from tinybuild.feeding.processor import features
from tinybuild.feeding.processor.geometry import Geometry, Pair, find

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import BaseImageProcessor, PretrainedConfig, PreTrainedModel, ProcessorMixin

    Batch = Mapping[str, Tensor]

MEDIA = ("image", "video", "audio")
ATTRIBUTES = {
    "image": ("image_processor",),
    "video": ("video_processor",),
    "audio": ("feature_extractor", "audio_processor"),
}
# How a class writes the places of a video that has so many frames, whatever it is.
CODED = re.compile(r"self\.num_query_tokens \* (\d+)")
SAMPLES = {"image": "images", "video": "videos", "audio": "audio"}  # arguments of a processor
PROMPTS = ("prompt_images", "prompt_masks")  # what an image is told by (SegGPT)
WORDS = "a cat"
BESIDE = "a video is not tried beside an image"
TYPED = "mm_token_type_ids"
SPOKEN = "decoder_input_values"  # frames that a decoder of speech goes on from
ASKED: Mapping[str, object] = {
    "language": "en",
    "task_inputs": ["semantic"],
}  # arguments that a processor may want besides
# What a processor makes only when it is asked -> the model's input of that kind (FLAVA).
RETURNED = {
    "return_codebook_pixels": "codebook_pixel_values",
    "return_image_mask": "bool_masked_pos",
}


@dataclass(frozen=True, kw_only=True)
class Fed:
    """What a processor made of the samples of some media.

    ids: medium -> the placeholder's id. whole: whether it was the whole processor, with a text;
    else `note` says why not.
    """

    inputs: Batch
    media: tuple[str, ...]
    ids: Mapping[str, int]
    whole: bool = True
    note: str = ""


def senses(loaded: object, config: PretrainedConfig) -> tuple[str, ...]:
    """The media that a processor takes, without those that a model has left its part for out."""
    return tuple(
        medium
        for medium in MEDIA
        if not lacks(config, medium)
        and any(getattr(loaded, name, None) is not None for name in ATTRIBUTES[medium])
    )


def placeholders(config: PretrainedConfig, media: Sequence[str] = MEDIA) -> dict[str, int]:
    """medium -> the id of its placeholder, of those that a config has one for."""
    ids = {medium: placeholder_id(config, medium) for medium in media}
    return {medium: number for medium, number in ids.items() if number is not None}


def whole(
    model: PreTrainedModel, loaded: ProcessorMixin, seed: int, media: tuple[str, ...] = ()
) -> Fed:
    """Samples of some media, or of all, and a text, through a whole processor."""
    note = ""
    if not media:
        media = senses(loaded, model.config)
        if {"image", "video"} <= {*media} and _overwritten(loaded):
            media, note = tuple(medium for medium in media if medium != "video"), BESIDE
    tokens = {medium: mark(loaded, medium) for medium in media}
    ids = {m: number for m, number in placeholders(model.config, media).items() if tokens[m]}
    every = {*RETURNED.values()} <= Facts(model).takes.keys()
    more = dict.fromkeys(RETURNED, True) if every else {}
    film = filmed(model)
    times = {"image": film or 1}
    shown = {m: sample(model.config, loaded, m, seed) * times.get(m, 1) for m in media}
    try:
        inputs = _call(model.config, loaded, tokens, ids, shown, **more)
    except ValueError:
        frames = placeholder_id(model.config, "image")
        if media != ("video",) or frames is None:
            raise
        # The frames of a video by itself stand in the text as images, too.
        ids = {"video": frames}
        inputs = _call(model.config, loaded, tokens, ids, shown, **more)
    if "image" in media and "video" in ids and not (inputs["input_ids"] == ids["video"]).any():
        # The frames of a video stand in the text as images (GLM-4V): never both at once.
        tokens.pop("video")
        media = tuple(medium for medium in media if medium != "video")
        ids = {medium: ids[medium] for medium in media if medium in ids}
        inputs = _call(model.config, loaded, tokens, ids, shown, **more)
        note = BESIDE
    if film and inputs["pixel_values"].dim() == 4:
        inputs["pixel_values"] = inputs["pixel_values"][None]  # frames of one video
    return Fed(inputs=inputs, media=media, ids=ids, note=note)


def one_at_a_time(error: ValueError) -> bool:
    """Whether a class says that it takes no two media at a time (Molmo 2)."""
    return "at the same time" in str(error)


def _overwritten(loaded: ProcessorMixin) -> bool:
    """Whether a video takes the place of an image beside it: what is made of both has one name
    (SmolVLM)."""
    first: str = loaded.image_processor.model_input_names[0]
    return first in loaded.video_processor.model_input_names


def filmed(model: PreTrainedModel) -> int:
    """Of how many frames a model wants its images, which are then a video's (X-CLIP); or 0."""
    facts = Facts(model)
    method = facts.method("get_video_features", "pixel_values")
    named = method is not None and "pixel_values" in inspect.signature(method).parameters
    if not named or "pixel_values_videos" in facts.takes:
        return 0
    return facts.integer("num_frames", near="image", default=0)


def _call(
    config: PretrainedConfig,
    loaded: ProcessorMixin,
    tokens: Mapping[str, str],
    ids: Mapping[str, int],
    shown: Mapping[str, list[object]],
    **more: object,
) -> dict[str, Tensor]:
    """What a processor makes of samples and a text with marks where they belong.

    tokens: medium -> its mark. shown: medium -> samples.

    Some take images or text (ColPali's), some two images (LightGlue's).
    """
    marks = "".join(between(config, loaded, medium, token) for medium, token in tokens.items())
    named = places(loaded)
    samples = {named[medium]: shown[medium] for medium in tokens}
    twice = {name: [value[0], value[0]] for name, value in samples.items()}
    marked, plain = {"text": [marks + WORDS], **samples}, {"text": [WORDS], **samples}
    attempts = (plain, samples, twice, marked) if ids else (marked, plain, samples, twice)
    blamed = -1 if ids else 0
    known = {"video_metadata": video(config, loaded, 0)["video_metadata"]}
    # Some classes want what is known of a video and do not ask their part for it; the parts of
    # others take none (TVP's).
    ways = (known, {**known, "return_metadata": True}, {}) if "video" in tokens else ({},)
    every = [{**one, **way} for way in ways for one in attempts]
    return asked(loaded, ids, every, every[: len(attempts)][blamed], **more)


def places(loaded: ProcessorMixin) -> Mapping[str, str]:
    """The arguments of a processor: some take videos in the place of images (InstructBLIP's)."""
    takes = inspect.signature(type(loaded).__call__).parameters
    instead = SAMPLES["video"] not in takes and SAMPLES["image"] in takes
    return {**SAMPLES, "video": SAMPLES["image"]} if instead else SAMPLES


def asked(
    loaded: ProcessorMixin,
    ids: Mapping[str, int],
    attempts: Sequence[Mapping[str, object]],
    blamed: Mapping[str, object],
    **more: object,
) -> dict[str, Tensor]:
    """What a whole processor makes of the first of some arguments that it takes.

    `ids` are the placeholders that there must be: some processors put them in by themselves and
    want none in the text (BLIP-2's). Raises what was raised for the arguments that are `blamed`.
    """
    takes = inspect.signature(type(loaded).__call__).parameters
    more |= {name: value for name, value in ASKED.items() if name in takes}
    more |= typed(loaded)
    if SAMPLES["audio"] in blamed:
        more["sampling_rate"] = sampling_rate(loaded)
    refused = dict[bool, Exception]()
    for arguments in attempts:
        try:
            inputs = dict(loaded(**arguments, **more, return_tensors="pt"))
        except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
            refused[arguments is blamed] = error
            continue
        text = inputs.get("input_ids")
        needed = [number for medium, number in ids.items() if medium != "video" or len(ids) == 1]
        if not needed or (text is not None and all((text == n).any() for n in needed)):
            return inputs
        what = f"{type(loaded).__name__} writes no placeholders"
        refused[arguments is blamed] = ValueError(what)
    raise refused[True]


def typed(loaded: ProcessorMixin) -> dict[str, bool]:
    """What asks a processor for the type of each token: not all make it unless they are asked."""
    return {f"return_{TYPED}": True} if TYPED in getattr(loaded, "model_input_names", ()) else {}


def mark(loaded: ProcessorMixin, medium: str) -> str:
    """What stands for an image, video or sound in a text for this processor; "" if nothing."""
    token, number = (
        getattr(loaded, f"{medium}_token", None),
        getattr(loaded, f"{medium}_token_id", None),
    )
    token = getattr(loaded, f"{medium}_placeholder_token", token)  # what becomes those (Qianfan)
    if token is None and number is not None:
        token = loaded.tokenizer.convert_ids_to_tokens(number)
    return str(getattr(token, "content", token)) if token is not None else ""


def between(config: PretrainedConfig, loaded: ProcessorMixin, medium: str, token: str) -> str:
    """A placeholder between the tokens that a config or a processor names for its start and its
    end, as chat templates write it: some models tell a video's frames from images by them."""
    for name in (medium, "vision"):
        ends = [getattr(config, f"{name}_{end}_token_id", None) for end in ("start", "end")]
        if token and all(isinstance(number, int) for number in ends):
            start, end = loaded.tokenizer.convert_ids_to_tokens(ends)
            return f"{start}{token}{end}"
    said = [getattr(loaded, f"{medium}_{end}_token", None) for end in ("start", "end")]
    return f"{said[0]}{token}{said[1]}" if token and all(said) else token


def sample(
    config: PretrainedConfig, loaded: ProcessorMixin, medium: str, seed: int
) -> list[object]:
    if medium == "image":
        return [features.image(seed)]
    if medium == "video":
        return video(config, loaded, seed)["videos"]
    return [features.sound(sampling_rate(loaded), seed)]


def video(config: PretrainedConfig, loaded: object, seed: int) -> dict[str, list[object]]:
    """A sample video, and what is known of it, as a processor or its part for videos takes both."""
    whole = hasattr(loaded, "tokenizer")  # InstructBLIP's writes places for four frames
    coded = CODED.search(inspect.getsource(type(loaded))) if whole else None
    frames = int(coded[1]) if coded is not None else features.frames(config.to_dict())
    side = filmed_side(config, loaded)
    return {
        "videos": [features.video(seed, frames, side)],
        "video_metadata": [features.film(frames, side)],
    }


def filmed_side(config: PretrainedConfig, loaded: object) -> Pair:
    """Height and width of a sample video: the model's own where nothing resizes it."""
    part = getattr(loaded, "video_processor", loaded)
    whole = getattr(loaded, "videos_kwargs", {})
    if whole.get("do_resize", getattr(part, "do_resize", False)):
        return features.HIGH, features.WIDE
    return Geometry.of(config.to_dict()).side


def sampling_rate(loaded: object) -> int:
    """Samples a second that a sound processor, or that of a whole one, takes."""
    parts = (getattr(loaded, name, None) for name in ATTRIBUTES["audio"])
    return int(getattr(next(filter(None, parts), loaded), "sampling_rate", 16_000))


def images(
    config: PretrainedConfig, processor: BaseImageProcessor, axes: int, seed: int
) -> dict[str, Tensor]:
    """What an image processor makes of the sample image by itself: of as many frames as the config
    has where the model takes videos as pixel_values (VideoMAE)."""
    image = features.image(seed)
    frames = find(config.to_dict(), ("num_frames",), "image")
    film = frames if isinstance(frames, int) and axes == 5 else 0
    several = [image] * (film or 1)
    takes = inspect.signature(type(processor).preprocess).parameters
    prompts = {
        name: [made] for name, made in zip(PROMPTS, (image, image.convert("L")), strict=True)
    }
    prompts = {name: value for name, value in prompts.items() if name in takes}
    try:
        made = processor([several] if film else several, **prompts, return_tensors="pt")
    except ValueError:  # some want two, to compare
        made = processor([image, image], return_tensors="pt")
    if not isinstance(made, Mapping):  # of IDEFICS, whose processor adds the axis of the texts
        return {"pixel_values": made[None]}
    if film and made["pixel_values"].dim() == 4:
        return {**made, "pixel_values": made["pixel_values"][None]}  # frames of one video
    return dict(made)


def placeholder_id(config: PretrainedConfig, medium: str) -> int | None:
    """The id that a config, or a sub-config, has for the placeholder of images, videos, sounds."""
    names = (f"{medium}_token_id", f"{medium}_token_index")
    value = find(config.to_dict(), names, "audio" if medium == "audio" else "image")
    return value if isinstance(value, int) else None


def spoken_from(config: PretrainedConfig) -> int | None:
    """The token that a voice begins with, behind the text that is to be read aloud; None where a
    config names none."""
    start = getattr(config, "audio_bos_token_id", None)
    return start if isinstance(start, int) else None


def measured(model: PreTrainedModel, batch: Batch, rows: int) -> dict[str, Tensor]:
    """Of a batch, what nobody makes of a text or a file and forward cannot do without: a robot's
    state, with the actions that follow it."""
    facts, draw = Facts(model), Draw(0, model.dtype)
    senses = [SENSES[name] for name in facts.required() if name in SENSES]
    told = {
        name
        for sense in senses
        if sense.modality == "trajectory" and sense.candidates is not None
        for name in next(sense.candidates(facts, draw, sense.argument))
    }
    return {
        name: value[:1].expand(rows, *value.shape[1:])
        for name, value in batch.items()
        if name in told
    }


def decoder_part(config: PretrainedConfig) -> PretrainedConfig:
    """The config of the text that a model writes."""
    try:
        return config.get_text_config()
    except ValueError:  # of two, one for what it reads
        return config.get_text_config(decoder=True)


def complete(
    model: PreTrainedModel, inputs: Batch, batch: Batch, rows: int = 1
) -> dict[str, Tensor]:
    """The inputs that forward takes, in the model's dtype, with a decoder's start where it has one:
    of so many rows, for as many codebooks as there are in a batch; silence where it speaks.

    (Sizes for putting predictions back into the image are for the processor, not for the model.)
    """
    import torch

    facts = Facts(model)
    takes = {*facts.takes, *beside.passed(facts)}
    takes |= {beside.MASK} if beside.masked_inside(facts) else {*()}
    given = {name: value for name, value in features.cast(model, inputs).items() if name in takes}
    given.pop("labels", None)  # are for training; some are of nothing but text that does not count
    begun = {"decoder_input_ids", "decoder_inputs_embeds"} & given.keys()
    if "decoder_input_ids" in takes and not begun:
        config = model.config
        start = getattr(config, "decoder_start_token_id", None)
        if start is None:  # speech recognizers with a transducer have no such token
            start = getattr(decoder_part(config), "bos_token_id", None)
        _, *axes = batch["decoder_input_ids"].shape if "decoder_input_ids" in batch else (1, 2)
        # A row of each codebook (MusicGen), where they have no axis of their own.
        books = getattr(decoder_part(config), "num_codebooks", None) if len(axes) == 1 else None
        given["decoder_input_ids"] = torch.full((rows * (books or 1), 2, *axes[1:]), start or 0)
    if SPOKEN in takes - given.keys():
        bands = facts.integer("num_mel_bins", default=80)
        given[SPOKEN] = torch.zeros((rows, 2, bands), dtype=model.dtype)
    return given
