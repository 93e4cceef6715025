"""A full-size config becomes the smallest coherent one, by rule.

The rules look at names and values in the config tree, never at the model's name. Each gives the key
it changes a reason; the recipe's own keys are left as they are, and what depends on them follows.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from tinybuild.config.allot import joined, parts, widths
from tinybuild.config.attention import latent_attention, state_space
from tinybuild.config.completed import exceptions as told
from tinybuild.config.images import images
from tinybuild.config.layers import depth
from tinybuild.config.lengths import lengths
from tinybuild.config.overrides import substituted
from tinybuild.config.pyramids import doubled_widths, multipliers, pyramids
from tinybuild.config.rotary import rotary
from tinybuild.config.scales import attention_scales
from tinybuild.config.sizes import Size, sized
from tinybuild.config.tokens import token_ids
from tinybuild.config.tree import DISTINCT, Alike, Tree
from tinybuild.keys import is_id, measures, says, width
from tinybuild.paths import Data, leaves, mapping, whole, wholes

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


BOOKS = 4  # of a codec, at most
CATEGORIES = 20  # of what a series is of, at most


def shrink(
    config: PreTrainedConfig,
    wishes: Data,
    size: Size | str = "tiny",
    layers: int | None = None,
    alike: Alike = DISTINCT,
) -> Tree:
    """The config tree of `config` (an object with its sub-configs), made small by the rules.

    `wishes` are the recipe's overrides under the class's own names: they stay, and what depends on
    them follows. `layers` is the depth wanted instead of the least that has every kind of layer.
    """
    wanted = sized(size) if isinstance(size, str) else size
    tree = Tree(substituted(config, wishes).to_dict(), wishes, wanted, layers)
    tree.alike = alike
    for rule in RULES:
        rule(tree)
    return tree


def multiples(tree: Tree) -> None:
    """A width that joins several neighbours stays the same multiple of its tower's width."""
    for number in tree.numbers("width"):
        neighbours = joined(tree, number)
        if neighbours is not None:
            tower, times = neighbours
            now = width(mapping(tree.data, tower))
            assert now is not None
            tree.set(number.at, times * now, "rule width: a multiple as in the source")


def sums(tree: Tree) -> None:
    """The width of two towers side by side: what was their sum is their sum."""
    for path, node in tree.nodes():
        towers = {n: width(v) for n, v in node.items() if isinstance(v, dict) and width(v)}
        if len(towers) < 2:
            continue
        before = sum(tree.width_was((*path, name)) or 0 for name in towers)
        now = sum(value or 0 for value in towers.values())
        for name, value in list(node.items()):
            if whole(value) and measures(name) == "width" and tree.was((*path, name)) == before:
                tree.set((*path, name), now, "rule width: its towers side by side")


