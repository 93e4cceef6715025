"""How wide random weights are drawn, so that a tiny model does not say the same whatever it reads.

A full-size model starts from small weights (0.02). With the few dimensions of a tiny one the logits
are then nearly equal, rounding decides the best token, and different prompts run into one loop.
Measured on 38 text models of widths 16, 32 and 64 (docs/models.md): from 2 / sqrt(width) on, the
median margin between the best token and the next is at least 0.1, and different prompts are
continued differently.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tinybuild.keys import width

# The usual spread, and what is tried where a model's continuations do not depend on its prompts
# with that: a wider one makes what cross-attention brings larger than the decoder's own first
# token; a narrower one a token's own embedding smaller than what is added to it (embeddings that
# are multiplied by sqrt(width) and tied; layers whose outputs are normed).
SPREADS = (2.0, 4.0, 0.5)
DEVIATIONS = ("initializer_range", "init_std", "embed_init_std")
# Logits are multiplied (or divided) by these: a full-size model's are as much too large.
SCALES = ("logit_scale", "logits_scaling", "logits_mup_width_multiplier", "output_multiplier")


def spread(
    data: Mapping[str, Any], around: int | None = None, wide: float = SPREADS[0]
) -> dict[str, Any]:
    """Overrides for a config tree (JSON data) of a small model: standard deviations of weights,
    `wide` / sqrt(width).

    Each config's own width counts, or that of the one around it, or of one inside it.
    `initializer_factor` of classes that already divide by the width (T5) is a factor of their own
    deviations.
    """
    own = width(data) or around or _width_below(data)
    found: dict[str, Any] = {}
    if own is not None:
        deviation = round(wide / own**0.5, 4)
        found = {name: deviation for name in DEVIATIONS if isinstance(data.get(name), float)}
    if not found and isinstance(data.get("initializer_factor"), float):
        found["initializer_factor"] = wide
    found |= {name: 1.0 for name in SCALES if isinstance(data.get(name), float)}
    for name, value in data.items():
        if isinstance(value, Mapping) and "model_type" in value:
            inner = spread(value, own, wide)
            if inner:
                found[name] = inner
    return found


def _width_below(data: Mapping[str, Any]) -> int | None:
    """The width of a config inside, that of the text first: it has the logits."""
    inner = [name for name, value in data.items() if isinstance(value, Mapping)]
    for name in sorted(inner, key=lambda name: ("text" not in name, name)):
        found = width(data[name])
        if found is not None:
            return found
    return None
