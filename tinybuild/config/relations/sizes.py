"""Relations of sizes: what must be there at all, vocabularies, images, state spaces."""

from __future__ import annotations

from collections.abc import Iterator

from tinybuild.config.relations.relation import Node, Places, Relation, together
from tinybuild.keys import NAMES, ids_in, is_id, measures, numbers
from tinybuild.paths import Path, mapping, whole


def depths(node: Node) -> Iterator[Places]:
    for name in (*NAMES["depth"], *NAMES["side depth"]):
        if node.all(name):
            yield (node.at(name),)


def least_sizes(node: Node) -> Iterator[Places]:
    """What every model has. Of other sizes 0 says that there is no such part."""
    for name, value in node.data.items():
        if whole(value) and not is_id(name):
            main = name in (*NAMES["width"], "vocab_size", "patch_size", "image_size")
            if main or measures(name) in ("heads", "kv heads", "top k"):
                yield (node.at(name),)


def patch_and_image(node: Node) -> Iterator[Places]:
    if "window_size" not in node.data:  # Swin: what is missing is filled up
        yield from together("patch_size", "image_size")(node)


def token_ids(node: Node) -> Iterator[Places]:
    """Each id with the vocabulary that it is of: its own config's, or that of the text."""
    place = _vocabulary(node)
    if place is None or "num_codebooks" in node.data:
        return  # the ids of codes: there are as many vocabularies as books
    for name, value in node.data.items():
        if is_id(name) and any(True for _ in ids_in(name, value)):
            yield node.at(name), place


def _vocabulary(node: Node) -> Path | None:
    own = [(value, name) for name, value in numbers(node.data, "vocabulary")]
    if own:
        return node.at(max(own)[1]) if "vocab_size" in node.data else None
    for name in NAMES["text part"]:
        if whole(mapping(node.data, (name,)).get("vocab_size")):
            return node.at(name, "vocab_size")
    return None


def padding(node: Node) -> Iterator[Places]:
    place = _vocabulary(node)
    own = place == node.at("vocab_size") and "num_codebooks" not in node.data
    if own and place is not None and node.all("pad_token_id"):
        yield node.at("pad_token_id"), place


def mamba_width(node: Node) -> Iterator[Places]:
    if node.data.get("mamba_d_ssm") is None:
        yield from together("mamba_d_head", "mamba_n_heads", "mamba_expand", "hidden_size")(node)
    if node.all("state_size"):
        yield from together("head_dim", "num_heads", "expand", "hidden_size")(node)


def mamba_groups(node: Node) -> Iterator[Places]:
    heads = next((n for n in ("mamba_n_heads", "mamba_num_heads") if node.all(n)), None)
    groups = next((n for n in ("mamba_n_groups", "n_groups") if node.all(n)), None)
    if heads and groups and node.number(groups) > 0:
        yield node.at(groups), node.at(heads)


def conv_groups(node: Node) -> Iterator[Places]:
    names = ("num_conv_pos_embedding_groups", "hidden_size")
    if all(node.number(name) > 0 for name in names):
        yield from together(*names)(node)


LEAST: tuple[Relation, ...] = (
    Relation(words="{0} must be at least 1", keys=depths, holds=lambda n: n >= 1),
    Relation(words="{0} must be at least 1", keys=least_sizes, holds=lambda n: n >= 1),
)
SIZES: tuple[Relation, ...] = (
    Relation(
        words="{0} must be below {1}",
        keys=padding,
        holds=lambda pad, vocabulary: pad < vocabulary,
        least=0,
    ),
    Relation(
        words="{0} must be at most {1}",
        keys=patch_and_image,
        holds=lambda patch, image: patch <= image,
    ),
    Relation(
        words="{0} x {1} must be {2} x {3}",
        keys=mamba_width,
        holds=lambda dim, heads, expand, wide: dim * heads == expand * wide,
    ),
    Relation(
        words="{0} must be {1} x {2}",
        keys=together("mamba_d_ssm", "mamba_n_heads", "mamba_d_head"),
        holds=lambda inner, heads, dim: inner == heads * dim,
    ),
    Relation(
        words="{0} must divide {1}",
        keys=mamba_groups,
        holds=lambda groups, heads: heads % groups == 0,
    ),
    Relation(
        words="{0} must divide {1}",
        keys=conv_groups,
        holds=lambda groups, wide: wide % groups == 0,
    ),
    Relation(
        words="{0} must be below {1}",
        keys=token_ids,
        holds=lambda value, vocabulary: max(ids_in("", value)) < vocabulary,
        least=0,
        wished=1,
    ),
)
