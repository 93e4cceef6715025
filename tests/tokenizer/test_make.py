"""Tokenizers: exact sizes, ids without holes, the source's pipeline, and refusals that say why."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from kit import faults, trained
from kit.files import ROOT, contents, edit
from kit.stage import MakeJob

from tinybuild import wire
from tinybuild.source import blank_tokenizer
from tinybuild.tokenizer import sample, tokenizer_json, train
from tinybuild.tokenizer import stage as tokenizer
from tinybuild.workers import Job


def blank(tmp_path: Path, kind: str) -> Path:
    """A fetch stage's folder with the blank tokenizer of a model type."""
    folder = tmp_path / f"fetch-{kind}"
    if not folder.exists():
        found = blank_tokenizer(kind)
        assert found is not None
        found.save_pretrained(folder / "source")
    return folder


def real(tmp_path: Path, upstreams: Path, name: str) -> Path:
    folder = tmp_path / f"fetch-{name}"
    shutil.copytree(upstreams / name, folder / "source", copy_function=shutil.copyfile)
    return folder


def wish(
    job: MakeJob,
    fetch: Path | None = None,
    *,
    kind: str = "path",
    dataset: Path | None = None,
    **section: Any,
) -> Job:
    inputs = {"fetch": fetch, "dataset": dataset}
    return job(
        {
            "tokenizer": section,
            "slot": "source" if fetch else "",
            "kind": kind if fetch else "",
            "blank": kind == "transformers",
            "related": fetch is not None,
        },
        **{name: path for name, path in inputs.items() if path is not None},
    )


def build(job: MakeJob, fetch: Path | None = None, **more: Any) -> tuple[Any, dict[str, Any]]:
    """The tokenizer as AutoTokenizer loads it from the stage's folder, and the facts."""
    from transformers import AutoTokenizer

    made = wish(job, fetch, **more)
    facts = wire.dump(tokenizer.make(made))
    return AutoTokenizer.from_pretrained(made.out), facts


def refused(job: MakeJob, fetch: Path | None = None, **more: Any) -> tuple[str, tuple[Any, ...]]:
    """The message, and the key of its first finding."""
    refusal = faults.refused(tokenizer.make, wish(job, fetch, **more))
    return refusal.text, refusal.key


def backend(made: Any) -> dict[str, Any]:
    return dict(json.loads(made.backend_tokenizer.to_str()))


def pipeline(made: Any) -> dict[str, Any]:
    """What makes tokens of a text, without the vocabulary."""
    data = backend(made)
    return {part: data[part] for part in ("normalizer", "pre_tokenizer", "decoder")}


def complete(made: Any, size: int) -> None:
    assert len(made) == size
    assert sorted(made.get_vocab().values()) == list(range(size))


# --- train ----------------------------------------------------------------------------------------

FAMILIES = {
    "gpt2": ("BPE", 600),
    "clip": ("BPE", 700),
    "whisper": ("BPE", 600),
    "bart": ("BPE", 600),
    "llama": ("BPE", 700),
    "gemma2": ("BPE", 1000),
    "bert": ("WordPiece", 2100),
    "albert": ("Unigram", 1500),
}
SPELLED = ("hello world", "a tiny model", "numbers: 12345")


@pytest.mark.parametrize("kind", sorted(FAMILIES))
def test_train_gives_the_exact_size_and_the_family_pipeline(
    job: MakeJob, tmp_path: Path, kind: str
) -> None:
    algorithm, size = FAMILIES[kind]
    fetch = blank(tmp_path, kind)
    made, facts = build(job, fetch, kind="transformers", method="train", vocab_size=size)
    source = tokenizer.load(fetch / "source", None, "transformers")
    complete(made, size)
    assert backend(made)["model"]["type"] == algorithm
    assert pipeline(made) == pipeline(source)
    assert type(made) is type(source)
    assert (facts["class"], facts["vocab_size"]) == (type(source).__name__, size)
    assert made.special_tokens_map == source.special_tokens_map
    assert made.all_special_tokens == source.all_special_tokens
    for role, number in facts["ids"]["special"].items():
        assert made.convert_ids_to_tokens(number) == getattr(source, f"{role}_token")
    assert facts["ids"]["moved"] == {}  # a blank tokenizer's ids mean nothing
    for text in SPELLED:
        found = made(text, add_special_tokens=False)["input_ids"]
        assert made.unk_token_id not in found or made.unk_token == made.eos_token
        assert "".join(made.decode(found).split()) == text.replace(" ", "")


