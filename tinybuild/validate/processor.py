"""Checks of a processor: what it makes of an image, a sound and a text is what the model takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tinybuild.errors import first_line
from tinybuild.feeding.inputs import tensors
from tinybuild.feeding.inputs.facts import Facts
from tinybuild.feeding.processor import features, parts
from tinybuild.portable.arithmetic import products
from tinybuild.validate import samples
from tinybuild.validate.check import Result, check
from tinybuild.validate.subject import Batch, NotTried, Subject

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel, ProcessorMixin


@check("model", "processor")
def processor_feeds_model(subject: Subject) -> Result | None:
    """AutoProcessor's output for an image, a second of sound and a text goes straight into the
    model, and there are as many placeholder tokens as the model makes features."""
    import torch

    try:
        fed = feed(subject)
    except ImportError as error:  # of a package that a class asks for when it is called
        raise NotTried(first_line(error)) from None
    if fed is None:
        return None
    model, made = subject.model, dict[str, "Tensor"]()
    told, wrong = list[str](), list[str]()
    given = features.cast(model, fed.inputs)
    with products(model.dtype):
        made_of = {
            medium: features.rows(model, medium, given) if medium in fed.ids else None
            for medium in fed.media
        }
    text = fed.inputs.get("input_ids")
    counts = dict[str, int]()
    if fed.whole and text is not None:
        counts = {medium: _places(model, text, number) for medium, number in fed.ids.items()}
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
        with torch.no_grad(), products(model.dtype):
            made = _made(subject, fed)
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
    asked = {medium: parts.placeholder(whole, medium) for medium in samples.MEDIA}
    for medium, number in asked.items():
        meant = samples.placeholder_id(config, medium)
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


def _places(model: PreTrainedModel, text: Tensor, number: int) -> int:
    """How many placeholders stand in a text. One behind the token that opens a document opens its
    page, and holds no place (NeoMME's)."""
    opens = getattr(model.config, "document_token_id", None)
    first = (text[:, 1:] == number) & (text[:, :-1] == opens) if opens is not None else text[:, :0]
    return int((text == number).sum() - first.sum())


def _made(subject: Subject, fed: samples.Fed) -> dict[str, Tensor]:
    """What the model makes of samples: of one medium after the other where it takes no two at a
    time (Molmo 2)."""
    model = subject.model
    beside = samples.measured(model, subject.batch, 1)
    try:
        return tensors(model(**samples.complete(model, {**beside, **fed.inputs}, subject.batch)))
    except ValueError as error:
        if not samples.one_at_a_time(error):
            raise
    made = dict[str, "Tensor"]()
    loaded, _ = parts.load(subject.folder, whole=True)
    for medium in fed.media:
        alone = samples.whole(model, loaded, subject.seed, (medium,))
        given = samples.complete(model, alone.inputs, subject.batch)
        made |= {f"{medium}.{name}": one for name, one in tensors(model(**given)).items()}
    return made


def feed(subject: Subject) -> samples.Fed | None:
    """Samples through the bundle's processor; None where it is of text alone. Raises NotTried, and
    ImportError of a package that a class asks for when it is called.

    Without a tokenizer, and where a part of the processor cannot be loaded, the other parts are
    used by themselves. What they make goes through the model as far as it needs no placeholders.
    """
    loaded, note = parts.load(subject.folder, whole="tokenizer" in subject.facts)
    if loaded is None:
        raise NotTried(note)
    media = samples.senses(loaded, subject.model.config)
    if not media:
        return None
    if hasattr(loaded, "tokenizer"):
        return samples.whole(subject.model, loaded, subject.seed)
    ids = samples.placeholders(subject.model.config, media)
    return samples.Fed(inputs=_parts(subject, loaded), media=media, ids=ids, whole=False, note=note)


def _parts(subject: Subject, loaded: ProcessorMixin) -> dict[str, Tensor]:
    """Samples through each part, and a text's ids where the model takes some beside them."""
    made, seed = dict[str, "Tensor"](), subject.seed
    if hasattr(loaded, "image_processor"):
        made |= samples.images(subject.model.config, loaded.image_processor, _axes(subject), seed)
    if hasattr(loaded, "video_processor"):
        film = samples.video(subject.model.config, loaded, seed)
        made |= loaded.video_processor(**film, return_tensors="pt")
    if hasattr(loaded, "feature_extractor"):
        rate = samples.sampling_rate(loaded)
        sounds = [features.sound(rate, seed)]
        made |= loaded.feature_extractor(sounds, sampling_rate=rate, return_tensors="pt")
    facts = Facts(subject.model)
    placed = bool(samples.placeholders(subject.model.config))
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


def _axes(subject: Subject) -> int:
    """How many the pixels have that the model is given; 0 where no rule makes a batch."""
    pixels = subject.batch.get("pixel_values") if subject.no_batch is None else None
    return int(pixels.dim()) if pixels is not None else 0
