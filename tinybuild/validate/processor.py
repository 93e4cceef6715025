"""Checks of a processor: what it makes of an image, a sound and a text is what the model takes."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tinybuild.ids import PROCESSORS
from tinybuild.processor import features, parts, read
from tinybuild.validate.check import Check, Subject
from tinybuild.validate.inputs import tensors

KINDS = ("image", "video", "audio")
ATTRIBUTES = {
    "image": ("image_processor",),
    "video": ("video_processor",),
    "audio": ("feature_extractor", "audio_processor"),
}
WORDS = "a cat"


@dataclass(frozen=True, kw_only=True)
class Fed:
    """What a processor made of the samples. `note` says what could not be tried, and why."""

    inputs: Mapping[str, Any]
    kinds: tuple[str, ...]
    ids: Mapping[str, int]
    note: str = ""


def processor_feeds_model(subject: Subject) -> Check | None:
    """AutoProcessor's output for an image, a second of sound and a text goes straight into the
    model, and there are as many placeholder tokens as the model makes features."""
    import torch

    if not any((subject.folder / name).is_file() for name in PROCESSORS):
        return None
    fed = feed(subject)
    if fed is None:
        return None
    model = subject.model
    with torch.no_grad():
        made = tensors(model(**complete(model, fed.inputs)))
    bad = [name for name, tensor in made.items() if not tensor.isfinite().all()]
    told, wrong = list[str](), list[str]()
    for kind in fed.kinds:
        found = features.rows(model, kind, fed.inputs)
        if found is None or kind not in fed.ids:
            told.append(kind)
            continue
        count = int((fed.inputs["input_ids"] == fed.ids[kind]).sum())
        told.append(f"{kind}: {count} placeholders, {found} features")
        if count != found:
            wrong.append(kind)
    if bad:
        told.append(f"not finite: {', '.join(bad)}")
    return Check(
        name="processor_feeds_model",
        ok=not wrong and not bad and bool(made),
        measured="; ".join(told) or "text",
        wanted="inputs that the model takes, a placeholder for each feature",
        note=fed.note,
    )


def processor_tokens(subject: Subject) -> Check | None:
    """Each token that the processor names has one id, the same in tokenizer and config, and the
    processor adds none that the embedding has no row for."""
    if "tokenizer" not in subject.facts:
        return None
    if not any((subject.folder / name).is_file() for name in PROCESSORS):
        return None
    whole, _ = parts.load(subject.folder, whole=True)
    if not hasattr(whole, "tokenizer"):
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
        own = getattr(whole, f"{role}_token_id", number)
        if number is None or (number == unknown and token != whole.tokenizer.unk_token):
            wrong.append(f"{token!r} ({role}_token) is no token")
        elif own not in (number, None):
            wrong.append(f"{role}_token {token!r} is {number}, {role}_token_id {own}")
    asked = {kind: parts.placeholder(whole, kind) for kind in KINDS}
    for kind, number in asked.items():
        meant = placeholder_id(config, kind)
        if number is not None and meant is not None and number != meant:
            wrong.append(f"{kind} placeholders are {number}, the config has {meant}")
    before, now = len(subject.tokenizer), len(whole.tokenizer)
    if now > before:
        more = sorted(set(whole.tokenizer.get_vocab()) - set(subject.tokenizer.get_vocab()))
        wrong.append(f"the processor adds {now - before} tokens: {', '.join(more[:3])}")
    return Check(
        name="processor_tokens",
        ok=not wrong,
        measured="; ".join(wrong) or f"{len(named)} tokens agree",
        wanted="the same ids in processor, tokenizer and config",
        note="keep them in the vocabulary: tokenizer.keep" if wrong else "",
    )


def feed(subject: Subject) -> Fed | None:
    """Samples through the bundle's processor; None where it has nothing that can be loaded here.

    Without a tokenizer, and where a part of the processor cannot be loaded, the other parts are
    used by themselves, and the note says so.
    """
    whole, note = parts.load(subject.folder, whole="tokenizer" in subject.facts)
    if whole is not None:
        return _whole(subject, whole)
    raise NotImplementedError


def _whole(subject: Subject, whole: Any) -> Fed:
    kinds = tuple(
        kind
        for kind in KINDS
        if any(getattr(whole, name, None) is not None for name in ATTRIBUTES[kind])
    )
    return Fed(inputs={}, kinds=kinds, ids={})


def placeholder_id(config: Any, kind: str) -> int | None:
    """The id that a config has for the placeholder of images, videos or sounds."""
    for name in (f"{kind}_token_id", f"{kind}_token_index"):
        value = getattr(config, name, None)
        if isinstance(value, int):
            return value
    return None


def complete(model: Any, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs that forward takes, in the model's dtype, with a decoder's start where it has one.

    (Sizes for putting predictions back into the image are for the processor, not for the model.)
    """
    import torch

    takes = inspect.signature(model.forward).parameters
    found = {
        name: value.to(model.dtype)
        if isinstance(value, torch.Tensor) and value.is_floating_point()
        else value
        for name, value in inputs.items()
        if name in takes
    }
    begun = {"decoder_input_ids", "labels", "decoder_inputs_embeds"} & found.keys()
    if "decoder_input_ids" in takes and not begun:
        config = model.config
        start = getattr(config, "decoder_start_token_id", None)
        start = config.get_text_config().bos_token_id if start is None else start
        found["decoder_input_ids"] = torch.full((1, 2), start or 0)
    return found
