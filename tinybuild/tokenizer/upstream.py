"""The files of a source that say something of its tokens, and what they say together."""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinybuild.errors import BuildFault
from tinybuild.reading import reading
from tinybuild.tokenizer import ranks, sample, slow, spm, tokenizer_json
from tinybuild.tokenizer.choose import ALPHABET, TEXT, Space, ranked
from tinybuild.tokenizer.format import AnyHeld, Format, Held
from tinybuild.tokenizer.segmenter import LETTERS
from tinybuild.tokenizer.tokenizer_json import TokenizerJson

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# The first that holds a file is its format.
FORMATS: tuple[Format[Any], ...] = (
    tokenizer_json.TOKENIZER_JSON,
    ranks.TEKKEN,
    ranks.TIKTOKEN,
    spm.SENTENCEPIECE,
)
# The letters of a source's first words are an alphabet that any of its texts needs.
ASCII, WORDS, WORD = tuple(map(chr, range(33, 127))), 256, re.compile(r"[^\W\d_]{2}")


@dataclass(frozen=True, kw_only=True)
class Files:
    """Vocabulary files, checked.

    folder: where they are. json: tokenizer.json, None where there is none. beside: other files that
    one library or the other reads a whole vocabulary from, by name.
    """

    folder: Path
    json: TokenizerJson | None
    beside: Mapping[str, AnyHeld]


def read(folder: Path) -> Files:
    """The vocabulary files of a folder. Raises BuildFault for what transformers would read wrongly,
    or complain of unclearly."""
    beside, own = {}, folder / tokenizer_json.NAME
    for path in sorted(filter(Path.is_file, folder.iterdir())) if folder.is_dir() else ():
        format_ = format_of(path)
        if format_ is not None and path != own:
            with reading(f"the source's {path.name}", "tokenizer"):
                beside[path.name] = Held(format=format_, content=format_.read(path))
    with reading(f"the source's {tokenizer_json.NAME}", "tokenizer"):
        json_ = tokenizer_json.read(own) if own.is_file() else None
    return Files(folder=folder, json=json_, beside=beside)


def format_of(path: Path) -> Format[Any] | None:
    """The format of a file; None for what is not a vocabulary."""
    return next((format_ for format_ in FORMATS if format_.holds(path)), None)


