"""Token ids of a smaller vocabulary, where no tokenizer says what they become."""

from __future__ import annotations

from tinybuild.config.tree import Tree
from tinybuild.keys import ids_in, is_id, measures, replaced, says
from tinybuild.paths import whole


def token_ids(tree: Tree) -> None:
    """Ids above the vocabulary move to distinct places at its top; equal ones stay equal."""
    sizes = [
        size
        for _, node in tree.nodes()
        if whole(size := node.get("vocab_size")) and "vocab_offset" not in node  # part of another's
    ]
    if not sizes:
        return
    top = min(sizes)
    ids = {
        number
        for _, node in tree.nodes()
        for name, value in node.items()
        if is_id(name)
        for number in ids_in(name, value)
    }
    free = (number for number in range(top - 1, 0, -1) if number not in ids)
    large = sorted((number for number in ids if number >= top), reverse=True)
    moved = {number: next(free, None) for number in large}
    for path, name, value in tree.items():
        if value is None and says(name, "placeholder"):
            tree.set((*path, name), next(free), "rule ids: left open in the source")
    for path, name, value in tree.items():
        if is_id(name) and any(number in moved for number in ids_in(name, value)):
            new = replaced(name, value, lambda number: moved.get(number, number))
            tree.set((*path, name), new, "rule ids: inside the vocabulary")
    _stretches(tree)


def _stretches(tree: Tree) -> None:
    """A stretch of the vocabulary that belongs to a modality goes where its ids went."""
    moved: dict[int, int] = {}
    for path, name, value in tree.items():
        if is_id(name):
            before = ids_in(name, tree.was((*path, name)))
            moved.update(zip(before, ids_in(name, value), strict=False))
    for path, _ in tree.nodes():
        start, length = (tree.was((*path, name)) for name in ("vocab_offset", "vocab_size"))
        if not (whole(start) and whole(length)):
            continue
        inside = [new for old, new in moved.items() if start <= old < start + length]
        if not inside:
            continue
        reason = "rule ids: the stretch of the modality's"
        tree.set((*path, "vocab_offset"), min(inside), reason)
        tree.set((*path, "vocab_size"), max(inside) - min(inside) + 1, reason)
        for other, name, value in tree.items():
            same = whole(value) and tree.was((*other, name)) == start
            if same and measures(name) == "vocabulary":
                tree.set((*other, name), min(inside), "rule ids: up to a modality's stretch")