@pytest.mark.parametrize("kind", ["gpt2", "llama", "whisper", "bart"])
def test_train_byte_alphabets_spell_every_text(job: MakeJob, tmp_path: Path, kind: str) -> None:
    fetch = blank(tmp_path, kind)
    made, _ = build(job, fetch, kind="transformers", method="train", vocab_size=600)
    for text in ("漢字 kana ひらがな", "emoji 🙂 ok", "é à ü ß", "\u0001 control"):
        found = made(text, add_special_tokens=False)["input_ids"]
        back = made.decode(found, clean_up_tokenization_spaces=False)
        assert back.strip() == text.strip()


@pytest.mark.parametrize("kind", ["llama", "gemma2", "t5"])
def test_train_no_token_crosses_a_space(job: MakeJob, tmp_path: Path, kind: str) -> None:
    """Llama's and Gemma's pipelines do not split; a trainer would learn tokens like "o▁un"."""
    fetch = blank(tmp_path, kind)
    made, _ = build(job, fetch, kind="transformers", method="train", vocab_size=2500)
    tokens = set(made.get_vocab()) - set(made.all_special_tokens)
    assert sum(token.startswith("▁") for token in tokens) > 100
    assert [token for token in tokens if "▁" in token.lstrip("▁")] == []


def test_an_unknown_piece_of_the_text_stands_where_its_class_says(
    job: MakeJob, tmp_path: Path
) -> None:
    """LASR's class takes piece 3 for the unknown one, which is the space: once, and not the first
    of all; loaded by that class and by tokenizer.json alone it cuts alike."""
    from tokenizers import Tokenizer
    from transformers import LasrTokenizer

    fetch = blank(tmp_path, "lasr_ctc")
    made, _ = build(job, fetch, kind="transformers", method="train", vocab_size=500)
    complete(made, 500)
    model = backend(made)["model"]
    pieces = [piece for piece, _ in model["vocab"]]
    assert (model["unk_id"], pieces[3], pieces.count("▁")) == (3, "▁", 1)
    assert [made.convert_tokens_to_ids(token) for token in ("<pad>", "</s>", "<unk>")] == [0, 1, 2]
    made.save_pretrained(tmp_path / "saved")
    alone = Tokenizer.from_file(str(tmp_path / "saved/tokenizer.json"))
    loaded = LasrTokenizer.from_pretrained(tmp_path / "saved")
    for text in SPELLED:
        assert loaded(text)["input_ids"] == alone.encode(text).ids
        assert loaded(text)["input_ids"][-1] == 1


def test_train_template_points_at_its_tokens(job: MakeJob, tmp_path: Path) -> None:
    fetch = blank(tmp_path, "bert")
    made, _ = build(job, fetch, kind="transformers", method="train", vocab_size=2000)
    found = made("a b")["input_ids"]
    assert (found[0], found[-1]) == (made.cls_token_id, made.sep_token_id)


def rows(folder: Path, data: list[dict[str, Any]]) -> Path:
    from datasets import Dataset

    (folder / "data").mkdir(parents=True)
    Dataset.from_list(data).to_parquet(folder / "data" / "train-00000-of-00001.parquet")
    return folder


def test_train_learns_from_the_dataset(job: MakeJob, tmp_path: Path) -> None:
    texts = [{"n": 1, "chat": [{"role": "u", "content": "zyxzyx zyxzyx"}]} for _ in range(20)]
    dataset = rows(tmp_path / "dataset", texts)
    fetch = blank(tmp_path, "gpt2")
    section = {"kind": "transformers", "method": "train", "vocab_size": 260}
    made, _ = build(job, fetch, dataset=dataset, **section)
    assert "zyx" in made.get_vocab()  # nested texts count
    other, _ = build(job, fetch, dataset=dataset, text="plain", **section)
    assert "zyx" not in other.get_vocab()


