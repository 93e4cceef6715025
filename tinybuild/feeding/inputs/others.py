"""Everything else by rule: what follows the text, time series, and the states of other models."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tinybuild.feeding.inputs.draw import Draw
from tinybuild.feeding.inputs.facts import ROWS, Facts

Given = dict[str, Any]


def _ones(facts: Facts, draw: Draw, given: Given) -> Any:
    import torch

    return torch.ones(given["input_ids"].shape, dtype=torch.long)


def _zeros(facts: Facts, draw: Draw, given: Given) -> Any:
    import torch

    return torch.zeros(given["input_ids"].shape, dtype=torch.long)


def _segments(facts: Facts, draw: Draw, given: Given) -> Any:
    """Two segments where the model has two; where it has images, 1 at their placeholders."""
    import torch

    sorts = given["sorts"]
    if bool((sorts > 0).any()):
        return (sorts > 0).long()
    found = torch.zeros_like(given["input_ids"])
    several = facts.find("type_vocab_sizes")
    if isinstance(several, list | tuple):  # of tables: a column for each property of a token
        return found.unsqueeze(-1).repeat(1, 1, len(several))
    if facts.integer("type_vocab_size", near="text", default=1) > 1:
        found[:, found.shape[1] // 2 :] = 1
    return found


def _sorts(facts: Facts, draw: Draw, given: Given) -> Any:
    return given["sorts"].int()


def _boxes(facts: Facts, draw: Draw, given: Given) -> Any:
    """(rows, tokens, 4), left, top, right, bottom; of the size that the embedding has."""
    import torch

    most = facts.integer("max_2d_position_embeddings", default=1024)
    wide = facts.integer("dim_bbox", default=4)
    corners = draw.whole("bbox", 0, max(most // 2, 1), *given["input_ids"].shape, 2)
    sizes = draw.whole("bbox.size", 0, max(most // 2, 1), *given["input_ids"].shape, 2)
    if wide == 8:
        low, high = corners, corners + sizes
        quad = [low, torch.stack([high[..., 0], low[..., 1]], -1), high]
        quad.append(torch.stack([low[..., 0], high[..., 1]], -1))
        return (torch.cat(quad, -1) / most).to(draw.dtype)
    found = torch.cat([corners, corners + sizes], -1)
    if facts.find("max_2d_position_embeddings") is None:
        return (found / most).to(draw.dtype)
    return found


def _crossed(facts: Facts, draw: Draw, given: Given) -> Any:
    """(rows, tokens, images, tiles): every token sees every tile."""
    import torch

    tiles = facts.integer("max_num_tiles", near="image", default=4)
    return torch.ones(*given["input_ids"].shape, 1, tiles, dtype=torch.long)


def _seen(facts: Facts, draw: Draw, given: Given) -> Any:
    """Every token sees the one image of its row: (rows, tokens, 1), where they attend to images."""
    import torch

    if "image_encoder_embeddings" not in facts.takes:
        return None

    return torch.ones(*given["input_ids"].shape, 1, dtype=torch.long)


def _places(facts: Facts, draw: Draw, given: Given) -> Any:
    return (given["sorts"] > 0).long()


def _language(facts: Facts, draw: Draw, given: Given) -> Any:
    import torch

    return torch.zeros(ROWS, dtype=torch.long)


def _languages(facts: Facts, draw: Draw, given: Given) -> Any:
    return draw.whole("langs", 0, facts.integer("n_langs", default=1), *given["input_ids"].shape)


def _xpath(name: str, key: str) -> Callable[[Facts, Draw, Given], Any]:
    def rule(facts: Facts, draw: Draw, given: Given) -> Any:
        depth = facts.integer("max_depth", default=50)
        most = facts.integer(key, default=2)
        return draw.whole(name, 0, most, *given["input_ids"].shape, depth)

    return rule


def _small(name: str, key: str) -> Callable[[Facts, Draw, Given], Any]:
    def rule(facts: Facts, draw: Draw, given: Given) -> Any:
        most = facts.integer(key, default=2)
        return draw.whole(name, 0, most, *given["input_ids"].shape)

    return rule


def _like(name: str) -> Callable[[Facts, Draw, Given], Any]:
    def rule(facts: Facts, draw: Draw, given: Given) -> Any:
        from tinybuild.feeding.inputs import text

        return text.ids(facts, draw, name)[0]

    return rule


def _entities(facts: Facts, draw: Draw, given: Given) -> Any:
    return draw.whole("entity_ids", 3, facts.integer("entity_vocab_size", default=4), ROWS, 2)


def _entity_places(facts: Facts, draw: Draw, given: Given) -> Any:
    """(rows, entities, places): the tokens of each mention, -1 where there is no more."""
    import torch

    longest = facts.integer("max_mention_length", default=30)
    found = torch.full((ROWS, 2, longest), -1)
    found[:, 0, 0], found[:, 1, 0] = 1, 2
    return found


# Arguments whose shape follows the token ids, in this order.
FOLLOWS: Mapping[str, Callable[[Facts, Draw, Given], Any]] = {
    "attention_mask": _ones,
    "token_type_ids": _segments,
    "mm_token_type_ids": _sorts,
    "moe_mm_token_type_ids": _sorts,
    "bbox": _boxes,
    "cross_attention_mask": _crossed,
    "image_embeds_position_mask": _places,
    "image_attention_mask": _seen,
    "langs": _languages,
    "xpath_tags_seq": _xpath("xpath_tags_seq", "max_xpath_tag_unit_embeddings"),
    "xpath_subs_seq": _xpath("xpath_subs_seq", "max_xpath_subs_unit_embeddings"),
    "input_shape_ids": _small("input_shape_ids", "shape_vocab_size"),
    "input_pronunciation_ids": _small("input_pronunciation_ids", "pronunciation_vocab_size"),
    "task_type_ids": _zeros,
    "entity_ids": _entities,
    "entity_position_ids": _entity_places,
    "ple_input_ids": lambda f, d, g: g["input_ids"],
    "input_ids_masked": lambda f, d, g: g["input_ids"],
    "question_positions": lambda f, d, g: _language(f, d, g).unsqueeze(-1) + 1,
}


def _task(facts: Facts, draw: Draw, given: Given) -> Any:
    size = facts.integer("text_encoder_vocab_size", "vocab_size", default=100)
    return draw.whole("task_inputs", 0, size, ROWS, facts.integer("task_seq_len", default=77))


def _coded(facts: Facts, draw: Draw, given: Given) -> Any:
    """Pixels of which a codebook makes a code for each patch: it halves them three times."""
    from tinybuild.feeding.inputs import vision

    side = 8 * (vision.sizes(facts)[0][0] // vision.patch(facts))
    return draw.normal("codebook_pixel_values", ROWS, 3, side, side)


# Arguments that need no text.
ALONE: Mapping[str, Callable[[Facts, Draw, Given], Any]] = {
    "lang_ids": _language,
    "task_inputs": _task,
    "codebook_pixel_values": _coded,
    "speaker_embeddings": lambda f, d, g: d.normal(
        "speaker_embeddings", ROWS, f.integer("speaker_embedding_dim", default=512)
    ),
    "qformer_input_ids": _like("qformer_input_ids"),
    "protein_input_ids": _like("protein_input_ids"),
    "protein_attention_mask": lambda f, d, g: _full(g["protein_input_ids"]),
    # Two things to look for in each image, and what is to be done.
    "classes_input_ids": lambda f, d, g: _twice(_like("classes_input_ids")(f, d, g)),
    "classes_attention_mask": lambda f, d, g: _full(g["classes_input_ids"]),
    "classes_structure": lambda f, d, g: _full(g["classes_input_ids"][:ROWS, 0]) * 2,
    "tasks_input_ids": _like("tasks_input_ids"),
    "tasks_attention_mask": lambda f, d, g: _full(g["tasks_input_ids"]),
}


def _full(ids: Any) -> Any:
    import torch

    return torch.ones_like(ids)


def _twice(ids: Any) -> Any:
    """(2 * rows, tokens): each row, and the same tokens the other way round."""
    import torch

    return torch.stack([ids, ids.flip(-1)], 1).flatten(0, 1)


def _condition(facts: Facts, draw: Draw, given: Given) -> Any:
    """The embedding of the time by which a decoder lags behind: (1, 1, width)."""
    return draw.normal("t_cond", 1, 1, facts.integer("hidden_size", near="text", default=64))


# Arguments of parts of a model, which its forward does not name.
INSIDE: Mapping[str, Callable[[Facts, Draw, Given], Any]] = {"t_cond": _condition}


def passed(facts: Facts) -> Mapping[str, Callable[[Facts, Draw, Given], Any]]:
    """Those of INSIDE that a module of the model takes and its forward only passes on."""
    return {
        name: rule
        for name, rule in INSIDE.items()
        if name not in facts.takes
        and any(
            name in inspect.signature(module.forward).parameters for module in facts.model.modules()
        )
    }


def series(facts: Facts, draw: Draw, name: str) -> Iterator[dict[str, Any]]:
    """A time series a row, with what is known of its past and future."""
    import torch

    context = facts.integer("context_length", default=16)
    lags = [n for n in (facts.find("lags_sequence") or [0]) if isinstance(n, int)]
    ahead = facts.integer("prediction_length", default=4)
    wide = facts.integer("input_size", "num_input_channels", default=1)
    known = facts.find("num_time_features") or 0
    real = facts.find("num_static_real_features") or 0
    cats = facts.find("num_static_categorical_features") or 0
    cardinality = facts.find("cardinality") or [1]
    for past in dict.fromkeys([context + max(lags, default=0), context]):
        for shape in ((past,), (past, wide)):
            found: dict[str, Any] = {name: draw.normal(name, ROWS, *shape)}
            found["past_time_features"] = draw.normal("past_time_features", ROWS, past, known)
            for mask in ("past_observed_mask", "observed_mask"):
                found[mask] = torch.ones(ROWS, *shape, dtype=torch.bool)
            found["past_values_padding"] = torch.zeros(ROWS, past, dtype=torch.long)
            found["freq"] = torch.zeros(ROWS, 1, dtype=torch.long)
            if cats:
                found["static_categorical_features"] = draw.whole(
                    "static_categorical_features", 0, min(cardinality), ROWS, cats
                )
            if real:
                found["static_real_features"] = draw.normal("static_real_features", ROWS, real)
            if "past_time_features" in facts.takes:
                future = (ahead, *shape[1:])
                found["future_values"] = draw.normal("future_values", ROWS, *future)
                found["future_time_features"] = draw.normal(
                    "future_time_features", ROWS, ahead, known
                )
            yield found
    for past in (16, 32, 64, 512):
        yield {
            name: draw.normal(name, ROWS, past),
            "past_values_padding": torch.zeros(ROWS, past, dtype=torch.long),
            "freq": torch.zeros(ROWS, 1, dtype=torch.long),
        }


def trajectory(facts: Facts, draw: Draw, name: str) -> Iterator[dict[str, Any]]:
    """States, actions and returns, as a decision is learnt from."""
    import torch

    acts, length = facts.integer("act_dim", default=4), 4
    steps = torch.arange(length).expand(ROWS, -1).contiguous()
    yield {
        name: draw.normal(name, ROWS, length, facts.integer("state_dim", default=17)),
        "actions": draw.normal("actions", ROWS, length, acts),
        "rewards": draw.normal("rewards", ROWS, length, 1),
        "returns_to_go": draw.normal("returns_to_go", ROWS, length, 1),
        "timesteps": steps,
        "attention_mask": torch.ones(ROWS, length, dtype=torch.long),
    }


def robot(facts: Facts, draw: Draw, name: str) -> Iterator[dict[str, Any]]:
    """The state of a robot, and its actions with the noise that they are to be freed of."""
    steps, acts = facts.integer("chunk_size", default=4), facts.integer("max_action_dim", default=4)
    yield {
        name: draw.normal(name, ROWS, facts.integer("max_state_dim", default=4)),
        "actions": draw.normal("actions", ROWS, steps, acts),
        "noise": draw.normal("noise", ROWS, steps, acts),
        "timestep": draw.uniform("timestep", ROWS),
    }


def encoded(facts: Facts, draw: Draw) -> Any:
    """The states of an encoder: (rows, length, width)."""
    names = ("encoder_hidden_size", "cross_attention_hidden_size", "encoder_width", "hidden_size")
    width = facts.integer(*names, default=64)
    return draw.normal("encoder_hidden_states", ROWS, 8, width)


def states(facts: Facts, draw: Draw, name: str) -> Iterator[dict[str, Any]]:
    """Hidden states under the argument `name`: (rows, length, width), (rows, width, length)."""
    import torch

    first: list[int] = []
    for _, module in facts.modules("Linear", "Conv1d"):
        width = getattr(module, "in_features", None) or getattr(module, "in_channels", None)
        first += [] if width is None or width in first else [width]
        if len(first) > 4:
            break
    own = facts.every("hidden_size", "d_model", "embed_dim", "d_latents", "hidden_dim")
    for width in dict.fromkeys([*(n for n in own if isinstance(n, int)), *first]):
        if name == "context_hidden_states" and "attention_mask" in facts.takes:
            mask = torch.ones(ROWS, 8 + 8, dtype=torch.long)  # of the context, then of what is new
            yield {name: draw.normal(name, ROWS, 8, width), "attention_mask": mask}
        for length in (8, 32):
            for shape in ((ROWS, length, width), (ROWS, width, length)):
                yield {name: draw.normal(name, *shape)}
    for length in (1024, 4096, 16000):
        yield {name: draw.normal(name, ROWS, 1, length)}
