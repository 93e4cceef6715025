"""Checks of a processor: what it makes of an image, a sound and a text is what the model takes."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tinybuild.feeding.inputs import tensors
from tinybuild.feeding.inputs.facts import Facts
from tinybuild.feeding.processor import features, parts
from tinybuild.feeding.processor.geometry import find
from tinybuild.validate.check import Result, check
from tinybuild.validate.subject import Batch, NotTried, Subject

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import BaseImageProcessor, PretrainedConfig, PreTrainedModel, ProcessorMixin

MEDIA = ("image", "video", "audio")
ATTRIBUTES = {
    "image": ("image_processor",),
    "video": ("video_processor",),
    "audio": ("feature_extractor", "audio_processor"),
}
SAMPLES = {"image": "images", "video": "videos", "audio": "audio"}  # arguments of a processor
WORDS = "a cat"
ASKED = {"language": "en"}  # arguments that a processor may want besides


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


@check("model", "processor")
def processor_feeds_model(subject: Subject) -> Result | None:
    """AutoProcessor's output for an image, a second of sound and a text goes straight into the
    model, and there are as many placeholder tokens as the model makes features."""
    import torch

    try:
        fed = feed(subject)
    except ImportError as error:  # of a package that a class asks for when it is called
        raise NotTried(str(error).strip().partition("\n")[0]) from None
    if fed is None:
        return None
    model, made = subject.model, dict[str, "Tensor"]()
    told, wrong = list[str](), list[str]()
    given = features.cast(model, fed.inputs)
    made_of = {
        medium: features.rows(model, medium, given) if medium in fed.ids else None
        for medium in fed.media
    }
    text = fed.inputs.get("input_ids")
    counts = dict[str, int]()
    if fed.whole and text is not None:
        counts = {medium: int((text == number).sum()) for medium, number in fed.ids.items()}
    for medium, rows in made_of.items():
        if rows is None:
            told.append(medium)
        elif not fed.whole:
            told.append(f"{medium}: {rows} features")
        else:
            told.append(f"{medium}: {counts[medium]} placeholders, {rows} features")
            if counts[medium] != rows:
                wrong.append(medium)
    if fed.whole or not fed.ids:
        with torch.no_grad():
            made = tensors(model(**complete(model, fed.inputs, subject.batch)))
    if not fed.whole and not made and not any(made_of.values()):
        raise NotTried(f"{fed.note}; it makes features with a text only")
    bad = [name for name, tensor in made.items() if tensor.isnan().any()]  # -inf is a mask
    if bad:
        told.append(f"not a number: {', '.join(bad)}")
    return Result.of(
        not wrong and not bad and (bool(made) or not fed.whole),
        measured="; ".join(told) or "text",
        wanted="inputs that the model takes, a placeholder for each feature",
        values={
            **{f"{medium}_features": n or 0 for medium, n in made_of.items()},
            **{f"{medium}_placeholders": n for medium, n in counts.items()},
            "not_finite": len(bad),
        },
        note=fed.note,
    )


@check("model", "tokenizer", "processor")
def processor_tokens(subject: Subject) -> Result | None:
    """Each token that the processor names has one id, the same in tokenizer and config, and the
    processor adds none that the embedding has no row for."""
    whole, why = parts.load(subject.folder, whole=True)
    if not hasattr(whole, "tokenizer"):
        if why:
            raise NotTried(why)
        return None
    config = subject.model.config
    named = {
        name.removesuffix("_token"): str(getattr(value, "content", value))
        for name, value in vars(whole).items()
        if name.endswith("_token") and isinstance(getattr(value, "content", value), str)
    }
    wrong, unknown = [], whole.tokenizer.unk_token_id
    for role, token in sorted(named.items()):
        number = whole.tokenizer.convert_tokens_to_ids(token)
        if number is None or (number == unknown and token != whole.tokenizer.unk_token):
            wrong.append(f"{token!r} ({role}_token) is not a token")
    asked = {medium: parts.placeholder(whole, medium) for medium in MEDIA}
    for medium, number in asked.items():
        meant = placeholder_id(config, medium)
        if number is not None and meant is not None and number != meant:
            wrong.append(f"{medium} placeholders are {number}, the config has {meant}")
    before, now = len(subject.tokenizer), len(whole.tokenizer)
    if now > before:
        more = sorted(set(whole.tokenizer.get_vocab()) - set(subject.tokenizer.get_vocab()))
        wrong.append(f"the processor adds {now - before} tokens: {', '.join(more[:3])}")
    return Result.of(
        not wrong,
        measured="; ".join(wrong) or f"{len(named)} tokens agree",
        wanted="the same ids in processor, tokenizer and config",
        values={"tokens": len(named), "faults": len(wrong)},
        note="keep them in the vocabulary: tokenizer.keep" if wrong else "",
    )


def feed(subject: Subject) -> Fed | None:
    """Samples through the bundle's processor; None where it is of text alone. Raises NotTried, and
    ImportError of a package that a class asks for when it is called.

    Without a tokenizer, and where a part of the processor cannot be loaded, the other parts are
    used by themselves. What they make goes through the model as far as it needs no placeholders.
    """
    loaded, note = parts.load(subject.folder, whole="tokenizer" in subject.facts)
    if loaded is None:
        raise NotTried(note)
    media = tuple(
        medium
        for medium in MEDIA
        if any(getattr(loaded, name, None) is not None for name in ATTRIBUTES[medium])
    )
    ids = {
        medium: number
        for medium in media
        if (number := placeholder_id(subject.model.config, medium)) is not None
    }
    if not media:
        return None
    if not hasattr(loaded, "tokenizer"):
        return Fed(inputs=_parts(subject, loaded), media=media, ids=ids, whole=False, note=note)
    tokens = {medium: mark(loaded, medium) for medium in media}
    ids = {medium: number for medium, number in ids.items() if tokens[medium]}
    inputs = _call(subject, loaded, media, tokens, ids)
    if "image" in media and "video" in ids and not (inputs["input_ids"] == ids["video"]).any():
        # The frames of a video stand in the text as images (GLM-4V): never both at once.
        media = tuple(medium for medium in media if medium != "video")
        ids = {medium: ids[medium] for medium in media if medium in ids}
        inputs = _call(subject, loaded, media, tokens, ids)
        note = "a video is not tried beside an image"
    return Fed(inputs=inputs, media=media, ids=ids, note=note)


def _call(
    subject: Subject,
    loaded: ProcessorMixin,
    media: tuple[str, ...],
    tokens: Mapping[str, str],
    ids: Mapping[str, int],
) -> dict[str, Tensor]:
    """What a processor makes of the samples and a text with marks where they belong.

    Some take images or text (ColPali's), some two images (LightGlue's).
    """
    marks = "".join(
        between(subject.model.config, loaded, medium, tokens[medium]) for medium in media
    )
    samples = {SAMPLES[medium]: _sample(loaded, medium, subject.seed) for medium in media}
    twice = {name: [value[0], value[0]] for name, value in samples.items()}
    marked, plain = {"text": [marks + WORDS], **samples}, {"text": [WORDS], **samples}
    attempts = (plain, samples, twice, marked) if ids else (marked, plain, samples, twice)
    more = {"video_metadata": [features.film()]} if "video" in media else {}
    return asked(loaded, ids, attempts, marked, **more)


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


def mark(loaded: ProcessorMixin, medium: str) -> str:
    """What stands for an image, video or sound in a text for this processor; "" if nothing."""
    token, number = (
        getattr(loaded, f"{medium}_token", None),
        getattr(loaded, f"{medium}_token_id", None),
    )
    if token is None and number is not None:
        token = loaded.tokenizer.convert_ids_to_tokens(number)
    return str(getattr(token, "content", token)) if token is not None else ""


def between(config: PretrainedConfig, loaded: ProcessorMixin, medium: str, token: str) -> str:
    """A placeholder between the tokens that a config names for its start and its end, as chat
    templates write it: some models tell a video's frames from images by them."""
    for name in (medium, "vision"):
        ends = [getattr(config, f"{name}_{end}_token_id", None) for end in ("start", "end")]
        if token and all(isinstance(number, int) for number in ends):
            start, end = loaded.tokenizer.convert_ids_to_tokens(ends)
            return f"{start}{token}{end}"
    return token


