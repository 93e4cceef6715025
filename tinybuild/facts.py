"""What the stages tell one another: the facts of each receipt, and who reads which of them.

A stage returns the class of its name (`TokenizerFacts`). A stage that reads fewer facts than there
are does so through a class of its own with just those: its task depends on exactly the fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

# --- fetch ----------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class FetchShown:
    """What a card tells. pins: slot -> the fact that a wish resolved to, as the lock has it.
    credits: slot -> what a card says of it (`words`, and the `repo` of the Hub that it is)."""

    pins: Mapping[str, object]
    credits: Mapping[str, Mapping[str, str]]


# --- tokenizer ------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Ids:
    """What a model must know of its tokenizer.

    sizes: config key -> rows of an embedding. special: role -> id. moved: the source's id (as text)
    -> new id, of those that the source's configs mention. keep: whether it is the source's own
    tokenizer. missing: what becomes of an id that has no token (error, unk, or, where the source's
    ids mean nothing, any that fits).
    """

    sizes: Mapping[str, int]
    special: Mapping[str, int]
    moved: Mapping[str, int]
    keep: bool
    missing: str


@dataclass(frozen=True, kw_only=True)
class Unreachable:
    """Tokens that no text gives, and how many of them none gives in the source either."""

    tokens: int
    in_source: int


@dataclass(frozen=True, kw_only=True)
class CharactersPerToken:
    """Of the sample."""

    source: float
    tiny: float


@dataclass(frozen=True, kw_only=True)
class Shrunk:
    """What became of a vocabulary of which a part was kept.

    kept: reason -> number of tokens. trimmed: shape of reserved tokens without room -> how many.
    coverage: share of the sample's source tokens that were kept. disagreed: file of the source
    that cuts text otherwise than AutoTokenizer -> what became of it.
    """

    source_size: int
    source_largest_id: int
    kept: Mapping[str, int]
    trimmed: Mapping[str, int]
    unreachable: Unreachable
    coverage: float
    characters_per_token: CharactersPerToken
    disagreed: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class TokenizerIds:
    """What the model stage reads: another vocabulary of the same size leaves a model as it is."""

    ids: Ids


@dataclass(frozen=True, kw_only=True)
class TokenizerShown:
    """What a card tells. rows: of the embedding that it wants. bytes: of its files. unused: tokens
    that fill a vocabulary for which the text gave fewer."""

    class_: str
    method: str
    vocab_size: int
    rows: int
    bytes: int
    shrunk: Shrunk | None
    unused: int


@dataclass(frozen=True, kw_only=True)
class TokenizerFacts(TokenizerShown, TokenizerIds):
    """All of them; the checks look at all."""


# --- model ----------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Form:
    """A form of the model beside what from_pretrained saves by itself. path: its file or folder in
    the bundle. words: what a card says of it."""

    kind: Literal["shards", "pickle", "adapter", "modules", "gguf"]
    path: str
    words: str


@dataclass(frozen=True, kw_only=True)
class ModelShown:
    """What a card tells and the checks look at. tensor_parallel: on how many devices it can be
    split at most. length: tokens of a text that it has places for; None where its config bounds
    none. processor: its classes; without: what of the source's is another repository's, and is not
    in the bundle. forms: other forms of it that the recipe asked for. tag: what the
    Hub calls its task, "" where it has no word for it."""

    class_: str
    parameters: int
    dtype: str
    tensor_parallel: int
    length: int | None
    processor: tuple[str, ...]
    without: tuple[str, ...]
    forms: tuple[Form, ...]
    tag: str


@dataclass(frozen=True, kw_only=True)
class ModelFacts(ModelShown):
    """All of them. vocab_size: None where the config of the text part has none. draw: how many
    draws before that of the weights made a model that continues its prompts alike."""

    model_type: str
    modalities: tuple[str, ...]
    vocab_size: int | None
    draw: int


# --- dataset --------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class File:
    """A file as a receipt or a lock knows it."""

    sha256: str
    size: int


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where rows come from. files: the local ones, by name. about: what the source's card says."""

    files: Mapping[str, File]
    about: Mapping[str, object]


@dataclass(frozen=True, kw_only=True)
class DatasetRows:
    """What the checks look at. rows: of all splits of all configs. columns: (name, type) of the
    default config, in their order. configs: config -> split -> rows."""

    rows: int
    columns: tuple[tuple[str, str], ...]
    configs: Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, kw_only=True)
class DatasetFacts(DatasetRows):
    """All of them; a card tells all."""

    source: Origin


# --- validate and pack ----------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class ValidateFacts:
    """checks: how many passed. untried: how many could not be tried where it was built. bytes: of
    the files that were checked. from_bundle: how that check ended, "" where there is nothing to
    use. given_up: what of the source could not be kept, and why."""

    checks: int
    untried: int
    bytes: int
    from_bundle: str
    given_up: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class PackFacts:
    """bytes: of the folder. tar: sha256 of the uncompressed archive."""

    bytes: int
    tar: str
