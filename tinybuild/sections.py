"""The sections of a recipe as types: what its data is once the defaults are filled in.

`schemas/recipe.v1.schema.json` says what each key means; a test holds these types to it, key by
key. A key that is not `NotRequired` is always there: the recipe gives it, or the schema's default.
"""

# Not with `from __future__ import annotations`, which hides from Python which keys are required.
from collections.abc import Mapping
from typing import Literal, NotRequired, TypedDict

from tinybuild.paths import Json

Amount = int | str  # parameters, or text such as 50M; `recipe.amount` reads it
Size = int | str  # bytes, or text such as 4MB; `recipe.size` reads it
Scalar = str | int | float | bool | None


class Source(TypedDict, total=False):
    """Where the config and the tokenizer come from: one of hub, path, package, transformers and
    recipe, and what belongs to it."""

    hub: str
    revision: str
    path: str
    package: str
    files: Mapping[str, str]  # name here -> path in the package
    transformers: str
    recipe: str


class DatasetSource(TypedDict):
    """Where rows come from: one of hub, path, package and recipe, and which part of it."""

    hub: NotRequired[str]
    revision: NotRequired[str]
    path: NotRequired[str]
    package: NotRequired[str]
    files: NotRequired[Mapping[str, str]]
    recipe: NotRequired[str]
    config: NotRequired[str]
    split: NotRequired[str]
    sample_by: NotRequired[Literal["line", "paragraph", "document"]]
    data_files: NotRequired[str | list[str] | Mapping[str, str | list[str]]]
    format: NotRequired[Literal["csv", "json", "text"]]
    sep: NotRequired[str]
    encoding: NotRequired[str]
    field: NotRequired[str]
    max_read: Size


class Bounds(TypedDict, total=False):
    """A condition on a column: from min to max, both taken."""

    min: float | str
    max: float | str


class Drop(TypedDict):
    """Columns to leave out."""

    drop: list[str]


class Text(TypedDict):
    """What becomes of every text."""

    max_chars: int


class Images(TypedDict):
    """What becomes of every image."""

    max_size: int


class Audio(TypedDict, total=False):
    """What becomes of every sound."""

    max_seconds: float
    sampling_rate: int


Where = Mapping[str, Scalar | list[Scalar] | Bounds]
Columns = list[str] | Drop


class Choice(TypedDict, total=False):
    """Which rows: `samples` of them chosen by `select`, or those with the numbers in `rows`."""

    samples: int
    at_most: bool
    select: Literal["first", "random", "spread"]
    rows: str | int
    where: Where


class SplitPart(Choice, total=False):
    """What is different for one split of the dataset."""

    split: str


class Changes(Choice, total=False):
    """Which rows, and what becomes of them."""

    columns: Columns
    text: Text
    images: Images
    audio: Audio
    splits: Mapping[str, SplitPart | None]


class ConfigPart(Changes, total=False):
    """What is different for one config of the dataset."""

    config: str


class Dataset(Changes, total=False):
    """The section `dataset`."""

    source: DatasetSource
    records: str
    configs: Mapping[str, ConfigPart | None]
    expand: list[str]
    seed: int


class Passage(TypedDict, total=False):
    """A text, or a file of texts: one of the two."""

    text: str
    file: str


class File(TypedDict):
    """A file from the recipe's folder."""

    file: str


# `class` is a word of Python's.
_Class = TypedDict("_Class", {"class": NotRequired[str]})


class Tokenizer(_Class):
    """The section `tokenizer`. `method` is a name in `tokenizer.methods.METHODS`; where a recipe
    names none, reading it puts in the one that its source wants."""

    source: NotRequired[Source]
    method: NotRequired[str]
    vocab_size: NotRequired[int]
    pad_to_multiple_of: NotRequired[int]
    missing_ids: NotRequired[Literal["error", "unk"]]
    chat_template: NotRequired[str | File]
    special_tokens: NotRequired[list[str] | Mapping[str, str]]
    pad_token: NotRequired[str]
    keep: NotRequired[list[str | Passage]]
    text: NotRequired[
        Literal["dataset", "plain", "multilingual", "vocabulary"] | list[str | Passage]
    ]
    weighted: NotRequired[bool]
    vocab: NotRequired[list[str] | Mapping[str, list[str]]]
    merges: NotRequired[list[str]]
    options: NotRequired[Mapping[str, Scalar | list[str]]]


class Adapter(TypedDict, total=False):
    """A LoRA adapter: on which layers, of which rank, and its alpha."""

    modules: list[str]
    rank: int
    alpha: int


class Sentences(TypedDict):
    """What makes one vector of a sentence's."""

    pooling: Literal["mean", "cls", "lasttoken", "max"]
    normalize: bool


class Gguf(TypedDict, total=False):
    """A file for llama.cpp, and its name for the pre-tokenizer."""

    pre: str


class Model(TypedDict):
    """The section `model`."""

    architecture: str
    shrink: Literal["auto", "none"]
    size: Literal["tiny", "small"]
    tensor_parallel: NotRequired[Literal[2, 4, 8, 16]]
    layers: NotRequired[int]
    max_parameters: NotRequired[Amount]
    max_bytes: NotRequired[Size]
    config: Mapping[str, Json]
    dtype: NotRequired[Literal["float32", "float16", "bfloat16"]]
    initializer_range: NotRequired[float]
    seed: NotRequired[int]
    shards: NotRequired[int]
    format: NotRequired[Literal["safetensors", "bin"]]
    adapters: NotRequired[Mapping[str, Adapter]]
    sentence_transformer: NotRequired[Sentences]
    gguf: NotRequired[Gguf]


class Checks(TypedDict):
    """The section `checks`."""

    max_parameters: Amount
    max_coincidences: int
    max_bytes: NotRequired[Size]


class Publish(TypedDict, total=False):
    """The section `publish`; zoo.yaml may hold another one, for all recipes."""

    repo: str
    dataset_repo: str
    private: bool
    direct: bool
    collection: str
    license: str
    redistribute: bool


class Limits(TypedDict):
    """The section `limits`."""

    seconds: int
    memory: Size


class Sections(TypedDict):
    """All of a recipe."""

    version: Literal[1]
    summary: str
    seed: int
    source: NotRequired[Source]
    dataset: NotRequired[Dataset]
    tokenizer: NotRequired[Tokenizer]
    model: NotRequired[Model]
    compat: NotRequired[Literal["transformers-4"]]
    publish: NotRequired[Publish]
    checks: Checks
    limits: Limits