def _sample(loaded: ProcessorMixin, medium: str, seed: int) -> list[object]:
    if medium == "image":
        return [features.image(seed)]
    if medium == "video":
        return [features.video(seed)]
    return [features.sound(sampling_rate(loaded), seed)]


def sampling_rate(loaded: ProcessorMixin) -> int:
    """Samples a second that the sound processor takes."""
    part = getattr(loaded, "feature_extractor", None) or getattr(loaded, "audio_processor", None)
    return int(getattr(part, "sampling_rate", 16_000))


def _parts(subject: Subject, loaded: ProcessorMixin) -> dict[str, Tensor]:
    """Samples through each part, and a text's ids where the model takes some beside them."""
    made, seed = dict[str, "Tensor"](), subject.seed
    if hasattr(loaded, "image_processor"):
        made |= _images(subject, loaded.image_processor)
    if hasattr(loaded, "video_processor"):
        film = {"videos": [features.video(seed)], "video_metadata": [features.film()]}
        made |= loaded.video_processor(**film, return_tensors="pt")
    if hasattr(loaded, "feature_extractor"):
        rate = sampling_rate(loaded)
        sounds = [features.sound(rate, seed)]
        made |= loaded.feature_extractor(sounds, sampling_rate=rate, return_tensors="pt")
    facts = Facts(subject.model)
    placed = any(placeholder_id(subject.model.config, medium) is not None for medium in MEDIA)
    made = {name: value for name, value in made.items() if not _words(value)}
    text, needs = "input_ids" in facts.takes and not placed, {*facts.required()}
    if text or not needs <= made.keys():
        # The text, and what is told of images beside it; else what the model cannot be without and
        # no image processor makes (a prompt's images, names of classes to find).
        if text:
            made.pop("attention_mask", None)  # of the sound; a text has its own
        for name, value in subject.batch.items():
            if text or name in needs:
                made.setdefault(name, value[:1] if hasattr(value, "shape") else value)
    if text and hasattr(loaded, "feature_extractor"):
        made |= _beside(subject.model, subject.batch, made)
    return made


