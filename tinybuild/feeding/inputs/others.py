"""Everything else by rule: time series, trajectories, and the states of other models."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from tinybuild.feeding import Given, Tensor
from tinybuild.feeding.inputs.draw import ROWS, Draw, each, ones, yes, zeros
from tinybuild.feeding.inputs.facts import Facts
from tinybuild.paths import whole

WIDTHS = ("hidden_size", "d_model", "embed_dim", "d_latents", "hidden_dim")


def series(facts: Facts, draw: Draw, name: str) -> Iterator[Given]:
    """A time series a row, with what is known of its past and future."""
    context = facts.integer("context_length", default=16)
    lags = filter(whole, facts.find("lags_sequence") or [0])
    wide = facts.integer("input_size", "num_input_channels", default=1)
    for past in dict.fromkeys([context + max(lags, default=0), context]):
        for shape in ((past,), (past, wide)):
            yield {name: draw.normal(name, ROWS, *shape), **_known(facts, draw, shape)}
    for past in (16, 32, 64, 512):
        yield {
            name: draw.normal(name, ROWS, past),
            "past_values_padding": zeros(ROWS, past),
            "freq": zeros(ROWS, 1),
        }


def _known(facts: Facts, draw: Draw, shape: tuple[int, ...]) -> dict[str, Tensor]:
    """What is known of a series of this shape (steps, numbers a step), and of what comes then."""
    past, *wide = shape
    ahead = facts.integer("prediction_length", default=4)
    known = facts.find("num_time_features") or 0
    real = facts.find("num_static_real_features") or 0
    classes = facts.find("num_static_categorical_features") or 0
    given = {
        "past_time_features": draw.normal("past_time_features", ROWS, past, known),
        "past_observed_mask": yes(ROWS, *shape),
        "observed_mask": yes(ROWS, *shape),
        "past_values_padding": zeros(ROWS, past),
        "freq": zeros(ROWS, 1),
    }
    if classes:
        least = min(facts.find("cardinality") or [1])
        static = draw.whole("static_categorical_features", 0, least, ROWS, classes)
        given["static_categorical_features"] = static
    if real:
        given["static_real_features"] = draw.normal("static_real_features", ROWS, real)
    if "past_time_features" in facts.takes:
        given["future_values"] = draw.normal("future_values", ROWS, ahead, *wide)
        future = draw.normal("future_time_features", ROWS, ahead, known)
        given["future_time_features"] = future
    return given


def trajectory(facts: Facts, draw: Draw, name: str) -> Iterator[Given]:
    """States, actions and returns, as a decision is learnt from."""
    length = 4
    yield {
        name: draw.normal(name, ROWS, length, facts.integer("state_dim", default=17)),
        "actions": draw.normal("actions", ROWS, length, facts.integer("act_dim", default=4)),
        "rewards": draw.normal("rewards", ROWS, length, 1),
        "returns_to_go": draw.normal("returns_to_go", ROWS, length, 1),
        "timesteps": each(list(range(length))),
        "attention_mask": ones(ROWS, length),
    }


def robot(facts: Facts, draw: Draw, name: str) -> Iterator[Given]:
    """The state of a robot, and its actions with the noise that they are to be freed of."""
    steps, acts = facts.integer("chunk_size", default=4), facts.integer("max_action_dim", default=4)
    yield {
        name: draw.normal(name, ROWS, facts.integer("max_state_dim", default=4)),
        "actions": draw.normal("actions", ROWS, steps, acts),
        "noise": draw.normal("noise", ROWS, steps, acts),
        "timestep": draw.uniform("timestep", ROWS),
    }


def encoded(facts: Facts, draw: Draw) -> Tensor:
    """The states of an encoder: (rows, length, width)."""
    names = ("encoder_hidden_size", "cross_attention_hidden_size", "encoder_width", "hidden_size")
    return draw.normal("encoder_hidden_states", ROWS, 8, facts.integer(*names, default=64))


def states(facts: Facts, draw: Draw, name: str) -> Iterator[Given]:
    """Hidden states under the argument `name`: (rows, length, width), (rows, width, length)."""
    modules = (module for _, module in facts.modules("Linear", "Conv1d"))
    taken = (getattr(m, "in_features", None) or getattr(m, "in_channels", None) for m in modules)
    first = itertools.islice(dict.fromkeys(width for width in taken if width is not None), 5)
    for width in dict.fromkeys([*facts.numbers(*WIDTHS), *first]):
        if name == "context_hidden_states" and "attention_mask" in facts.takes:
            mask = ones(ROWS, 8 + 8)  # of the context, then of what is new
            yield {name: draw.normal(name, ROWS, 8, width), "attention_mask": mask}
        for length in (8, 32):
            for shape in ((ROWS, length, width), (ROWS, width, length)):
                yield {name: draw.normal(name, *shape)}
    for length in (1024, 4096, 16000):
        yield {name: draw.normal(name, ROWS, 1, length)}
