"""Classes that are made of vocabulary files only: the files are learned, the size is exact."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from kit.faults import refused
from kit.files import contents
from kit.stage import MakeJob

from tinybuild import source
from tinybuild.tokenizer import learned, stage, vocabulary
from tinybuild.validate.subject import Subject
from tinybuild.validate.tokenizer import round_trip
from tinybuild.workers import Job

CLASSES = {
    "marian": "MarianTokenizer",  # two SentencePiece models and a table
    "m2m_100": "M2M100Tokenizer",  # a hundred languages of its own
    "plbart": "PLBartTokenizer",  # pieces at a distance from their ids
    "xlm": "XLMTokenizer",  # merges that end words
    "ctrl": "CTRLTokenizer",  # merges that go on
    "fsmt": "FSMTTokenizer",  # two vocabularies
    "wav2vec2": "Wav2Vec2CTCTokenizer",  # letters
    "bert-generation": "BertGenerationTokenizer",
    "prophetnet": "ProphetNetTokenizer",  # words and parts
}
TEXT = "the kettle whistled twice"


def build(job: MakeJob, kind: str, **section: Any) -> tuple[Any, Job]:
    from transformers import AutoTokenizer

    fetched = job({"wishes": {"source": {"transformers": kind}}, "base": ".", "locks": {}})
    source.fetch(fetched)
    section = {"method": "train", "vocab_size": 500, **section}
    settings = {"tokenizer": section, "slot": "source", "kind": "transformers"}
    work = job({**settings, "blank": True, "related": True}, fetch=fetched.out)
    stage.make(work)
    return AutoTokenizer.from_pretrained(work.out), work


@pytest.mark.parametrize("kind", CLASSES)
def test_a_class_of_files_has_exactly_as_many_tokens(job: MakeJob, kind: str) -> None:
    made, _ = build(job, kind)
    assert type(made).__name__ == CLASSES[kind]
    assert len(made) == 500
    assert sorted(made.get_vocab().values()) == list(range(500))
    ids = made(TEXT, add_special_tokens=False)["input_ids"]
    assert made.unk_token_id not in ids
    assert len(made.decode(ids).split()) >= len(TEXT.split())
    assert made.pad_token is not None
    assert made.tokenize("<|user|>") != ["<|user|>"]


def test_a_class_that_speaks_by_another_program_reads_letters_without_it(job: MakeJob) -> None:
    made, _ = build(job, "vits")
    assert (type(made).__name__, len(made)) == ("VitsTokenizer", 500)
    assert [token for token in made.tokenize("kettle") if token in [*"ketl"]] == [*"kettle"]


def test_a_class_that_cleans_its_text_is_not_blamed_for_it(job: MakeJob) -> None:
    made, work = build(job, "blenderbot-small")
    assert made.decode(made("The Kettle")["input_ids"]) == "the kettle"
    subject = Subject(folder=work.out, scratch=work.out, facts={"tokenizer": {}}, seed=0)
    assert round_trip.run(subject).ok


def test_a_class_of_bytes_or_characters_is_filled(job: MakeJob) -> None:
    made, _ = build(job, "perceiver")
    assert (type(made).__name__, len(made)) == ("PerceiverTokenizer", 500)
    assert made.decode(made(TEXT, add_special_tokens=False)["input_ids"]) == TEXT
    fault = refused(build, job, "perceiver", vocab_size=200)
    assert fault.what == "PerceiverTokenizer has 262 tokens whatever the text is, not 200"


def test_the_files_are_the_same_each_time_and_hold_the_recipes_tokens(job: MakeJob) -> None:
    made, first = build(job, "xlm", special_tokens=["<|user|>"])
    assert len(made) == 500
    assert made.tokenize("<|user|>") == ["<|user|>"]
    assert contents(first.out) == contents(build(job, "xlm", special_tokens=["<|user|>"])[1].out)


def test_what_a_class_cannot_cut_is_byte_level(
    job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CLVP writes a space as a token of its own; FSMT's class wants a package."""
    assert type(build(job, "clvp")[0]).__name__ == "TokenizersBackend"

    def lacking(*arguments: Any) -> Any:
        raise ImportError("sacremoses")

    monkeypatch.setattr(learned, "_made", lacking)
    assert type(build(job, "xlm")[0]).__name__ == "TokenizersBackend"


def test_the_bytes_do_not_depend_on_the_folder(job: MakeJob, tmp_path: Path) -> None:
    made, work = build(job, "marian")
    assert "/tmp" not in (work.out / "tokenizer_config.json").read_text()
    assert made.vocab_files_names["vocab"] in contents(work.out)


def test_a_vocabulary_that_stands_in_a_class_is_not_used_again(job: MakeJob) -> None:
    """EsmcTokenizer has 33 tokens, whatever its file says."""
    made, _ = build(job, "esmc")
    assert (type(made).__name__, len(made)) == ("TokenizersBackend", 500)


def test_plain_added_tokens_stay_when_special_ones_go_behind(job: MakeJob) -> None:
    made, _ = build(job, "kosmos-2")
    assert sorted(made.get_vocab().values()) == list(range(500))
    assert sum("patch_index" in token for token in made.get_vocab()) == 16


@pytest.mark.parametrize(
    ("kind", "rows"),
    [
        ("m2m_100", {"vocab_size": 600}),  # its languages have ids behind all others
        ("roc_bert", {"shape_vocab_size": 500, "pronunciation_vocab_size": 500}),
    ],
)
def test_rows_for_what_a_class_numbers_by_itself(
    job: MakeJob, kind: str, rows: dict[str, int]
) -> None:
    made, _ = build(job, kind)
    assert len(made) == 500
    found = vocabulary.sizes(made, 1)
    assert {name: found[name] for name in rows} == rows


@pytest.mark.parametrize("kind", ["prophetnet", "vits", "dia"])
def test_what_a_class_leaves_out_or_writes_in_bytes_is_its_own(job: MakeJob, kind: str) -> None:
    """Accents, letters that are no tokens, and texts that come back as their bytes."""
    _, work = build(job, kind)
    subject = Subject(folder=work.out, scratch=work.out, facts={"tokenizer": {}}, seed=0)
    assert round_trip.run(subject).ok


def test_what_fills_a_row_is_token_0_where_the_config_pads_with_that(job: MakeJob) -> None:
    """ProphetNet's positions are counted from it."""
    made, _ = build(job, "prophetnet")
    assert made.pad_token_id == 0
    assert made.get_vocab()["[UNK]"] == made.unk_token_id == 1


def test_letters_that_get_lost_are_a_fault(job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import ProphetNetTokenizer

    _, work = build(job, "prophetnet")
    plain = ProphetNetTokenizer.decode
    monkeypatch.setattr(ProphetNetTokenizer, "decode", lambda *a, **k: plain(*a, **k)[:-1])
    subject = Subject(folder=work.out, scratch=work.out, facts={"tokenizer": {}}, seed=0)
    assert not round_trip.run(subject).ok