@pytest.mark.parametrize("named", [True, False])
def test_train_names_of_media_are_no_texts(named: bool, tmp_path: Path) -> None:
    """A Parquet file says which columns are media, or nothing of its columns."""
    import pyarrow
    from pyarrow import parquet

    table = pyarrow.table({"text": ["a word"], "image": ["0.png"]})
    told = {"info": {"features": {"image": {"_type": "Image"}, "text": {"_type": "Value"}}}}
    if named:
        table = table.replace_schema_metadata({"huggingface": json.dumps(told)})
    parquet.write_table(table, tmp_path / "a.parquet")
    assert [*sample._rows(tmp_path, None)] == ["a word", *([] if named else ["0.png"])]


def test_train_from_a_dataset_without_text(job: MakeJob, tmp_path: Path) -> None:
    dataset = rows(tmp_path / "dataset", [{"n": 1}])
    fetch = blank(tmp_path, "gpt2")
    text, _ = refused(
        job,
        fetch,
        kind="transformers",
        dataset=dataset,
        method="train",
        vocab_size=300,
        text="dataset",
    )
    assert "the dataset holds no text to learn from" in text
    assert text.endswith("instead: tokenizer.text: plain")
    section = {"kind": "transformers", "method": "train", "vocab_size": 300}
    made, _ = build(job, fetch, dataset=dataset, **section)  # unless the recipe says so, it may
    assert made.get_vocab() == build(job, fetch, **section)[0].get_vocab()


def test_train_from_a_vocabulary_weighted_prefers_the_first(job: MakeJob, tmp_path: Path) -> None:
    fetch = tmp_path / "fetch"
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "ba", "ca", "da", "fe", "ge", "he"]
    scratch = wish(job, method="scratch", vocab=words, **{"class": "BertTokenizer"})
    tokenizer.make(scratch)
    shutil.copytree(scratch.out, fetch / "source")
    # 5 special, 8 letters, 2 of them also as continuations, and room for two words
    made, _ = build(job, fetch, method="train", vocab_size=17, text="vocabulary", weighted=True)
    assert {"ba", "ca"} <= set(made.get_vocab())
    assert "he" not in made.get_vocab()


@pytest.mark.parametrize("weighted", [True, False])
def test_train_each_word_of_a_vocabulary_counts_as_often_as_its_place_says(weighted: bool) -> None:
    class Source:
        all_special_tokens = ("w0",)

        def get_vocab(self) -> dict[str, int]:
            return {f"w{n}": n for n in range(300)}

        def convert_tokens_to_string(self, tokens: list[str]) -> str:
            return "".join(tokens)

    source: Any = Source()
    often = Counter(train._vocabulary(source, weighted))
    assert [*often] == [f"w{n}" for n in range(1, 300)]
    times = [*often.values()]
    assert times == sorted(times, reverse=True)
    assert (times[0], times[-1]) == ((train.HEAVIEST - 1, 1) if weighted else (1, 1))
    assert {before - after for before, after in itertools.pairwise(times)} <= {0, 1}


@pytest.mark.parametrize(
    ("kind", "size", "least"),
    [
        ("gpt2", 1, 257),
        ("gpt2", 256, 257),
        ("bert", 3, 109),
        ("llama", 250, 260),
        ("t5", 150, 198),
    ],
)
def test_the_smallest_size_is_told_and_works(
    job: MakeJob, tmp_path: Path, kind: str, size: int, least: int
) -> None:
    fetch = blank(tmp_path, kind)
    for few in (size, least - 1):
        text, key = refused(job, fetch, kind="transformers", method="train", vocab_size=few)
        assert f"vocab_size {few} is too small: " in text
        assert f"hint: ask for at least {least};" in text
        assert key == ("tokenizer", "vocab_size")
    made, facts = build(job, fetch, kind="transformers", method="train", vocab_size=least)
    complete(made, least)
    assert facts["unused"] == 0


