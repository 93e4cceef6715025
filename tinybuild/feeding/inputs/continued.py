"""What a model that generates makes of two prompts, and whether that depends on them."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tinybuild.feeding import Given, Model, Tensor
from tinybuild.feeding.inputs import beside, text
from tinybuild.feeding.inputs.facts import Facts

NEW_TOKENS = 8
MARGIN = 0.1  # logits between the first token and the second, below which rounding decides


@dataclass(frozen=True, kw_only=True)
class Continued:
    """Greedy continuations of some batches: for each the new tokens, and the logits (steps, rows,
    ids). `asked` is what `generate` was given for each. `error` is what the class raised for every
    way of asking; None also where it was not asked. No parts and no error: it generates nothing
    from token ids."""

    parts: tuple[tuple[Tensor, Tensor], ...] = ()
    asked: tuple[Given, ...] = ()
    error: Exception | None = None


def continued(model: Model, batches: Sequence[Given], seed: int) -> Continued:
    """Have a model continue the prompts of some batches of forward's arguments."""
    if not model.can_generate() or not _begins(model, batches[0]):
        return Continued()
    if staged(model):
        return Continued()
    parts, ways = [], []
    for given in batches:
        asked, made = _first(model, given, seed)
        if isinstance(made, Exception):
            return Continued(error=made)
        part = _part(made, asked)
        if part is None:
            return Continued()
        parts.append(part)
        ways.append(asked)
    return Continued(parts=tuple(parts), asked=tuple(ways))


def staged(model: Model) -> bool:
    """Whether it is a stage of several, which only all together can be told what to make: its
    `generate` wants a generation config of that stage's (Bark's)."""
    return any(
        n.endswith("_generation_config") for n in inspect.signature(model.generate).parameters
    )


def _begins(model: Model, given: Given) -> bool:
    """Whether there is something to go on from: a text, or what an encoder reads instead of one."""
    return "input_ids" in given or (
        model.config.is_encoder_decoder
        and model.main_input_name in given
        and "decoder_input_ids" in given
    )


def _first(model: Model, given: Given, seed: int) -> tuple[Given, Any]:
    """The first way to ask that a model takes, and what it generates, or its first error."""
    first: Exception | None = None
    for asked in _ways(model, given):
        asked = {"min_new_tokens": NEW_TOKENS, **asked}
        try:
            return asked, _generate(model, asked, seed)
        except ImportError as error:
            return {}, error
        except Exception as error:  # noqa: BLE001 - another way may be the class's own
            first = first or error
    return {}, first


def _part(made: Any, asked: Given) -> tuple[Tensor, Tensor] | None:
    """The new tokens and their logits; None where a class makes something else."""
    import torch

    if getattr(made, "sequences", None) is None or not getattr(made, "logits", None):
        return None  # a class with a way of its own to say what it made
    if any(isinstance(v, torch.Tensor) and v.is_floating_point() for v in made.values()):
        return None  # numbers, sound or images; the ids only hold their places
    # Some classes give what they were given back, some do not: the last ones are new.
    new = made.sequences[..., -len(made.logits) :]
    if made.sequences.dim() == 3 and "decoder_input_ids" in asked:  # (rows, steps, books)
        new = made.sequences[:, -len(made.logits) :].flatten(1)
    spoken = made.get("audio_sequences")
    if spoken is not None and len(spoken):  # codes; the ids only hold their places
        new = torch.nn.utils.rnn.pad_sequence([row.flatten() for row in spoken], batch_first=True)
    return new, torch.stack(tuple(made.logits))


def _generate(model: Model, asked: Given, seed: int) -> Any:
    import torch

    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return model.generate(
            **asked,
            max_new_tokens=NEW_TOKENS,
            do_sample=False,
            num_beams=1,
            return_dict_in_generate=True,
            output_logits=True,
        )


def plain(model: Model) -> dict[str, bool]:
    """What tells `generate` to make tokens alone, where it makes more of them by default: speech,
    for which Seamless wants a language as well."""
    takes = inspect.signature(model.generate).parameters
    return {n: False for n in takes if n.startswith("generate_") and takes[n].default is True}