@dataclass(frozen=True, kw_only=True)
class Upstream:
    """The tokenizer that a method starts from: its files, and what transformers makes of them."""

    files: Files
    loaded: PreTrainedTokenizerBase

    @cached_property
    def fast(self) -> TokenizerJson | None:
        """The pipeline and vocabulary of a fast tokenizer, from its tokenizer.json or from what
        transformers made of other files; None for a class that has none."""
        if not self.loaded.is_fast:
            return None
        written = self.loaded.backend_tokenizer.to_str
        return self.files.json or TokenizerJson(data=json.loads(written()))

    @property
    def beside(self) -> Mapping[str, AnyHeld]:
        """The other vocabulary files. Those of a slow class are its own (module slow), but for a
        tokenizer.json of the same tokens with the same ids."""
        if self.fast is not None:
            return self.files.beside
        file = self.files.json
        if file is None or any(self.ids.get(name) != n for n, name in file.names.items()):
            return {}
        return {tokenizer_json.NAME: Held(format=tokenizer_json.TOKENIZER_JSON, content=file)}

    @cached_property
    def ids(self) -> Mapping[str, int]:
        """The vocabulary, as the loaded tokenizer numbers it."""
        vocabulary: dict[str, int] = self.loaded.get_vocab()
        return vocabulary

    @cached_property
    def spaces(self) -> tuple[Space, ...]:
        """The vocabularies, the main one first. Raises BuildFault."""
        if self.fast is None:
            main, *more = slow.spaces(self.loaded, self.files.folder)
            others = tuple(file.segmenter() for file in self.beside.values())
            main = dataclasses.replace(main, segmenters=(*main.segmenters, *others))
            return (main, *more)
        ids, source = self.ids, self.loaded
        numbers = Counter(ids.values())
        if len(numbers) < len(ids):
            number = next(n for n, times in numbers.items() if times > 1)
            tokens = " and ".join(repr(token) for token, n in ids.items() if n == number)
            raise BuildFault.of(
                f"{tokens} have the same id {number} when transformers has loaded the source",
                key=("tokenizer",),
                hint="its ids have holes, and added tokens are numbered by how many there are; "
                "give a source whose ids have none",
            )
        self._of_one_algorithm()
        own = Held(format=tokenizer_json.TOKENIZER_JSON, content=self.fast)
        held: dict[str, AnyHeld] = {tokenizer_json.NAME: own, **self.beside}
        for name, file in held.items():
            strangers = file.strangers(ids.keys())
            if strangers:
                shown = ", ".join(map(repr, strangers[:3]))
                raise BuildFault.of(
                    f"{name} disagrees with {type(source).__name__}, which does not have "
                    f"{len(strangers):,} of its tokens, such as {shown}",
                    key=("tokenizer",),
                    hint="they are not of one tokenizer; leave one of the two out",
                )
        added = {*source.get_added_vocab(), *source.all_special_tokens}
        return (
            Space(
                name="",
                ids=ids,
                segmenters=tuple(file.segmenter() for file in held.values()),
                atoms=tokenizer_json.added(self.fast) | added,
            ),
        )

    def _of_one_algorithm(self) -> None:
        """Raises BuildFault where a class makes another tokenizer of tokenizer.json's vocabulary:
        RobertaTokenizer one of BPE without merges of a WordPiece, which cuts text into letters."""
        file, source = self.files.json, self.loaded
        told = file.data["model"]["type"] if file is not None else None
        made = type(source.backend_tokenizer.model).__name__
        if told not in (None, made):
            raise BuildFault.of(
                f"tokenizer.json cuts text by {told}, and {type(source).__name__}, which the "
                f"source's files name, by {made}",
                key=("tokenizer",),
                hint="name the class that takes a tokenizer.json as it is: "
                "tokenizer: {class: PreTrainedTokenizerFast}",
            )

    def alphabet(self, given: Sequence[str]) -> Mapping[str, str]:
        """The letters that a vocabulary must hold -> ALPHABET or TEXT (`choose.choose`).

        All of a closed alphabet; else those of ASCII, of the source's first words, and, as TEXT, of
        the texts that the recipe gives. Where unknown characters are spelled in bytes
        (`byte_fallback`) only those that the pipeline itself writes are needed: U+2581 for a space,
        as bytes, would come back as U+2581.
        """
        if self.fast is None:
            own, more = {"\u2581", *"".join((*ASCII, *self.words))}, {*"".join(given)}
        elif tokenizer_json.byte_level(self.fast):
            own, more = {*LETTERS}, set()
        else:
            backend, two = self.loaded.backend_tokenizer, "a a"
            own, more = {*"".join(sample.words([two], backend))} - {*two}, set()
            if not self.fast.data["model"].get("byte_fallback"):
                own |= {*"".join((*sample.words(ASCII, backend), *self.words))}
                more = {*"".join(sample.words(given, backend))}
        return {**dict.fromkeys(sorted(more), TEXT), **dict.fromkeys(sorted(own), ALPHABET)}

    @property
    def words(self) -> Sequence[str]:
        """The first words of each vocabulary by rank: tokens with two letters side by side."""
        return [
            token
            for space in self.spaces
            for token in itertools.islice(
                (t for t in ranked(space) if WORD.search(t) and t[0] not in "[<"), WORDS
            )
        ]

    def used(self, texts: Sequence[str]) -> Mapping[str, Counter[str]]:
        """Space name -> how often each token occurs in the texts."""
        if self.fast is None:
            return slow.used(self.loaded, texts)
        counts: Counter[int] = Counter()
        for cut in sample.cut(self.loaded, texts):
            counts.update(cut or ())
        tokens = self.loaded.convert_ids_to_tokens(list(counts))
        return {"": Counter(dict(zip(tokens, counts.values(), strict=True)))}
