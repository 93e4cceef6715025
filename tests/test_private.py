"""Private names of libraries: any release may take them away, so each that is used has a reason."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "tinybuild"
LOOKED_UP = {"getattr", "hasattr", "setattr", "delattr"}

# Name -> (library, why nothing public does).
PRIVATE: dict[str, tuple[str, str]] = {
    "_ArrayXD": ("datasets", "the one class above Array2D to Array5D"),
    "_EXTENSION_TO_MODULE": ("datasets", "which reader load_dataset takes for a suffix"),
    "_MODULE_TO_EXTENSIONS": (
        "datasets",
        "the other way: suffixes of media",
    ),
    "_generate_examples": ("datasets", "rows of a folder of media one at a time, without a cache"),
    "_generate_tables": ("datasets", "tables of one file, without a cache or a prepared split"),
    "_split_generators": ("datasets", "which files and metadata a folder's splits are of"),
    "_getframe": (
        "sys",
        "who reads a key of a config; inspect.stack is 1,000 times slower",
    ),
    "_BatchNorm": ("torch", "the one class above BatchNorm1d to 3d and SyncBatchNorm"),
    "_python_dispatch": ("torch", "the one way to stand in for every operator of torch"),
    "_schema": ("torch", "which arguments an operator writes to, and what they are called"),
    "_has_ops": ("torchvision", "whether its compiled part loaded; importing it does not tell"),
    "_no_grad_trunc_normal_": ("torch", "its draws again are as many as chance wants"),
    "_buffers": ("torch", "a buffer is cast in place and stays what it was: saved or not"),
    "_convert_id_to_token": ("transformers", "a slow class's own table, without added tokens"),
    "_convert_token_to_id": ("transformers", "a slow class's own table, without added tokens"),
    "_get_dtype_plan": ("transformers", "which weights from_pretrained keeps in float32"),
    "_set_model_specific_special_tokens": (
        "transformers",
        "a special token with its own name",
    ),
    "_switch_to_input_mode": ("transformers", "text of the source language, after the target's"),
    "_switch_to_target_mode": ("transformers", "text of the target language is cut by other rules"),
    "_tokenizer": ("transformers", "the fast tokenizer inside is read-only by its public name"),
}


def private(name: str) -> bool:
    return name.startswith("_") and not (name.startswith("__") and name.endswith("__"))


def used(tree: ast.AST) -> Iterator[tuple[str, bool]]:
    """(name, whether it may be the module's own) that a module uses: attributes, imports, keyword
    arguments, and names given as text to getattr and its like."""
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Attribute):
            itself = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            yield node.attr, itself
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or "", *(alias.name for alias in node.names)]
        elif isinstance(node, ast.keyword):
            yield node.arg or "", True
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            texts = [arg.value for arg in node.args[1:2] if isinstance(arg, ast.Constant)]
            names = [str(text) for text in texts] if node.func.id in LOOKED_UP else []
        yield from ((part, False) for name in names for part in name.split("."))


def defined(tree: ast.AST) -> Iterator[str]:
    """Names that a module gives to functions, classes and attributes of its objects."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr


def found(trees: Sequence[ast.AST]) -> set[str]:
    ours = {name for tree in trees for name in defined(tree)}
    return {
        name
        for tree in trees
        for name, itself in used(tree)
        if private(name) and not (itself and name in ours)
    }


def test_every_private_name_of_a_library_has_a_reason() -> None:
    trees = [ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))]
    assert sorted(found(trees)) == sorted(PRIVATE)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("import torch\ntorch._C.x()", {"_C"}),
        ("import torch._C", {"_C"}),
        ("from torch._inductor import config", {"_inductor"}),
        ("from torch import _C", {"_C"}),
        ("hasattr(x, '_y')", {"_y"}),
        ("load(_fast=True)", {"_fast"}),
        ("class A:\n  def _own(self): self._own()", set()),
        ("class A(B):\n  def f(self): self._theirs()", {"_theirs"}),
        ("def _own(): ...\nx._own", {"_own"}),
        ("x.__class__", set()),
    ],
)
def test_what_counts_as_a_private_name(text: str, names: set[str]) -> None:
    assert found([ast.parse(text)]) == names
