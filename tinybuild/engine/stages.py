"""The kinds of work that a recipe is made of, in their order, and what a task is."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tinybuild import wire
from tinybuild.paths import Json

if TYPE_CHECKING:
    from tinybuild import source
    from tinybuild.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One kind of work.

    function: what a worker calls with a Job; the code that it depends on is what its module imports
    (`engine.code`). libraries: the installed distributions whose version decides its bytes.
    outside: whether it looks at what is not in the zoo's build folder: local upstreams, and the
    network where a source needs one. recipe: whether it reads the recipe's text.
    """

    function: str
    libraries: tuple[str, ...] = ()
    outside: bool = False
    recipe: bool = False


STAGES: Mapping[str, Stage] = {
    "fetch": Stage(function="tinybuild.source:fetch", outside=True),
    "dataset": Stage(
        function="tinybuild.dataset.stage:make",
        libraries=("datasets", "pyarrow", "pillow", "soundfile", "soxr"),
    ),
    "tokenizer": Stage(
        function="tinybuild.tokenizer.stage:make",
        libraries=(
            *("transformers", "tokenizers", "sentencepiece", "sacremoses"),
            *("tiktoken", "mistral-common", "protobuf"),
        ),
    ),
    "model": Stage(
        function="tinybuild.model:make",
        libraries=(
            *("transformers", "torch", "safetensors", "gguf"),
            *("pillow", "torchvision", "torchaudio"),
        ),
    ),
    "validate": Stage(
        function="tinybuild.validate:make",
        libraries=(
            *("transformers", "tokenizers", "torch", "datasets", "pyarrow", "soundfile", "soxr"),
            *("sentencepiece", "tiktoken", "mistral-common", "pillow", "torchvision", "torchaudio"),
            *("gguf", "peft", "sentence-transformers"),
        ),
    ),
    "pack": Stage(function="tinybuild.pack:make", recipe=True),
}


@dataclass(frozen=True, kw_only=True)
class Need:
    """A part of another task's receipt: files below any of `files` ("" is all), and these facts.

    It is all that the stage sees of the other one: its folder holds these files and no others.
    """

    name: str
    task: str
    files: tuple[str, ...] = ()
    facts: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, stage: str, recipe: str, *, files: tuple[str, ...] = (), facts: type | None = None
    ) -> Need:
        """A need of a stage of the same recipe; the facts are the fields of the class that the
        stage reads them through (`Job.read`)."""
        names = wire.keys(facts) if facts is not None else ()
        return cls(name=stage, task=f"{stage}:{recipe}", files=files, facts=names)

    def covers(self, file: str) -> bool:
        """Whether a file of the other stage is among the needed ones."""
        return file.startswith(self.files)


@dataclass(frozen=True, kw_only=True)
class Slice:
    """What one stage needs of a recipe: settings (JSON data), parts of receipts, sources that it
    looks at itself, and tasks that come first although nothing of them is read. libraries: those
    whose version it takes note of, beside those of its stage. draws: whether it makes use of its
    seed, which is the recipe's own; else the seed is 0, and recipes share what it makes."""

    settings: Mapping[str, Json]
    needs: tuple[Need, ...] = ()
    wishes: tuple[source.Wish, ...] = ()
    after: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()
    draws: bool = False


@dataclass(frozen=True, kw_only=True)
class Task:
    """One stage of one recipe, with its slice."""

    name: str
    stage: str
    recipe: Recipe
    slice: Slice
    seed: int

    @property
    def settings(self) -> Mapping[str, Json]:
        return self.slice.settings

    @property
    def needs(self) -> tuple[Need, ...]:
        return self.slice.needs

    @property
    def wishes(self) -> tuple[source.Wish, ...]:
        return self.slice.wishes

    @property
    def libraries(self) -> tuple[str, ...]:
        """The installed distributions whose version is a part of the task's state."""
        return (*STAGES[self.stage].libraries, *self.slice.libraries)

    @property
    def before(self) -> tuple[str, ...]:
        """Names of the tasks that must be done first."""
        needed = (need.task for need in self.slice.needs)
        return tuple(dict.fromkeys((*self.slice.after, *needed)))


def seed(given: int, recipe: str, stage: str) -> int:
    """A stage's seed, 0 .. 2**32 - 1: sha256 of the recipe's seed and the two names."""
    return int.from_bytes(hashlib.sha256(f"{given}/{recipe}/{stage}".encode()).digest()[:4], "big")
