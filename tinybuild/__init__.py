"""tinybuild builds tiny models, tokenizers and datasets from recipes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from tinybuild.use.loaded import Bundle
    from tinybuild.use.ported import assert_matches_expected

__version__ = "0.1.0"


def load(name: str, zoo: str | Path | None = None) -> Bundle:
    """A bundle, built if need be: load("llama").model(). zoo: its folder; without it TINYBUILD_ZOO,
    the nearest zoo at or above the current folder, or the few recipes that come with tinybuild."""
    from tinybuild.use.zoo import find, one

    return one(find(zoo), name)


def path(name: str, zoo: str | Path | None = None) -> Path:
    """The folder of a bundle, built if need be."""
    return load(name, zoo).path


def __getattr__(name: str) -> object:
    """`assert_matches_expected` is imported when it is asked for: with numpy and safetensors."""
    if name == "assert_matches_expected":
        from tinybuild.use.ported import assert_matches_expected

        return assert_matches_expected
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["__version__", "assert_matches_expected", "load", "path"]
