"""A full-size config becomes the smallest coherent one, by rule.

The rules look at names and values in the config tree, never at the model's name. Each gives the key
it changes a reason; the recipe's own keys are left as they are, and what depends on them follows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tinybuild.config.attention import attention, latent_attention, state_space
from tinybuild.config.completed import exceptions as told
from tinybuild.config.images import images
from tinybuild.config.layers import depth
from tinybuild.config.overrides import substituted
from tinybuild.config.pyramids import doubled_widths, multipliers, pyramids
from tinybuild.config.rotary import rotary
from tinybuild.config.scales import attention_scales
from tinybuild.config.sizes import EXPERTS, SIZES, TOP_K
from tinybuild.config.tokens import token_ids
from tinybuild.config.tree import Tree
from tinybuild.keys import NAMES, is_id, measures, of_modality, says, width
from tinybuild.paths import Data, leaves, mapping, whole, wholes

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

JOINS = range(2, 17)  # neighbours that a width may join


def shrink(
    config: PreTrainedConfig, wishes: Data, size: str = "tiny", layers: int | None = None
) -> Tree:
    """The config tree of `config` (an object with its sub-configs), made small by the rules.

    `wishes` are the recipe's overrides under the class's own names: they stay, and what depends on
    them follows. `layers` is the depth wanted instead of the least that has every kind of layer.
    """
    tree = Tree(substituted(config, wishes).to_dict(), wishes, SIZES[size], layers)
    for rule in RULES:
        rule(tree)
    return tree


def widths(tree: Tree) -> None:
    """Everything as wide as a layer gets one width, so that whatever is tied stays tied.

    Where the recipe sets a width, all keys that had the same value in the source follow it.
    """
    wished = {
        number.was: tree.fixed[number.at]
        for number in tree.numbers("width")
        if number.at in tree.fixed and number.was
    }
    for number in tree.numbers("width", "channels"):
        if number.was in wished:
            tree.set(number.at, wished[number.was], "rule width: as the recipe's")
        elif number.value > tree.size.width:
            tree.set(number.at, tree.size.width, "rule width")


def multiples(tree: Tree) -> None:
    """A width that joins several neighbours (merged patches, several layers) stays the same
    multiple of its tower's width, unless it is the width of another tower."""
    towers = {tree.width_was(path) for path, _ in tree.nodes()}
    for number in tree.numbers("width"):
        joins = says(number.name, "joined width") and number.name not in NAMES["width"]
        if number.was in towers or not joins:
            continue
        path, node = number.at[:-1], number.node
        sees = [(*path, name) for name in node if of_modality(name, "image", "audio")]
        for tower in [path] if width(node) else sees:
            before, now = tree.width_was(tower), width(mapping(tree.data, tower))
            if before and now and number.was % before == 0 and number.was // before in JOINS:
                reason = "rule width: a multiple as in the source"
                tree.set(number.at, number.was // before * now, reason)
                break


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
            tree.set((*path, name), min(value, tree.size.width // 2), "rule width: a half")


def plain_sizes(tree: Tree) -> None:
    """Sizes that nothing else depends on."""
    most = tree.size.plain
    for number in tree.numbers(*most):
        measured = measures(number.name)
        if number.value > most[measured]:
            tree.set(number.at, most[measured], f"rule {measured}")


def by_layer_sizes(tree: Tree) -> None:
    """Lists that give each layer its own size: every entry shrinks as the plain key would."""
    for path, name, value in tree.items():
        measured = measures(name)
        most = tree.size.by_layer.get(measured)
        if most and wholes(value) and not is_id(name) and len(set(value)) == 1:
            tree.set((*path, name), [min(item, most) for item in value], f"rule {measured}")


def feed_forward(tree: Tree) -> None:
    """The inner width: twice the width, whatever the source's ratio."""
    for number in tree.numbers("ffn width"):
        most = 2 * (width(number.node) or tree.size.width)
        if number.value > most:
            tree.set(number.at, most, "rule ffn width")


def shuffled_pixels(tree: Tree) -> None:
    """Pixels shuffled into channels: what comes out is as many widths as in the source."""
    for path, node in tree.nodes():
        share, wide, before = node.get("pixel_shuffle_ratio"), width(node), tree.width_was(path)
        if isinstance(share, float) and share and wide and before:
            inner = tree.was((*path, "intermediate_size"))
            if whole(inner) and inner == int(before // share**2):
                new = int(wide // share**2)
                tree.set((*path, "intermediate_size"), new, "rule shuffled pixels")


def experts(tree: Tree) -> None:
    """A few experts in at most two groups; each group has as many as are chosen from it."""
    for measure, most, reason in (
        ("experts", EXPERTS, "rule experts"),
        ("groups", 2, "rule expert groups"),
        ("top groups", 1, "rule expert groups"),
        ("top k", TOP_K, "rule top k"),
    ):
        for number in tree.numbers(measure):
            if number.value > most:
                tree.set(number.at, most, reason)


def layout(tree: Tree) -> None:
    """Four coordinates and two sides of a box are put side by side to a whole width."""
    for path, node in tree.nodes():
        wide = width(node)
        if wide and whole(node.get("coordinate_size")) and whole(node.get("shape_size")):
            part, reason = wide // 8, "rule layout: 4 and 2 parts of a width"
            tree.set((*path, "coordinate_size"), part, reason)
            tree.set((*path, "shape_size"), (wide - 4 * part) // 2, reason)


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
    plain_sizes,
    by_layer_sizes,
    feed_forward,
    shuffled_pixels,
    attention,
    latent_attention,
    state_space,
    experts,
    rotary,
    attention_scales,
    depth,
    pyramids,
    multipliers,
    doubled_widths,
    images,
    layout,
    exceptions,
    token_ids,
)
