"""A format of vocabularies and an algorithm are one entry each: a test adds one of both."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Set
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from kit.faults import refused
from kit.stage import MakeJob
from kit.vocabularies import english, folder_of, shrinking

from tinybuild import wire
from tinybuild.tokenizer import sample, stage, tokenizer_json, upstream
from tinybuild.tokenizer.format import Format
from tinybuild.tokenizer.segmenter import Segmenter
from tinybuild.tokenizer.tokenizer_json import TokenizerJson
from tinybuild.tokenizer.words import Words
from tinybuild.validate.shrunk import formats_agree
from tinybuild.validate.subject import Subject

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

WORD = re.compile(r"\w+|[^\w\s]+")


class Led(Segmenter):
    """Words that their first letters lead to. A subset cuts text as the whole does, for a word that
    is kept has its first letter."""

    def parts(self, token: str) -> Set[str] | None:
        return {token[0]} & self.tokens.keys() - {token}


def split(text: str, beside: PreTrainedTokenizerBase) -> list[str]:
    return sample.split(text, beside.backend_tokenizer)


def read(path: Path) -> list[str]:
    return path.read_text().split("\n")


def library(path: Path, beside: PreTrainedTokenizerBase) -> Callable[[str], list[str]]:
    known = set(read(path))
    return lambda text: [word if word in known else "<unk>" for word in split(text, beside)]


# A token a line; a file of it needs its last token.
TOY = Format(
    holds=lambda path: path.suffix == ".toy",
    read=read,
    tokens=lambda tokens: tokens,
    required=lambda tokens: {tokens[-1]: "the last"},
    segmenter=lambda tokens: Led(tokens={token: n for n, token in enumerate(tokens)}),
    cut=lambda tokens, kept: "\n".join(token for token in tokens if token in kept).encode(),
    library=library,
)


def whole_words(tokens: list[str]) -> str:
    """A tokenizer.json of these words."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    vocab = {token: number for number, token in enumerate(tokens)}
    made = Tokenizer(models.WordLevel(vocab=vocab, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return str(made.to_str())


def subject_of(out: Path, source: Path, facts: object) -> Subject:
    known = {"tokenizer": wire.dump(facts)}
    return Subject(folder=out, scratch=out, facts=known, seed=0, original=source)


def test_another_format_is_cut_and_read(
    job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = {word for text in english() for word in WORD.findall(text)}
    tokens = ["<unk>", *sorted({letter for word in words for letter in word} | words), "zzz"]
    files = {"tokenizer.json": whole_words(tokens), "words.toy": "\n".join(tokens)}
    fetch = folder_of(tmp_path / "fetch", files)
    monkeypatch.setattr(upstream, "FORMATS", (*upstream.FORMATS, TOY))
    work = shrinking(job, fetch, method="corpus", vocab_size=300, text="multilingual")
    facts = stage.make(work)
    assert facts.shrunk is not None
    assert facts.shrunk.kept["the last"] == 1
    kept = read(work.out / "words.toy")
    assert set(kept) == set(json.loads((work.out / "tokenizer.json").read_text())["model"]["vocab"])
    assert kept[-1] == "zzz"
    assert {token[0] for token in kept} - {"<"} <= set(kept)
    # The check reads it by its own library, and finds what is wrong.
    check = formats_agree.run(subject_of(work.out, fetch / "source", facts))
    assert check is not None
    assert check.ok, check.measured
    assert "words.toy" in check.measured
    (work.out / "words.toy").write_text("\n".join(kept[:-30]))
    check = formats_agree.run(subject_of(work.out, fetch / "source", facts))
    assert check is not None
    assert not check.ok
    assert "words.toy: " in check.measured


def test_a_file_of_another_tokenizer_is_refused(
    job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"tokenizer.json": whole_words(["<unk>", "a"]), "words.toy": "a\nb"}
    fetch = folder_of(tmp_path / "fetch", files)
    monkeypatch.setattr(upstream, "FORMATS", (*upstream.FORMATS, TOY))
    what = refused(stage.make, shrinking(job, fetch, method="truncate", vocab_size=2)).what
    assert what.startswith("words.toy disagrees with TokenizersBackend, which does not have 1 of")


def test_another_algorithm_of_tokenizer_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def led(made: TokenizerJson) -> Segmenter:
        return Led(tokens=made.data["model"]["vocab"])

    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps({"model": {"type": "Led", "vocab": {"a": 0, "ab": 1, "b": 2}}}))
    monkeypatch.setitem(tokenizer_json.MODELS, "Led", led)  # type: ignore[arg-type]
    made = tokenizer_json.read(path)
    segmenter = tokenizer_json.segmenter(made)
    assert segmenter.parts("ab") == {"a"}
    assert list(segmenter.ranked()) == ["a", "ab", "b"]
    small = json.loads(tokenizer_json.cut(made, {"a": 0, "ab": 1}))
    assert small["model"] == {"type": "Led", "vocab": {"a": 0, "ab": 1}}
    assert not isinstance(segmenter, Words)
