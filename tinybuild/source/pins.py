"""What a recipe asks for and what it resolved to, and how messages speak of both."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinybuild.errors import Fault, SourceFault

# Suffixes of files that describe a config, a tokenizer or a processor. Weights (.safetensors, .bin,
# .pt, .h5, .onnx, .gguf ...), pickles and code (.py) are not among them.
WANTED = (
    *(".json", ".txt", ".model", ".spm", ".tiktoken", ".jinja", ".bpe", ".vocab", ".codes"),
    ".tokenizer",
)
UNWANTED = (".index.json",)  # the table of contents of sharded weights
# Of a dataset's files all are looked at but code and pickles; readers choose by format.
NO_DATA = (".py", ".pyc", ".ipynb", ".sh", ".so", ".dll", ".exe", ".pkl", ".pickle", ".pt", ".pth")
TEXT = (".txt",)
LISTS = ("keep", "text")  # lists of the tokenizer section that may name files of text
LARGEST = 100_000_000  # bytes of one upstream file; the largest tokenizer.json known has 35 MB


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What a recipe asks for: `kind` is one of KINDS, `data` the recipe's mapping as it stands.

    `slot` is the part of the recipe it feeds: source, tokenizer, dataset, or keep-0, text-3 for a
    file of text in a list of the tokenizer section. Paths are relative to `base`, the recipe's
    folder. `serves` is the model type whose processor a blank tokenizer is to know the tokens of.
    """

    slot: str
    kind: str
    data: Mapping[str, Any]
    base: Path
    serves: str | None = None


@dataclass(frozen=True, kw_only=True)
class Pin:
    """The fact a wish resolved to. `facts` is what a lock keeps; `files` says where the bytes are.

    `files` maps the name each file will have to a function that gives a readable path.
    """

    facts: Mapping[str, Any]
    files: Mapping[str, Callable[[], Path]]


def slot_key(wish: Wish) -> tuple[str | int, ...]:
    name, _, number = wish.slot.partition("-")
    if number:
        return ("tokenizer", name, int(number))
    return ("source",) if wish.slot == "source" else (wish.slot, "source")


def is_text(slot: str) -> bool:
    """Whether a slot is that of a file in a list of texts."""
    return slot.startswith(tuple(f"{name}-" for name in LISTS))


def useful(wish: Wish) -> tuple[tuple[str, ...], str]:
    """The suffixes of the files that a wish may stand for, and what they are."""
    if is_text(wish.slot):
        return TEXT, "text"
    return (("",), "data") if wish.slot == "dataset" else (WANTED, "config or tokenizer")


def title(wish: Wish) -> str:
    return f"{wish.kind} {wish.data[wish.kind]}"


def fault(wish: Wish, what: str, hint: str = "", key: str = "") -> Fault:
    return SourceFault.of(what, key=(*slot_key(wish), key or wish.kind), hint=hint)


def of_use(suffixes: tuple[str, ...]) -> str:
    wanted = ", ".join(f"*{suffix}" for suffix in suffixes if suffix)
    return f"of use are {wanted or 'files that are not hidden, and neither code nor pickles'}"


def wanted(name: str, suffixes: tuple[str, ...]) -> bool:
    """Whether a file, by its path, is one of those that end so; a hidden one never is."""
    unwanted = NO_DATA if suffixes == ("",) else UNWANTED
    hidden = any(part.startswith(".") for part in name.split("/"))
    return name.endswith(suffixes) and not name.endswith(unwanted) and not hidden


def check_sizes(wish: Wish, sizes: Iterable[tuple[str, int]]) -> None:
    for name, size in sizes:
        if size > LARGEST:
            raise fault(
                wish,
                f"{name} of {title(wish)} has {size:,} bytes; at most {LARGEST:,} are fetched",
                "a config or tokenizer file is never that large",
            )