@pytest.mark.parametrize("kind", ["bert", "gpt2", "llama", "clip", "t5", "albert", "roberta"])
def test_unused_tokens_fill_what_the_text_does_not_give(
    job: MakeJob, tmp_path: Path, kind: str
) -> None:
    fetch, few = blank(tmp_path, kind), ["a rose is a rose"]
    made, facts = build(job, fetch, kind="transformers", method="train", vocab_size=600, text=few)
    complete(made, 600)
    names = [f"<unused{number}>" for number in range(facts["unused"])]
    assert 100 < len(names) < 600
    assert {*names} < {*made.get_vocab()}
    assert f"<unused{len(names)}>" not in made.get_vocab()
    source = tokenizer.load(fetch / "source", None, "transformers")
    assert made.all_special_tokens == source.all_special_tokens
    ids = made("a rose is", add_special_tokens=False)["input_ids"]
    assert {*names}.isdisjoint(made.convert_ids_to_tokens(ids))
    assert made.decode(ids).strip() == "a rose is"
    again, told = build(
        job, fetch, kind="transformers", method="train", vocab_size=600 - len(names), text=few
    )
    assert told["unused"] == 0
    assert again.tokenize("a rose is") == made.tokenize("a rose is")


def test_train_a_blank_vocabulary_has_nothing_to_teach(job: MakeJob, tmp_path: Path) -> None:
    fetch = blank(tmp_path, "gpt2")
    text, key = refused(
        job, fetch, kind="transformers", method="train", vocab_size=300, text="vocabulary"
    )
    assert "has no vocabulary to learn from" in text
    assert "hint: a transformers source is blank" in text
    assert key == ("tokenizer", "text")


def test_train_a_letter_that_is_a_special_token_is_not_learned_once_more() -> None:
    vocab = [("<unk>", 0.0), ("e", 0.0), ("a", -1.0), ("e", -2.0), ("th", -3.0)]
    made = train._settled(vocab, {"<unk>", "e"}, 9)
    assert [piece for piece, _ in made] == ["<unk>", "e", "a", "th"]


def test_train_a_slow_class(job: MakeJob, tmp_path: Path) -> None:
    made = wish(job, method="scratch", **FSMT)
    tokenizer.make(made)
    fetch = tmp_path / "fetch"
    shutil.copytree(made.out, fetch / "source")
    text, key = refused(job, fetch, method="train", vocab_size=300)
    assert "FSMTTokenizer cannot be trained" in text
    assert "method: scratch" in text
    assert key == ("tokenizer", "method")


# --- keep -----------------------------------------------------------------------------------------


def test_keep_leaves_everything_as_it_is(job: MakeJob, tmp_path: Path) -> None:
    fetch = tmp_path / "fetch"
    trained = wish(
        job, blank(tmp_path, "bart"), kind="transformers", method="train", vocab_size=600
    )
    tokenizer.make(trained)
    shutil.copytree(trained.out, fetch / "source")
    made, facts = build(job, fetch, method="keep")
    source = tokenizer.load(fetch / "source", None, "path")
    assert backend(made) == backend(source)
    assert facts["ids"]["keep"] is True
    assert facts["vocab_size"] == 600
    complete(made, 600)


def test_keep_notes_the_ids_the_configs_speak_of(job: MakeJob, tmp_path: Path) -> None:
    fetch = tmp_path / "fetch"
    trained = wish(
        job, blank(tmp_path, "bart"), kind="transformers", method="train", vocab_size=600
    )
    tokenizer.make(trained)
    shutil.copytree(trained.out, fetch / "source")
    config = {"model_type": "bart", "eos_token_id": 17, "sub": {"x_token_id": 18, "width": 19}}
    (fetch / "source" / "config.json").write_text(json.dumps(config))
    generation = {"suppress_tokens": [21, 22, 100_000], "pad_token_id": -1}
    (fetch / "source" / "generation_config.json").write_text(json.dumps(generation))
    _, facts = build(job, fetch, method="keep")
    assert facts["ids"]["moved"] == {"17": 17, "18": 18, "21": 21, "22": 22}
    _, trained_again = build(job, fetch, method="train", vocab_size=700)
    assert set(trained_again["ids"]["moved"]) <= {"17", "18", "21", "22"}


