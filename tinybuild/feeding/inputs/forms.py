"""How token ids are laid out around the other arguments: forms, and the arguments of one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tinybuild.feeding import Tensor
from tinybuild.feeding.inputs import beside, others, text, vision
from tinybuild.feeding.inputs.candidates import Option
from tinybuild.feeding.inputs.draw import Draw
from tinybuild.feeding.inputs.facts import Facts
from tinybuild.feeding.inputs.senses import Sense, senses
from tinybuild.keys import NAMES

MOST_AXIAL = 4096  # places of a grid of positions
LENGTHS = (16, 32, 64, 128, 4)


@dataclass(frozen=True, kw_only=True)
class Form:
    """How token ids are laid out: their number, and the axes beside rows and tokens."""

    length: int = text.LENGTH
    choices: bool = False  # (rows, 2, tokens)
    books: int = 0  # (rows, tokens, books): a token of each codebook
    decoder_books: int = 0  # the same for the decoder
    flat: bool = False  # (rows * books, tokens) for the decoder
    instead: bool = False  # the image's placeholder stands for the video's
    attended: bool = False  # with states of an encoder to attend to
    cache: bool | None = None  # said to forward
    single: bool = False  # one row
    decoder: bool = False  # only the decoder reads text: the encoder reads something else instead
    heard: bool = False  # the decoder goes on from a sound, not from ids
    passed: bool = False  # with what parts of the model want and forward only passes on


def forms(facts: Facts, taken: Mapping[str, Sense]) -> Iterator[Form]:
    """The forms to try for a model that takes these modalities; the plain one goes first, or what
    is surely right."""
    speaks = "decoder_input_ids" in facts.takes
    if set(taken) == {"audio"} and not speaks and {"attention_mask", "use_cache"} <= {*facts.takes}:
        yield Form(cache=False)  # with a cache, a mask of ones is not looked at: any length goes
    sides = facts.find("axial_pos_shape")
    if isinstance(sides, list | tuple) and math.prod(sides) <= MOST_AXIAL:
        yield Form(length=math.prod(sides))  # of any other length, it does not learn
    yield Form()
    if beside.passed(facts):
        yield Form(passed=True)
    if "text" in taken or speaks:
        yield from _with_text(facts, taken)
    if "encoder_hidden_states" in facts.takes:
        yield Form(attended=True)
    if "use_cache" in facts.takes:
        yield Form(cache=True)
    if "text" in taken or speaks:
        if "use_cache" in facts.takes:
            yield Form(cache=False)
        for length in (*LENGTHS, *facts.numbers("max_text_len")):
            yield Form(length=length)
    yield Form(single=True)


def _with_text(facts: Facts, taken: Mapping[str, Sense]) -> Iterator[Form]:
    """Other axes for the ids, and other readers."""
    if "video" in taken and "image" in senses(facts):
        yield Form(instead=True)
    if type(facts.model).__name__.endswith("ForMultipleChoice"):
        yield Form(choices=True)
    if "decoder_input_ids" in facts.takes and len(taken) > 1:
        yield Form(decoder=True)
        if {"text", "audio"} <= set(taken):
            yield Form(heard=True)
    for books in dict.fromkeys(facts.numbers(*NAMES["codebooks"])):
        for count in (books, books + 1):
            yield Form(books=count)
            yield Form(decoder_books=count)
        yield Form(decoder_books=books, flat=True)


def arguments(facts: Facts, draw: Draw, options: Sequence[Option], form: Form) -> dict[str, Tensor]:
    """The values of all options, token ids, and what follows from them."""
    values = {name: value for option in options for name, value in option.values.items()}
    given: dict[str, Any] = {}
    if "input_ids" in facts.takes and not form.decoder:
        given |= _read(facts, draw, options, form)
    for name, rule in beside.ALONE.items():
        if name in facts.takes and name not in values:
            given[name] = rule(facts, draw, given)
    if form.attended:
        given["encoder_hidden_states"] = others.encoded(facts, draw)
    if form.passed:
        given |= {name: rule(facts, draw, given) for name, rule in beside.passed(facts).items()}
    if "decoder_input_ids" in facts.takes and not form.heard:
        given["decoder_input_ids"] = _written(facts, draw, form)
    if form.cache is not None:
        given["use_cache"] = form.cache
    given |= values
    needed = "bool_masked_pos" in facts.required() or "codebook_pixel_values" in given
    if needed and "pixel_values" in given:
        given["bool_masked_pos"] = vision.masked(facts, given["pixel_values"])
    return {name: value[:1] for name, value in given.items()} if form.single else given


def _read(facts: Facts, draw: Draw, options: Sequence[Option], form: Form) -> dict[str, Tensor]:
    """The text that the model reads, with places for the options' features."""
    runs = [
        text.Run(
            medium=option.modality,
            counts=option.counts,
            written="image" if form.instead and option.modality == "video" else option.modality,
        )
        for option in options
        if option.counts is not None
    ]
    read = text.words(facts, draw, "input_ids", form.length, runs)
    given = {"input_ids": read.ids}
    values = {name for option in options for name in option.values}
    for name, rule in beside.FOLLOWS.items():
        if name in facts.takes and name not in values:
            made = rule(facts, draw, read)
            if made is not None:
                given[name] = made
    if form.books:
        given["input_ids"] = _stacked(facts, read.ids, form.books)
    if form.choices:
        given = {n: value.unsqueeze(1).repeat_interleave(2, 1) for n, value in given.items()}
        given["input_ids"][:, 1] = given["input_ids"][:, 1].flip(-1)
    return given


def _written(facts: Facts, draw: Draw, form: Form) -> Tensor:
    """The ids that the decoder goes on from."""
    ids = text.words(facts, draw, "decoder_input_ids", form.length).ids
    if form.decoder_books:
        ids = _stacked(facts, ids, form.decoder_books)
    return ids.transpose(1, 2).flatten(0, 1) if form.flat else ids


def _stacked(facts: Facts, ids: Tensor, books: int) -> Tensor:
    """(rows, tokens, books): the same ids in each codebook, in so far as it has as many."""
    size = facts.integer("codebook_vocab_size", default=0)
    made = ids.unsqueeze(-1).repeat(1, 1, books)
    if size:
        made[..., 1:] %= size
    return made
