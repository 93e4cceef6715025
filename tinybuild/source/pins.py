"""What a recipe asks for and what it resolved to, and how messages speak of both."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tinybuild import named, wire
from tinybuild.errors import Fault, SourceFault
from tinybuild.paths import Data, Json, mapping

# Suffixes of files that describe a config, a tokenizer or a processor. Weights (.safetensors, .bin,
# .pt, .h5, .onnx, .gguf ...), pickles and code (.py) are not among them.
WANTED = (
    *(".json", ".txt", ".model", ".spm", ".tiktoken", ".jinja", ".bpe", ".vocab", ".codes"),
    *(".tokenizer", "merges.txt.gz", "bpe_simple_vocab_16e6.txt.gz"),
)
UNWANTED = (".index.json",)  # the table of contents of sharded weights
# Of a dataset's files all are looked at but code and pickles; readers choose by format.
NO_DATA = (".py", ".pyc", ".ipynb", ".sh", ".so", ".dll", ".exe", ".pkl", ".pickle", ".pt", ".pth")
TEXT = (".txt", ".jinja")
# Keys of the tokenizer section that may name files of text, one or a list of them.
LISTS = ("keep", "text", "chat_template")
LARGEST = 100_000_000  # bytes of one upstream file; the largest tokenizer.json known has 35 MB


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What a recipe asks for: `kind` is one of KINDS, `data` the recipe's mapping as it stands.

    `slot` is the part of the recipe it feeds: source, tokenizer, dataset, or keep-0, text-3 for a
    file of text in a list of the tokenizer section; source.backbone for a part that the source
    names. Paths are relative to `base`, the recipe's
    folder. `serves` is the model type whose processor a blank tokenizer is to know the tokens of.
    """

    slot: str
    kind: str
    data: Data
    base: Path
    serves: str | None = None

    def text(self, key: str = "", default: str = "") -> str:
        """A value of the wish that is text; by default what the kind's own key says."""
        return str(self.data.get(key or self.kind, default))

    @property
    def place(self) -> Path:
        """Where a path of the recipe leads."""
        return self.base / self.text("path")


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A file as the Hub lists it. oid: sha256 if it is kept in LFS, else the sha1 of git's blob."""

    size: int
    oid: str


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A file of a pin: its sha256 and its size in bytes.

    Of a file that was read in parts: both are those of what was read, `ranges` maps "START-STOP" to
    a sha256, and `whole` is the file itself.
    """

    sha256: str
    size: int
    ranges: Mapping[str, str] = field(default_factory=dict)
    whole: Listed | None = None


@dataclass(frozen=True, kw_only=True)
class Pin:
    """The fact a wish resolved to: what a lock keeps. `facts`: those of its kind (commit ...)."""

    wish: Data
    facts: Mapping[str, str]
    files: Mapping[str, Entry]

    @classmethod
    def read(cls, data: Data) -> Pin:
        """From JSON data that fits schemas/lock.v1.schema.json."""
        return cls(
            wish=mapping(data["wish"]),
            facts={k: str(v) for k, v in data.items() if k not in ("wish", "files")},
            files=wire.load(_Files, {"files": data["files"]}).files,
        )

    def json(self) -> dict[str, Json]:
        """As JSON data."""
        return {"wish": dict(self.wish), **self.facts, "files": wire.dump(self.files)}


@dataclass(frozen=True, kw_only=True)
class _Files:
    files: Mapping[str, Entry]


def slot_key(wish: Wish) -> tuple[str | int, ...]:
    name, _, number = named.owner(wish.slot).partition("-")
    if number:
        return ("tokenizer", name, int(number))
    return ("source",) if name == "source" else (name, "source")


def is_text(slot: str) -> bool:
    """Whether a slot is that of a file in a list of texts."""
    return slot.startswith(tuple(f"{name}-" for name in LISTS))


def useful(wish: Wish) -> tuple[tuple[str, ...], str]:
    """The suffixes of the files that a wish may stand for, and what they are."""
    if is_text(wish.slot):
        return TEXT, "text"
    return (("",), "data") if wish.slot == "dataset" else (WANTED, "config or tokenizer")


def title(wish: Wish) -> str:
    return f"{wish.kind} {wish.text()}"


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


def taken(wish: Wish, name: str) -> bool:
    """Whether a file of an upstream, by its path there, is one that the wish may stand for: of a
    model those at the top, and chat templates at any depth; of a dataset neither code nor pickles,
    the card says the rest."""
    if named.is_part(wish.slot):
        return name == wish.text("file", named.CONFIG) and name.endswith(".json")
    if "files" in wish.data:
        return name in mapping(wish.data["files"])
    if wish.slot == "dataset":
        return not name.endswith(NO_DATA)
    base = name.rpartition("/")[2]
    return wanted(base, WANTED) and (base == name or base.endswith(".jinja"))


def check_sizes(wish: Wish, sizes: Iterable[tuple[str, int]]) -> None:
    for name, size in sizes:
        if size > LARGEST:
            raise fault(
                wish,
                f"{name} of {title(wish)} has {size:,} bytes; at most {LARGEST:,} are fetched",
                "a config or tokenizer file is never that large",
            )