@pytest.mark.usefixtures("no_network")
def test_nothing_is_asked_of_the_network(job: MakeJob, tmp_path: Path) -> None:
    made, _ = build(job, blank(tmp_path, "bert"), kind="transformers", method="keep")
    complete(made, 5)


@pytest.mark.parametrize("name", ["config.json", "generation_config.json"])
@pytest.mark.parametrize("content", ["{", "[1]", "\x00"])
def test_keep_beside_a_broken_config(job: MakeJob, tmp_path: Path, name: str, content: str) -> None:
    fetch = blank(tmp_path, "bert")
    (fetch / "source" / name).write_text(content)
    text, key = refused(job, fetch, method="keep")
    assert name in text
    assert key in (("source",), ("tokenizer",))
    assert str(tmp_path) not in text


def test_files_say_nothing_of_how_they_were_loaded(job: MakeJob, tmp_path: Path) -> None:
    made = wish(job, blank(tmp_path, "llama"), kind="transformers", method="keep")
    tokenizer.make(made)
    text = (made.out / "tokenizer_config.json").read_text()
    assert not set(json.loads(text)) & set(tokenizer.TRANSIENT)
    for data in contents(made.out).values():
        assert str(tmp_path).encode() not in data


# --- loading --------------------------------------------------------------------------------------


def test_code_of_an_upstream_is_not_run_nor_asked_about(
    job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "fetch" / "source"
    folder.mkdir(parents=True)
    config = {"tokenizer_class": "Mine", "auto_map": {"AutoTokenizer": ["mine.Mine", None]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    ran = tmp_path / "ran"
    (folder / "mine.py").write_text(f"open({str(ran)!r}, 'w')")
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked on the terminal"))
    text, _ = refused(job, folder.parent, method="keep")
    assert "transformers cannot load the source's tokenizer" in text
    assert not ran.exists()


def test_no_tokenizer_in_the_source(job: MakeJob, tmp_path: Path) -> None:
    (tmp_path / "fetch" / "source").mkdir(parents=True)
    (tmp_path / "fetch" / "source" / "config.json").write_text("{}")
    text, _ = refused(job, tmp_path / "fetch", method="keep")
    assert "the source has no tokenizer" in text
    text, _ = refused(job, tmp_path / "fetch", kind="transformers", method="keep")
    assert "this model type has no blank tokenizer of its own" in text
    assert "hint: take another family's" in text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "tokenizer.json is not JSON: Expecting property name"),
        ("{}", "tokenizer.json has no model with a vocabulary"),
        ('{"model": {"type": "Nope", "vocab": {}}}', "tokenizer.json has a model of type 'Nope'"),
        ("\x00", "tokenizer.json is not JSON: Expecting value (line 1, column 1)"),
    ],
)
def test_a_broken_tokenizer_json(job: MakeJob, tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "fetch" / "source").mkdir(parents=True)
    (tmp_path / "fetch" / "source" / "tokenizer.json").write_text(content)
    text, key = refused(job, tmp_path / "fetch", method="keep")
    assert text.startswith(message)
    assert key == ("tokenizer",)
    assert str(tmp_path) not in text


@pytest.mark.parametrize("method", ["keep", "scratch"])
@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("LamaTokenizer", "did you mean LlamaTokenizer"),
        ("LlamaModel", "known: "),
        ("Tokenizer", "did you mean"),
    ],
)
def test_unknown_classes(job: MakeJob, tmp_path: Path, method: str, name: str, hint: str) -> None:
    more: dict[str, Any] = {"vocab": ["a"]} if method == "scratch" else {}
    fetch = blank(tmp_path, "llama")
    text, key = refused(job, fetch, kind="transformers", method=method, **{"class": name}, **more)
    assert f"transformers has no tokenizer class {name}" in text
    assert hint in text
    assert key == ("tokenizer", "class")


# --- scratch --------------------------------------------------------------------------------------

SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
FSMT: dict[str, Any] = {
    "class": "FSMTTokenizer",
    "vocab": {
        "src": ["<s>", "<pad>", "</s>", "<unk>", "l", "o</w>", "lo</w>"],
        "tgt": ["<s>", "<pad>", "</s>", "<unk>", "l"],
    },
    "merges": ["l o</w> 3"],
    "options": {"langs": ["en", "ru"]},
}