def _beside(model: PreTrainedModel, batch: Batch, made: Batch) -> dict[str, Tensor]:
    """A text as long as the sound, where the model adds one to the other token by token (Voxtral's
    realtime models): where its own inputs have as many tokens as features."""
    names = [name for name in ("input_ids", "attention_mask") if name in made]
    tokens = batch["input_ids"].numel() if "input_ids" in batch else 0
    if not tokens or features.rows(model, "audio", features.cast(model, batch)) != tokens:
        return {}
    count = features.rows(model, "audio", features.cast(model, made)) or 0
    times = -(-count // made["input_ids"].shape[1])
    return {name: made[name].repeat(1, times)[:, :count] for name in names}


def _words(value: object) -> bool:
    """Whether it is a list of texts, which a whole processor gives to its tokenizer."""
    return isinstance(value, list) and any(isinstance(item, str) for item in value)


def _images(subject: Subject, processor: BaseImageProcessor) -> dict[str, Tensor]:
    """What an image processor makes of the sample image by itself: of as many frames as the config
    has where the model takes videos as pixel_values (VideoMAE)."""
    image = features.image(subject.seed)
    frames = find(subject.model.config.to_dict(), ("num_frames",), "image")
    film = frames if isinstance(frames, int) and _axes(subject) == 5 else 0
    images = [image] * (film or 1)
    try:
        made = processor([images] if film else images, return_tensors="pt")
    except ValueError:  # some want two, to compare
        made = processor([image, image], return_tensors="pt")
    if not isinstance(made, Mapping):  # of IDEFICS, whose processor adds the axis of the texts
        return {"pixel_values": made[None]}
    if film and made["pixel_values"].dim() == 4:
        return {**made, "pixel_values": made["pixel_values"][None]}  # frames of one video
    return dict(made)


def _axes(subject: Subject) -> int:
    """How many the pixels have that the model is given."""
    pixels = subject.batch.get("pixel_values")
    return int(pixels.dim()) if pixels is not None else 0


def placeholder_id(config: PretrainedConfig, medium: str) -> int | None:
    """The id that a config, or a sub-config, has for the placeholder of images, videos, sounds."""
    names = (f"{medium}_token_id", f"{medium}_token_index")
    value = find(config.to_dict(), names, "audio" if medium == "audio" else "image")
    return value if isinstance(value, int) else None


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
    of so many rows, for as many codebooks as there are in a batch.

    (Sizes for putting predictions back into the image are for the processor, not for the model.)
    """
    import torch

    takes = Facts(model).takes
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
    return given
