"""Arguments that go beside others by rule: what follows the token ids, and what parts want."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeAlias

from tinybuild.feeding import Given, Tensor
from tinybuild.feeding.inputs import vision
from tinybuild.feeding.inputs.draw import ROWS, Draw, each, ones, zeros
from tinybuild.feeding.inputs.facts import Facts
from tinybuild.feeding.inputs.text import Words, words

if TYPE_CHECKING:
    Follows: TypeAlias = Callable[[Facts, Draw, Words], Tensor | None]
    Alone: TypeAlias = Callable[[Facts, Draw, Given], Tensor]


def _segments(facts: Facts, draw: Draw, read: Words) -> Tensor:
    """Two segments where the model has two; where it has images, 1 at their placeholders."""
    if bool((read.sorts > 0).any()):
        return (read.sorts > 0).long()
    segments = zeros(*read.ids.shape)
    several = facts.find("type_vocab_sizes")
    if isinstance(several, list | tuple):  # of tables: a column for each property of a token
        return segments.unsqueeze(-1).repeat(1, 1, len(several))
    if facts.integer("type_vocab_size", near="text", default=1) > 1:
        segments[:, segments.shape[1] // 2 :] = 1
    return segments


def _boxes(facts: Facts, draw: Draw, read: Words) -> Tensor:
    """(rows, tokens, 4), left, top, right, bottom; of the size that the embedding has."""
    import torch

    most = facts.integer("max_2d_position_embeddings", default=1024)
    corners = draw.whole("bbox", 0, max(most // 2, 1), *read.ids.shape, 2)
    ends = corners + draw.whole("bbox.size", 0, max(most // 2, 1), *read.ids.shape, 2)
    if facts.integer("dim_bbox", default=4) == 8:
        right = torch.stack([ends[..., 0], corners[..., 1]], -1)
        left = torch.stack([corners[..., 0], ends[..., 1]], -1)
        return (torch.cat([corners, right, ends, left], -1) / most).to(draw.dtype)
    boxes = torch.cat([corners, ends], -1)
    if facts.find("max_2d_position_embeddings") is None:
        return (boxes / most).to(draw.dtype)
    return boxes


def _crossed(facts: Facts, draw: Draw, read: Words) -> Tensor:
    """(rows, tokens, images, tiles): every token sees every tile."""
    return ones(*read.ids.shape, 1, facts.integer("max_num_tiles", near="image", default=4))


def _seen(facts: Facts, draw: Draw, read: Words) -> Tensor | None:
    """Every token sees the one image of its row: (rows, tokens, 1), where they attend to images."""
    return ones(*read.ids.shape, 1) if "image_encoder_embeddings" in facts.takes else None


def _below(name: str, key: str, *deep: str, default: int = 2) -> Follows:
    """Integers below the value of a key, one a token; or as many as the key `deep` says."""

    def rule(facts: Facts, draw: Draw, read: Words) -> Tensor:
        more = [facts.integer(each, default=50) for each in deep]
        most = facts.integer(key, default=default)
        return draw.whole(name, 0, most, *read.ids.shape, *more)

    return rule


def _entity_places(facts: Facts, draw: Draw, read: Words) -> Tensor:
    """(rows, entities, places): the tokens of each mention, -1 where there is no more."""
    places = ones(ROWS, 2, facts.integer("max_mention_length", default=30)) * -1
    places[:, 0, 0], places[:, 1, 0] = 1, 2
    return places


# Arguments whose shape follows the token ids, in this order.
FOLLOWS: Mapping[str, Follows] = {
    "attention_mask": lambda facts, draw, read: ones(*read.ids.shape),
    "token_type_ids": _segments,
    "mm_token_type_ids": lambda facts, draw, read: read.sorts.int(),
    "moe_mm_token_type_ids": lambda facts, draw, read: read.sorts.int(),
    "bbox": _boxes,
    "cross_attention_mask": _crossed,
    "image_embeds_position_mask": lambda facts, draw, read: (read.sorts > 0).long(),
    "image_attention_mask": _seen,
    "langs": _below("langs", "n_langs", default=1),
    "xpath_tags_seq": _below("xpath_tags_seq", "max_xpath_tag_unit_embeddings", "max_depth"),
    "xpath_subs_seq": _below("xpath_subs_seq", "max_xpath_subs_unit_embeddings", "max_depth"),
    "input_shape_ids": _below("input_shape_ids", "shape_vocab_size"),
    "input_pronunciation_ids": _below("input_pronunciation_ids", "pronunciation_vocab_size"),
    "task_type_ids": lambda facts, draw, read: zeros(*read.ids.shape),
    "entity_ids": lambda facts, draw, read: draw.whole(
        "entity_ids", 3, facts.integer("entity_vocab_size", default=4), ROWS, 2
    ),
    "entity_position_ids": _entity_places,
    "ple_input_ids": lambda facts, draw, read: read.ids,
    "input_ids_masked": lambda facts, draw, read: read.ids,
    "question_positions": lambda facts, draw, read: ones(ROWS, 1),
}


def _task(facts: Facts, draw: Draw, given: Given) -> Tensor:
    size = facts.integer("text_encoder_vocab_size", "vocab_size", default=100)
    return draw.whole("task_inputs", 0, size, ROWS, facts.integer("task_seq_len", default=77))


def _coded(facts: Facts, draw: Draw, given: Given) -> Tensor:
    """Pixels of which a codebook makes a code for each patch: it halves them three times."""
    side = 8 * (vision.sizes(facts)[0][0] // vision.patch(facts))
    return draw.normal("codebook_pixel_values", ROWS, 3, side, side)


def _speaker(facts: Facts, draw: Draw, given: Given) -> Tensor:
    width = facts.integer("speaker_embedding_dim", default=512)
    return draw.normal("speaker_embeddings", ROWS, width)


def _text(name: str) -> Alone:
    return lambda facts, draw, given: words(facts, draw, name).ids


def _twice(facts: Facts, draw: Draw, given: Given) -> Tensor:
    """(2 * rows, tokens): each row, and the same tokens the other way round."""
    import torch

    ids = words(facts, draw, "classes_input_ids").ids
    return torch.stack([ids, ids.flip(-1)], 1).flatten(0, 1)


def _mask(name: str) -> Alone:
    return lambda facts, draw, given: ones(*given[name].shape)


# Arguments that need no text, in this order: a mask comes after what it is for.
ALONE: Mapping[str, Alone] = {
    "lang_ids": lambda facts, draw, given: each(0),
    "task_inputs": _task,
    "codebook_pixel_values": _coded,
    "speaker_embeddings": _speaker,
    "qformer_input_ids": _text("qformer_input_ids"),
    "protein_input_ids": _text("protein_input_ids"),
    "protein_attention_mask": _mask("protein_input_ids"),
    # Two things to look for in each image, and what is to be done.
    "classes_input_ids": _twice,
    "classes_attention_mask": _mask("classes_input_ids"),
    "classes_structure": lambda facts, draw, given: each(2),
    "tasks_input_ids": _text("tasks_input_ids"),
    "tasks_attention_mask": _mask("tasks_input_ids"),
}


def _condition(facts: Facts, draw: Draw, given: Given) -> Tensor:
    """The embedding of the time by which a decoder lags behind: (1, 1, width)."""
    return draw.normal("t_cond", 1, 1, facts.integer("hidden_size", near="text", default=64))


MASK = "attention_mask"
SOUNDS = ("input_features", "input_values")
# Arguments of parts of a model, which its forward does not name.
INSIDE: Mapping[str, Alone] = {"t_cond": _condition}


def passed(facts: Facts) -> Mapping[str, Alone]:
    """Those of INSIDE that a module of the model takes and its forward only passes on."""
    return {
        name: rule
        for name, rule in INSIDE.items()
        if name not in facts.takes
        and any(
            name in inspect.signature(module.forward).parameters for module in facts.model.modules()
        )
    }


def masked_inside(facts: Facts) -> bool:
    """Whether forward hands on the mask of a text without naming it: `generate` then makes none
    (VibeVoice)."""
    parameters = inspect.signature(facts.model.forward).parameters.values()
    hands_on = any(one.kind is one.VAR_KEYWORD for one in parameters)
    return (
        hands_on
        and "input_ids" in facts.takes
        and MASK not in facts.takes
        and any(
            MASK in inspect.signature(module.forward).parameters for module in facts.model.modules()
        )
    )


def longer(given: Given, count: int, length: int) -> dict[str, Tensor]:
    """The sounds beside a text of so many tokens, as much longer as one of that length is: some go
    token by token with it (Voxtral's realtime models)."""
    return {
        name: repeated(given[name], given[name].shape[-1] * length // count, -1)
        for name in SOUNDS
        if name in given
    }


def repeated(value: Tensor, length: int, axis: int) -> Tensor:
    """A tensor again and again along an axis, as far as a length."""
    import torch

    times = -(-length // value.shape[axis])
    return torch.cat([value] * times, axis).narrow(axis, 0, length)