@pytest.mark.parametrize(
    ("name", "vocab", "merges", "cut"),
    [
        (
            "LlamaTokenizer",
            ["<unk>", "<s>", "</s>", "▁", "a", "b", "ab"],
            ["a b"],
            ("ab a", ["▁", "ab", "▁", "a"]),
        ),
        (
            "GPT2Tokenizer",
            ["<|endoftext|>", "a", "b", "ab", "Ġ", "Ġab"],
            ["a b", "Ġ ab"],
            ("ab ab", ["ab", "Ġab"]),
        ),
        ("BertTokenizer", [*SPECIALS, "a", "##b", "ab"], None, ("AB abb", ["ab", "ab", "##b"])),
        (
            "AlbertTokenizer",
            ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]", "▁", "a", "b"],
            None,
            ("ab", ["▁", "a", "b"]),
        ),
    ],
)
def test_scratch_has_the_given_tokens_in_the_given_order(
    job: MakeJob,
    name: str,
    vocab: list[str],
    merges: list[str] | None,
    cut: tuple[str, list[str]],
) -> None:
    text, pieces = cut
    more = {} if merges is None else {"merges": merges}
    made, facts = build(job, method="scratch", vocab=vocab, **{"class": name}, **more)
    assert made.get_vocab() == {token: number for number, token in enumerate(vocab)}
    assert facts["vocab_size"] == len(vocab)
    assert type(made).__name__ == facts["class"] == name
    assert made.tokenize(text) == pieces
    assert facts["ids"]["moved"] == {}
    assert facts["ids"]["keep"] is False


def test_scratch_a_slow_class_with_two_vocabularies(job: MakeJob) -> None:
    made, facts = build(job, method="scratch", **FSMT)
    assert facts["class"] == "FSMTTokenizer"
    assert facts["ids"]["sizes"] == {
        "vocab_size": 7,
        "src_vocab_size": 7,
        "tgt_vocab_size": 5,
    }
    assert (made.src_lang, made.tgt_lang) == ("en", "ru")
    assert made.tokenize("lo") == ["lo</w>"]


def test_scratch_options_reach_the_class(job: MakeJob) -> None:
    vocab = [*SPECIALS, "a", "A"]
    section = {"method": "scratch", "vocab": vocab, "class": "BertTokenizer"}
    made, _ = build(job, options={"do_lower_case": False}, **section)
    assert made.tokenize("A a") == ["A", "a"]
    lower, _ = build(job, **section)
    assert lower.tokenize("A a") == ["a", "a"]


@pytest.mark.parametrize(
    ("section", "words", "key"),
    [
        (
            {"class": "LlamaTokenizer", "vocab": ["<unk>", "a", "b"], "merges": ["a b"]},
            "the merge 'a b' needs the token 'ab', which is not in vocab",
            ("merges", 0),
        ),
        (
            {"class": "LlamaTokenizer", "vocab": ["<unk>", "a", "ab"], "merges": ["a b"]},
            "the merge 'a b' needs the token 'b', which is not in vocab",
            ("merges", 0),
        ),
        (
            {"class": "LlamaTokenizer", "vocab": {"src": ["a"]}},
            "LlamaTokenizer has one vocabulary",
            ("vocab",),
        ),
        (
            {"class": "BertTokenizer", "vocab": SPECIALS, "merges": ["a b"]},
            "BertTokenizer has no merges",
            ("merges",),
        ),
        (
            {"class": "GPT2Tokenizer", "vocab": ["a", "b"], "merges": []},
            "GPT2Tokenizer adds tokens that are not in vocab: <|endoftext|>",
            ("vocab",),
        ),
        (
            {
                **{"class": "GPT2Tokenizer", "vocab": ["<|endoftext|>", "a"], "merges": []},
                "options": {"extra_special_tokens": [f"<{n}>" for n in range(6)]},
            },
            "GPT2Tokenizer adds tokens that are not in vocab: <0>, <1>, <2>, <3>, <4> and 1 more",
            ("vocab",),
        ),
        (
            {"class": "FSMTTokenizer", "vocab": ["a"]},
            "FSMTTokenizer does not take vocab_file (it takes merges_file, src_vocab_file",
            ("vocab",),
        ),
    ],
)
def test_scratch_refuses(
    job: MakeJob, section: dict[str, Any], words: str, key: tuple[str | int, ...]
) -> None:
    text, where = refused(job, method="scratch", **section)
    assert words in text
    assert "hint:" in text
    assert where == ("tokenizer", *key)