def halves(tree: Tree) -> None:
    """Features of a position: one half for each axis of the image."""
    for path, name, value in tree.items():
        if says(name, "half width") and whole(value):
            now = tree.sizes.get(((), "width", 2 * value), tree.size.width)
            tree.set((*path, name), min(value, now // 2), "rule width: a half")


def plain_sizes(tree: Tree) -> None:
    """Sizes that nothing else depends on."""
    for measured, most in tree.size.plain.items():
        for number in tree.numbers(measured):
            if number.value > most:
                choices = (most, most * 3 // 4, most // 2)
                now, *_ = tree.free(measured, number.was, choices)
                tree.sizes[(), measured, number.was] = now
                tree.set(number.at, now, f"rule {measured}")


def by_layer_sizes(tree: Tree) -> None:
    """Lists that give each layer its own size: every entry shrinks as the plain key would."""
    for path, name, value in tree.items():
        measured = measures(name)
        most = tree.size.by_layer.get(measured)
        if most and wholes(value) and not is_id(name) and len(set(value)) == 1:
            new = [tree.sizes.get(((), measured, n), min(n, most)) for n in value]
            tree.set((*path, name), new, f"rule {measured}")


def shuffled_pixels(tree: Tree) -> None:
    """Pixels shuffled into channels: what comes out is as many widths as in the source."""
    for path, node in tree.nodes():
        share, wide, before = node.get("pixel_shuffle_ratio"), width(node), tree.width_was(path)
        if isinstance(share, float) and share and wide and before:
            inner = tree.was((*path, "intermediate_size"))
            if whole(inner) and inner == int(before // share**2):
                new = int(wide // share**2)
                tree.set((*path, "intermediate_size"), new, "rule shuffled pixels")


def layout(tree: Tree) -> None:
    """Four coordinates and two sides of a box are put side by side to a whole width."""
    for path, node in tree.nodes():
        wide = width(node)
        if wide and whole(node.get("coordinate_size")) and whole(node.get("shape_size")):
            part, reason = wide // 8, "rule layout: 4 and 2 parts of a width"
            tree.set((*path, "coordinate_size"), part, reason)
            tree.set((*path, "shape_size"), (wide - 4 * part) // 2, reason)


def maps(tree: Tree) -> None:
    """Maps that masks are made of are as wide as the masks' own, where they were: what joins the
    two is made only where they differ (Mask2Former). Elsewhere a feature_size counts mel bins."""
    for path, node in tree.nodes():
        own = ("feature_size", "mask_feature_size")
        was = [tree.was((*path, name)) for name in own]
        if all(whole(node.get(name)) for name in own) and was[0] == was[1]:
            tree.set((*path, own[0]), node[own[1]], "rule maps: those of the masks")


def rates(tree: Tree) -> None:
    """A codec's rates take as many codebooks as in the source, up to four: a number of a smaller
    codebook has fewer bits (`EncodecConfig.num_quantizers`)."""
    for path, name, _ in tree.items():
        if not says(name, "rates"):
            continue
        was = tree.was((*path, name))
        before, now = (_bits(mapping(one, path)) for one in (tree.source, tree.data))
        if isinstance(was, list | tuple) and was and before and now:
            books = [int(1000 * rate // before) for rate in was]
            books = [one for one in books if one <= BOOKS] or [BOOKS]
            new = [round(one * now / 1000, 3) for one in books]
            tree.set((*path, name), new, "rule rates: as many codebooks")


def categories(tree: Tree) -> None:
    """What the series are of (one of 366 shops) is one of fewer; what differs, differs."""
    for path, name, value in tree.items():
        if says(name, "categories") and wholes(value):
            many = sorted({number for number in value if number > CATEGORIES}, reverse=True)
            fewer = {number: max(2, CATEGORIES - place) for place, number in enumerate(many)}
            new = [fewer.get(number, number) for number in value]
            tree.set((*path, name), new, "rule categories")


def _bits(codec: Data) -> int:
    """How many bits a second the numbers of one codebook take; 0 where the config does not say."""
    hop, sampled = codec.get("upsampling_ratios"), codec.get("sampling_rate")
    size = codec.get("codebook_size")
    if not (wholes(hop) and whole(sampled) and whole(size)) or min(*hop, size, 1) < 1:
        return 0
    return math.ceil(sampled / math.prod(hop)) * math.ceil(math.log2(size))


def exceptions(tree: Tree) -> None:
    """What no rule sees: a small file of keys by model type, each with its reason."""
    for path, node in tree.nodes():
        entry = told().get(str(node.get("model_type")))
        if entry:
            for inner, value in leaves(mapping(entry, ("config",))):
                tree.set((*path, *inner), value, f"exception: {entry['reason']}")


# In this order: each sees what those before it have set.
RULES: tuple[Callable[[Tree], None], ...] = (
    widths,
    multiples,
    sums,
    halves,
    lengths,
    plain_sizes,
    by_layer_sizes,
    parts,
    shuffled_pixels,
    latent_attention,
    state_space,
    rotary,
    attention_scales,
    depth,
    pyramids,
    multipliers,
    doubled_widths,
    images,
    layout,
    maps,
    rates,
    categories,
    exceptions,
    token_ids,
)