def _ways(model: Model, given: Given) -> Iterator[dict[str, Any]]:
    """Arguments for `generate`, the usual ones first; then what some classes insist on."""
    import torch

    asked = {k: v for k, v in given.items() if "labels" not in k and not k.startswith("decoder_")}
    asked |= plain(model)
    ids = asked.get("input_ids")
    if ids is None:
        yield asked
        yield {**asked, "min_new_tokens": None}
        return
    types = asked.get("token_type_ids")
    if types is not None and not types.any():
        # They say nothing, do not grow with the text, and in the first GPTs they are tokens, whose
        # embedding were added everywhere: all prompts would go on with that one.
        del asked["token_type_ids"]
    if not model.config.is_encoder_decoder and ids.shape[-1] > 1:
        # An eos at the end: all prompts would end alike, in what they are to go on from.
        ids = ids.clone()
        ids[..., -1] = ids[..., -2]
        asked["input_ids"] = ids
    facts = Facts(model)
    if beside.MASK in facts.takes or beside.masked_inside(facts):
        asked.setdefault(beside.MASK, torch.ones_like(ids))
    yield asked
    places = _places(model)
    if places:  # a random model may say that an image comes, and have none to put there
        yield {**asked, "suppress_tokens": places}
    yield {**asked, "min_new_tokens": None}  # logits of codes: no eos that could be kept back
    if "decoder_input_ids" in given and "input_values" in asked:
        # A sound that the decoder goes on from, or else from its own codes: it may begin anew.
        yield {k: v for k, v in asked.items() if k not in ("input_values", "padding_mask")}
    begun = given.get("decoder_input_ids")
    if begun is not None and begun.dim() == 3:  # codes, which its processor begins (Dia)
        yield {**asked, "decoder_input_ids": begun, "min_new_tokens": None}
    sounds = beside.longer(asked, 1, 2)
    if sounds:  # as many tokens as are heard, and no more: the prompt's, and the new ones
        yield asked | sounds
    codes = [name for name in asked if name.startswith("audio_input_ids")]
    if codes:  # which are of what was said before: the text alone is to be read aloud
        aloud = {name: value for name, value in asked.items() if name not in codes}
        yield {**aloud, "min_new_tokens": None}
    if ids.shape[-1] > 2 * NEW_TOKENS:  # all that the model has places for (Reformer's axial ones)
        yield {name: _shorter(value, ids) for name, value in asked.items()}
    yield from _aloud(model, asked)


def _aloud(model: Model, asked: Given) -> Iterator[dict[str, Any]]:
    """What begins speech: its first token, or a sound in place of the codes that forward takes."""
    import torch

    ids = asked["input_ids"]
    start = getattr(model.config, "audio_bos_token_id", None)
    if isinstance(start, int) and ids.dim() == 2:  # speech, which begins where the text ends
        ids = ids.clone()
        ids[..., -1] = start
        yield {**asked, "input_ids": ids}
        yield {**asked, "input_ids": ids, "min_new_tokens": None}
    codec = getattr(getattr(model, "codec_model", None), "config", None)
    frame = getattr(codec, "frame_size", None)
    if isinstance(frame, int) and not {*beside.SOUNDS} & {*asked}:
        drawn = torch.Generator().manual_seed(int(ids.sum()))
        wave = torch.randn(ids.shape[0], 1, frame * 2 * NEW_TOKENS, generator=drawn)
        yield {"input_values": wave.to(next(model.codec_model.parameters()).dtype)}


def _shorter(value: Any, ids: Tensor) -> Any:
    """A tensor by rows and tokens without its last ones, for which new ones have room then."""
    return value[:, :-NEW_TOKENS] if getattr(value, "shape", None) == ids.shape else value


def _places(model: Model) -> list[int]:
    """The ids that stand for the features of an image, a video or a sound, sorted."""
    tokens = {text.placeholder(Facts(model), medium) for medium in text.MEDIA}
    return sorted(token for token in tokens if token is not None)


def verdict(made: Continued, seen: Tensor | None = None) -> tuple[int, int, float]:
    """How many different continuations there are, of how many prompts; and the median over all
    places of the largest logit less the next. `seen` are a forward's logits (rows, places, ids):
    a loop is few different steps."""
    import torch

    texts = [tuple(row) for tokens, _ in made.parts for row in tokens.flatten(0, -2).tolist()]
    drawn = [logits.flatten(0, -2) for _, logits in made.parts]
    if seen is not None and seen.shape[-1] == drawn[0].shape[-1]:
        drawn.append(seen.flatten(0, -2))
    top = torch.cat(drawn).float().topk(2, -1).values
    return len(set(texts)), len(texts), float((top[:, 0] - top[:, 1]).median())