def test_scratch_without_a_class(job: MakeJob) -> None:
    text, _ = refused(job, method="scratch", vocab=["a"])
    assert "the source names no tokenizer class" in text
    assert "hint: add tokenizer.class" in text


def test_scratch_takes_the_class_its_source_names(job: MakeJob, tmp_path: Path) -> None:
    fetch = blank(tmp_path, "bert")
    made, facts = build(job, fetch, kind="transformers", method="scratch", vocab=[*SPECIALS, "a"])
    assert facts["class"] == "BertTokenizer"
    complete(made, 6)


# --- post-processors ------------------------------------------------------------------------------

IDS = {"<s>": 5, "</s>": 6}


def template(number: int) -> dict[str, Any]:
    return {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A"}}],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [number], "tokens": ["<s>"]}},
    }


def repoint(processor: Any, ids: dict[str, int]) -> Any:
    return tokenizer_json.renumbered(processor, lambda _, token: ids[token])


def test_repoint_each_kind() -> None:
    assert repoint(template(900), IDS) == template(5)
    for kind in ("BertProcessing", "RobertaProcessing"):
        old = {"type": kind, "sep": ["</s>", 901], "cls": ["<s>", 900], "trim_offsets": True}
        assert repoint(old, IDS) == {**old, "sep": ["</s>", 6], "cls": ["<s>", 5]}
    byte_level = {"type": "ByteLevel", "use_regex": True}
    assert repoint(byte_level, IDS) == byte_level
    assert repoint(None, IDS) is None


def test_repoint_nested_at_any_depth_without_writing_to_its_argument() -> None:
    def nested(number: int) -> dict[str, Any]:
        inner = {"type": "Sequence", "processors": [{"type": "ByteLevel"}, template(number)]}
        return {"type": "Sequence", "processors": [inner, template(number)]}

    old = nested(900)
    assert repoint(old, IDS) == nested(5)
    assert old == nested(900)


def test_repoint_a_token_that_is_gone() -> None:
    with pytest.raises(KeyError, match="<s>"):
        repoint(template(900), {})


def test_train_repoints_a_sequence(job: MakeJob, tmp_path: Path) -> None:
    """train_new_from_iterator leaves the ids inside a Sequence as they were in the source."""
    from tokenizers import processors

    source = blank_tokenizer("bart")
    source.add_tokens([f"word{number}" for number in range(40)])
    source.add_special_tokens({"cls_token": "[START]"})
    number = source.convert_tokens_to_ids("[START]")
    assert number > 40
    source.backend_tokenizer.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(
                single="[START] $A", special_tokens=[("[START]", number)]
            ),
        ]
    )
    source.save_pretrained(tmp_path / "fetch" / "source")
    made, _ = build(job, tmp_path / "fetch", method="train", vocab_size=700)
    complete(made, 700)
    start = made.convert_tokens_to_ids("[START]")
    assert start != number
    assert made("a")["input_ids"][0] == start


# --- the same bytes -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def twice(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """What this process made, and a fresh one with another hash seed."""
    folder = tmp_path_factory.mktemp("twice")
    here, there = folder / "here", folder / "there"
    path = os.pathsep.join(map(str, (ROOT, ROOT / "tests")))
    environment = {**os.environ, "PYTHONHASHSEED": "271828", "PYTHONPATH": path}
    command = [sys.executable, "-m", "kit.trained", str(there)]
    subprocess.run(command, env=environment, check=True)
    trained.train(here)
    return here, there


