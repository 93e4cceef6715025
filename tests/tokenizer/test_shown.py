"""Tokens and their places in texts, of tokenizers in any format."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from kit.vocabularies import english, folder_of, pieces

from tinybuild.tokenizer.shown import Asked, holds, tokens

TEXTS = ["The quick brown fox,  and the lazy dog.", *english()[:20]]


@pytest.mark.parametrize(
    ("kind", "file", "class_"),
    [
        ("bpe", "tokenizer.model", "LlamaTokenizer"),
        ("unigram", "spiece.model", "T5Tokenizer"),
        ("unigram", "spiece.model", "SiglipTokenizer"),  # not fast: it tells no places
    ],
)
def test_tokens_stand_where_their_letters_are(
    tmp_path: Path, kind: str, file: str, class_: str
) -> None:
    config = json.dumps({"tokenizer_class": class_, "do_lower_case": False})
    files = {file: pieces(kind, vocab_size=400), "tokenizer_config.json": config}
    folder = folder_of(tmp_path, files) / "source"
    assert holds(folder)
    for text, cut in zip(TEXTS, tokens(Asked(folder=folder, texts=TEXTS)), strict=True):
        places = [place for _, _, place in cut]
        assert places == sorted(places)
        letters = "".join(text[max(a, end) : b] for (a, b), end in _ends(places))
        kept = "".join(character for character in text if not character.isspace())
        if class_ == "SiglipTokenizer":  # it takes punctuation away, and small letters
            assert letters.replace(" ", "") in (kept, "".join(filter(str.isalnum, kept)))
        else:
            assert "".join(letters.split()) == kept


def _ends(places: list[tuple[int, int]]) -> list[tuple[tuple[int, int], int]]:
    """Each place, and where the one before it ends: several tokens may share a letter."""
    return list(zip(places, [0, *(b for _, b in places)], strict=False))


def test_a_folder_without_a_tokenizer(tmp_path: Path) -> None:
    assert not holds(tmp_path / "nothing")
    assert not holds(folder_of(tmp_path, {"config.json": "{}"}) / "source")
