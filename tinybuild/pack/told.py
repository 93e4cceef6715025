"""What a card tells of, as the stages before left it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tinybuild.bundle import DATASET
from tinybuild.facts import DatasetFacts, ModelShown, TokenizerShown
from tinybuild.paths import Json


@dataclass(frozen=True, kw_only=True)
class Checked:
    """One check's result: `state` is passed or not tried; none of a bundle's has failed."""

    name: str
    state: str
    note: str


@dataclass(frozen=True, kw_only=True)
class Changed:
    """A key of the config that is not as in the source, and why; None where there is none."""

    key: str
    before: Json
    after: Json
    reason: str


@dataclass(frozen=True, kw_only=True)
class Places:
    """What the recipe says of publishing that a card must know."""

    repo: str = ""
    dataset_repo: str = ""
    license: str = ""


@dataclass(frozen=True, kw_only=True)
class Told:
    """All that a card tells. recipe: its text. given: whether the vocabulary stands in it. credits:
    slot -> what the kind of its source says (`words`, the `repo` of the Hub that it is, `license`,
    `language`). changed: what differs from the source's config. languages: of the text that a
    vocabulary was learned from. versions: which transformers reads the bundle alike. drawn:
    whether there is a drawing of the model. expected: whether a port can be held to it."""

    name: str
    summary: str
    recipe: str
    given: bool
    credits: Mapping[str, Mapping[str, str]]
    model: ModelShown | None
    tokenizer: TokenizerShown | None
    dataset: DatasetFacts | None
    checks: tuple[Checked, ...]
    changed: tuple[Changed, ...]
    languages: tuple[str, ...]
    versions: str
    bytes: int
    drawn: bool = False
    expected: bool = False
    places: Places = field(default_factory=Places)

    @property
    def home(self) -> str:
        """Where from_pretrained finds it: its repository, or its folder in the zoo."""
        return self.places.repo or f"dist/{self.name}"

    @property
    def rows(self) -> str:
        """Where load_dataset finds its dataset; "" where that must be fetched first."""
        if self.places.dataset_repo or not self.places.repo:
            return self.places.dataset_repo or f"dist/{self.name}/{DATASET}"
        return ""