@pytest.mark.parametrize("kind", trained.SIZES)
def test_trained_twice_gives_the_same_bytes(twice: tuple[Path, Path], kind: str) -> None:
    first, second = (contents(folder / kind) for folder in twice)
    assert set(first) == {"tokenizer.json", "tokenizer_config.json"}
    assert first == second


# --- real upstreams -------------------------------------------------------------------------------

TEXT = "The quick brown fox, 123 times: naïve café."


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("all-minilm-l6-v2", 30_522),
        ("clip-vit", 49_408),
        ("gpt2", 50_257),
        ("mistral-v3-spm", 32_768),
        ("modernbert-base", 50_368),
        ("opus-mt-en-mg", 54_688),
        ("phi-3-mini", 32_011),
        ("roberta-base", 50_265),
        ("t5-small", 32_100),
        ("wordlevel-opus-it", 22_464),
    ],
)
def test_keep_a_real_one(
    job: MakeJob, tmp_path: Path, upstreams: Path, name: str, size: int
) -> None:
    fetch = real(tmp_path, upstreams, name)
    made, facts = build(job, fetch, method="keep")
    source = tokenizer.load(fetch / "source", None, "path")
    assert len(made) == len(source) == facts["vocab_size"] == size
    assert made.get_vocab() == source.get_vocab()
    assert made(TEXT)["input_ids"] == source(TEXT)["input_ids"]
    assert made.all_special_tokens == source.all_special_tokens


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("all-minilm-l6-v2", 2100),
        ("clip-vit", 900),
        ("mistral-v3-spm", 1500),
        ("modernbert-base", 900),
        ("phi-3-mini", 900),
        ("wordlevel-opus-it", 900),
    ],
)
def test_train_a_real_one(
    job: MakeJob, tmp_path: Path, upstreams: Path, name: str, size: int
) -> None:
    fetch = real(tmp_path, upstreams, name)
    made, facts = build(job, fetch, method="train", vocab_size=size)
    source = tokenizer.load(fetch / "source", None, "path")
    complete(made, size)
    assert facts["vocab_size"] == size
    assert pipeline(made) == pipeline(source)
    assert made.special_tokens_map == source.special_tokens_map
    added = {token["content"] for token in backend(source)["added_tokens"]}
    assert added <= set(made.get_vocab())
    for token in added:
        assert made.convert_ids_to_tokens(made.get_vocab()[token]) == token
    assert max(made(TEXT)["input_ids"]) < size


def test_train_a_real_slow_one_is_refused(job: MakeJob, tmp_path: Path, upstreams: Path) -> None:
    fetch = real(tmp_path, upstreams, "opus-mt-en-mg")
    text, _ = refused(job, fetch, method="train", vocab_size=1000)
    assert "MarianTokenizer cannot be trained" in text


# --- an older transformers ------------------------------------------------------------------------


def test_files_that_transformers_4_reads_alike(job: MakeJob, tmp_path: Path) -> None:
    """Of the class that is its tokenizer.json, with what its own class would add written out."""
    from transformers import AutoTokenizer, TokenizersBackend

    fetch = blank(tmp_path, "qwen2")
    section = {"method": "train", "vocab_size": 600}
    edit(
        fetch / "source" / "tokenizer_config.json",
        lambda data: data.update(extra_special_tokens=["<|im_start|>"], padding_side="left"),
    )
    plain, older = (wish(job, fetch, kind="transformers", **section) for _ in range(2))
    tokenizer.make(plain)
    tokenizer.make(replace(older, settings={**older.settings, "compat": True}))
    told = json.loads((older.out / "tokenizer_config.json").read_text())
    assert told["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert told["additional_special_tokens"] == ["<|im_start|>"]
    assert told["padding_side"] == "left"
    assert told["model_input_names"] == ["input_ids", "attention_mask"]
    assert "extra_special_tokens" not in told
    here, there = (AutoTokenizer.from_pretrained(work.out) for work in (plain, older))
    assert type(there) is TokenizersBackend
    assert (
        there("The fox <|im_start|> 12")["input_ids"]
        == here("The fox <|im_start|> 12")["input_ids"]
    )
    assert there.all_special_tokens == here.all_special_tokens
