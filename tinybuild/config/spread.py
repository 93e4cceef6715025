"""How wide random weights are drawn, so that a tiny model does not say the same whatever it reads.

A full-size model starts from small weights (0.02). With the few dimensions of a tiny one the logits
are then nearly equal, rounding decides the best token, and different prompts run into one loop.
Measured on 38 text models of widths 16, 32 and 64 (docs/models.md): from 2 / sqrt(width) on, the
median margin between the best token and the next is at least 0.1, and different prompts are
continued differently.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tinybuild.config.overrides import fields, parts
from tinybuild.errors import BuildFault
from tinybuild.keys import configs, says, width
from tinybuild.paths import Data, Json

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

# The usual spread, and what is tried where a model's continuations do not depend on its prompts
# with that: a wider one makes what cross-attention brings larger than the decoder's own first
# token; a narrower one a token's own embedding smaller than what is added to it (embeddings that
# are multiplied by sqrt(width) and tied; layers whose outputs are normed); or logits that are far
# too large with it (a head that is not divided by the width: mT5's) or too small.
SPREADS = (2.0, 4.0, 0.5, 1.2)
WIDER = (8.0, 16.0, 32.0)  # where a factor of the logits, made for a full-size model's, is kept
UNTOLD = 64  # the width of a model that only has channels by stage
DEVIATIONS = ("initializer_range", "init_std", "embed_init_std")


def spread(data: Data, around: int | None = None, wide: float = SPREADS[0]) -> dict[str, Json]:
    """Overrides for a config tree (JSON data) of a small model: standard deviations of weights,
    `wide` / sqrt(width).

    Each config's own width counts, or that of the one around it, or of one inside it.
    `initializer_factor` of classes that already divide by the width (T5) is a factor of their own
    deviations.
    """
    own = width(data) or around or _width_below(data) or UNTOLD
    deviation = round(wide / own**0.5, 4)
    made: dict[str, Json] = {n: deviation for n in DEVIATIONS if isinstance(data.get(n), float)}
    if not made and isinstance(data.get("initializer_factor"), float):
        made["initializer_factor"] = wide
    for name, value in data.items():
        if isinstance(value, Mapping) and "model_type" in value:
            inner = spread(value, own, wide)
            if inner:
                made[name] = inner
    return made


def tried(data: Data) -> tuple[float, ...]:
    """The spreads to try for a config tree (JSON data), in order."""
    scaled = any(
        says(name, "logits factor") and isinstance(value, int | float) and value not in (0, 1)
        for _, node in configs(data)
        for name, value in node.items()
    )
    return SPREADS + WIDER if scaled else SPREADS


def _width_below(data: Data) -> int | None:
    """The width of a config inside, that of the text first: it has the logits."""
    inner = {name: width(value) for name, value in data.items() if isinstance(value, Mapping)}
    ordered = sorted(inner, key=lambda name: ("text" not in name, name))
    return next((inner[name] for name in ordered if inner[name] is not None), None)


CHOSEN = ("initializer_range", "init_std")  # what a recipe's initializer_range sets


def chosen(config: PreTrainedConfig, deviation: float) -> dict[str, Json]:
    """Overrides that give the random weights of a whole config tree the recipe's deviation.

    Raises BuildFault where no config of the tree has such a key.
    """
    made = _chosen(config, deviation)
    if not made:
        near = [name for name in fields(config) if name.startswith("init")]
        raise BuildFault.of(
            f"{type(config).__name__} has no {' or '.join(CHOSEN)}",
            key=("model", "initializer_range"),
            hint=f"set in config instead: {', '.join(sorted(near))}" if near else "leave it out",
        )
    return made


def _chosen(config: PreTrainedConfig, deviation: float) -> dict[str, Json]:
    made: dict[str, Json] = {name: deviation for name in CHOSEN if name in config.to_dict()}
    inside = {name: _chosen(sub, deviation) for name, sub in parts(config)}
    return made | {name: inner for name, inner in inside.items() if inner}
