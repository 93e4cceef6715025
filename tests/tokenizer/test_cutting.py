"""One bundle, one cutting: every vocabulary file gives the same tokens under its own library."""

from __future__ import annotations

import base64
import json
import re
import shutil
import string
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from kit.faults import refused
from kit.files import edit
from kit.stage import MakeJob
from kit.vocabularies import english, folder_of, pieces, shrinking

from tinybuild import source, wire
from tinybuild.tokenizer import cutting
from tinybuild.tokenizer import stage as tokenizer
from tinybuild.tokenizer.loading import load
from tinybuild.validate.shrunk import formats_agree
from tinybuild.validate.subject import Subject
from tinybuild.validate.tokenizer import one_cutting, round_trip, special_tokens


def disordered(**options: Any) -> bytes:
    """A SentencePiece BPE whose ids do not follow its scores, with bytes and special pieces."""
    from sentencepiece import sentencepiece_model_pb2

    made = pieces("bpe", vocab_size=800, byte_fallback=True, **options)
    proto = sentencepiece_model_pb2.ModelProto.FromString(made)
    kinds = {True: list[Any](), False: list[Any]()}
    for piece in proto.pieces:
        kinds[piece.type == 1 and len(piece.piece) > 1].append(piece)
    ordered = [*kinds[False], *reversed(kinds[True])]
    copies = [type(piece).FromString(piece.SerializeToString()) for piece in ordered]
    del proto.pieces[:]
    proto.pieces.extend(copies)
    return bytes(proto.SerializeToString())


def cut(job: MakeJob, fetch: Path, **section: Any) -> tuple[Path, dict[str, Any]]:
    work = shrinking(job, fetch, **{"method": "truncate", "vocab_size": 600} | section)
    return work.out, wire.dump(tokenizer.make(work))


def verdict(folder: Path, facts: dict[str, Any]) -> Any:
    subject = Subject(folder=folder, scratch=folder, facts={"tokenizer": facts}, seed=0)
    return one_cutting.run(subject)


@pytest.mark.parametrize("squeezed", [True, False])
def test_a_bare_model_is_cut_as_sentencepiece_cuts_it(
    job: MakeJob, tmp_path: Path, squeezed: bool
) -> None:
    model = disordered(remove_extra_whitespaces=squeezed, normalization_rule_name="identity")
    fetch = folder_of(tmp_path / "bare", {"tokenizer.model": model})
    out, facts = cut(job, fetch)
    assert {"tokenizer.model", "tokenizer.json"} <= {path.name for path in out.iterdir()}
    assert "disagreed" not in facts["shrunk"]
    assert verdict(out, facts).ok
    made = load(out, None, "path")
    back = made.decode(made("  a b", add_special_tokens=False)["input_ids"])
    assert back == ("a b" if squeezed else "  a b")


def test_special_tokens_of_a_bare_model_stay_special(job: MakeJob, tmp_path: Path) -> None:
    model = disordered(control_symbols=("[INST]", "[/INST]"))
    fetch = folder_of(tmp_path / "bare", {"tokenizer.model": model})
    out, _ = cut(job, fetch)
    source, made = (load(folder, None, "path") for folder in (fetch / "source", out))
    assert {"[INST]", "[/INST]"} <= {*made.all_special_tokens}
    assert made.all_special_tokens == source.all_special_tokens


def test_a_model_without_a_spec_of_its_normaliser(job: MakeJob, tmp_path: Path) -> None:
    """As BigBird's, which sentencepiece loads."""
    from sentencepiece import sentencepiece_model_pb2

    proto = sentencepiece_model_pb2.ModelProto.FromString(disordered())
    proto.ClearField("normalizer_spec")
    fetch = folder_of(tmp_path / "bare", {"spiece.model": proto.SerializeToString()})
    out, facts = cut(job, fetch)
    assert (out / "spiece.model").is_file()
    assert verdict(out, facts).ok


def test_a_tekken_file_begins_texts_with_mistral_common_or_without(
    job: MakeJob, tmp_path: Path
) -> None:
    from mistral_common.tokens.tokenizers.tekken import Tekkenizer
    from transformers import AutoTokenizer

    special = [entry["token_str"].value for entry in Tekkenizer.DEPRECATED_SPECIAL_TOKENS]
    special += [f"<SPECIAL_{number}>" for number in range(len(special), 40)]
    words = [
        *(bytes([byte]) for byte in range(256)),
        *(f"{a}{b}".encode() for a in "abc" for b in "de"),
    ]
    data = {
        "config": {
            **{"pattern": r" ?\S+|\s", "num_vocab_tokens": len(words), "version": "v3"},
            **{"default_vocab_size": len(words) + 40, "default_num_special_tokens": 40},
        },
        "vocab": [
            {"rank": n, "token_bytes": base64.b64encode(word).decode(), "token_str": None}
            for n, word in enumerate(words)
        ],
        "special_tokens": [
            {"rank": n, "token_str": token, "is_control": True} for n, token in enumerate(special)
        ],
    }
    fetch = folder_of(tmp_path / "tekken", {"tekken.json": data})
    out, facts = cut(job, fetch, vocab_size=290)
    (out / "config.json").write_text('{"model_type": "mistral"}')
    ids = [
        AutoTokenizer.from_pretrained(out, mistral_format=format_)("ad be")["input_ids"]
        for format_ in (None, False)
    ]
    assert ids[0] == ids[1]
    assert ids[0][0] == 1
    assert verdict(out, facts).ok
    edit(out / "tokenizer.json", lambda data: data.update(post_processor=None))
    found = verdict(out, facts)
    assert not found.ok
    assert "makes MistralCommonBackend of AutoTokenizer, which differs" in found.measured


def test_a_special_token_that_is_normalised(job: MakeJob, tmp_path: Path) -> None:
    from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers

    words = ["[UNK]", "[pad]", "the", *"abcdefghijklmnopqrstuvwxyz"]
    made = Tokenizer(models.WordLevel({word: n for n, word in enumerate(words)}, "[UNK]"))
    made.normalizer, made.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Whitespace()
    made.add_special_tokens([AddedToken("[PAD]", normalized=True)])
    config = {"pad_token": "[PAD]", "unk_token": "[UNK]"}
    files = {"tokenizer.json": made.to_str(), "tokenizer_config.json": config}
    out, facts = cut(job, folder_of(tmp_path / "padded", files), vocab_size=20)
    subject = Subject(folder=out, scratch=out, facts={"tokenizer": facts}, seed=0)
    assert subject.tokenizer.convert_ids_to_tokens(subject.tokenizer.pad_token_id) == "[pad]"
    assert special_tokens.run(subject) == replace(special_tokens.run(subject), state="passed")


def test_a_class_that_wants_words_with_boxes(job: MakeJob, tmp_path: Path) -> None:
    """UDOP's: it refuses a text."""
    fetch = tmp_path / "fetch"
    work = job({"wishes": {"source": {"transformers": "udop"}}, "base": ".", "locks": {}})
    source.fetch(replace(work, out=fetch))
    section = {"method": "train", "vocab_size": 500}
    settings = {"tokenizer": section, "slot": "source", "kind": "transformers", "related": True}
    made = job({**settings, "blank": True}, fetch=fetch)
    facts = {"tokenizer": wire.dump(tokenizer.make(made))}
    subject = Subject(folder=made.out, scratch=made.out, facts=facts, seed=0)
    for check in (special_tokens, one_cutting, round_trip):
        found = check.run(subject)
        assert found.ok, found.measured


def test_letters_of_ctc_that_stand_twice_come_back(job: MakeJob) -> None:
    words = ["<pad>", "<s>", "</s>", "<unk>", "|", *string.ascii_uppercase, *string.ascii_lowercase]
    section = {"method": "scratch", "class": "Wav2Vec2CTCTokenizer", "vocab": words}
    work = job({"tokenizer": section, "slot": "", "kind": "", "blank": False, "related": False})
    facts = wire.dump(tokenizer.make(work))
    subject = Subject(folder=work.out, scratch=work.out, facts={"tokenizer": facts}, seed=0)
    found = round_trip.run(subject)
    assert found.ok, found.measured
    assert found.values["texts"] > 50


def test_a_file_that_cuts_otherwise_is_left_out(job: MakeJob, tmp_path: Path) -> None:
    """As Llama's class reads a model: no space before a text that begins with one."""
    fetch = folder_of(tmp_path / "other", {"tokenizer.model": disordered()})
    out, facts = cut(job, fetch, **{"class": "LlamaTokenizer"})
    assert not (out / "tokenizer.model").exists()
    (how,) = facts["shrunk"]["disagreed"].values()
    assert how.startswith("left out: as in the source it cuts ")
    assert verdict(out, facts).ok


def test_the_check_sees_a_file_of_another_order(job: MakeJob, tmp_path: Path) -> None:
    fetch = folder_of(tmp_path / "bare", {"tokenizer.model": disordered()})
    out, facts = cut(job, fetch)
    edit(out / "tokenizer.json", lambda data: data["model"]["merges"].reverse())
    found = verdict(out, facts)
    assert not found.ok
    assert "tokenizer.model cuts" in found.measured


def test_a_class_that_writes_its_own_pipeline_does_so_in_the_file(
    job: MakeJob, tmp_path: Path
) -> None:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    words = {
        w: n for n, w in enumerate(("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "The", "the"))
    }
    letters = [letter for letter in map(chr, range(33, 127)) if letter not in words]
    words |= {token: len(words) + n for n, token in enumerate(letters)}
    made = Tokenizer(models.WordPiece(words, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=False)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    files = {
        "tokenizer.json": made.to_str(),
        "vocab.txt": "".join(f"{word}\n" for word in words),
        "tokenizer_config.json": json.dumps({"tokenizer_class": "BertTokenizer"}),
    }
    fetch = folder_of(tmp_path / "bert", files)
    out, facts = cut(job, fetch, vocab_size=len(words))
    # The class lowers the text, whatever its file says.
    assert (
        "BertTokenizer: as in the source it cuts" in facts["shrunk"]["disagreed"]["tokenizer.json"]
    )
    assert verdict(out, facts).ok

    def agree() -> Any:
        known: Any = {"facts": {"tokenizer": facts}, "seed": 0, "original": fetch / "source"}
        return formats_agree.run(Subject(folder=out, scratch=out, **known))

    assert agree().ok
    edit(out / "tokenizer.json", lambda data: data["normalizer"].update(lowercase=False))
    assert not agree().ok


@pytest.mark.parametrize(("strangers", "another"), [(9, False), (11, True)])
def test_a_list_most_of_whose_tokens_are_strange_is_another_tokenizer_s(
    job: MakeJob, tmp_path: Path, strangers: int, another: bool
) -> None:
    from tokenizers import Tokenizer, models

    words = {token: n for n, token in enumerate(["[UNK]", *"abcdefghi"])}
    lines = [*words, *(f"strange{n}" for n in range(strangers))]
    made = Tokenizer(models.WordPiece(words, unk_token="[UNK]"))
    files = {"tokenizer.json": made.to_str(), "vocab.txt": "".join(f"{line}\n" for line in lines)}
    fetch = folder_of(tmp_path / "bare", files)
    work = shrinking(job, fetch, method="truncate", vocab_size=10)
    if another:
        what = f"which does not have {strangers} of its {len(lines)} entries"
        assert what in refused(tokenizer.make, work).what
    else:
        tokenizer.make(work)
        assert (work.out / "vocab.txt").read_text().split() == [*words]


@pytest.mark.chance
@pytest.mark.parametrize("type_", ["BPE", "WordPiece", "WordLevel"])
def test_lists_that_no_class_reads_are_read_by_the_model(
    job: MakeJob, tmp_path: Path, type_: str
) -> None:
    """As of RoBERTa's files without a config: AutoTokenizer takes tokenizer.json, of no class."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    made = Tokenizer(getattr(models, type_)(unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer: Any = made.model.get_trainer()
    trainer.vocab_size, trainer.special_tokens = 900, ["<unk>"]
    made.train_from_iterator(english(), trainer)
    made.post_processor = processors.TemplateProcessing("<unk> $A", None, [("<unk>", 0)])
    lists = {Path(name) for name in made.model.save(str(tmp_path))}
    files = {path.name: path.read_text() for path in lists} | {"tokenizer.json": made.to_str()}
    out, facts = cut(job, folder_of(tmp_path / "bare", files))
    assert {path.name for path in lists} < {path.name for path in out.iterdir()}
    assert "disagreed" not in facts["shrunk"]
    found = verdict(out, facts)
    assert (found.ok, found.values["files"]) == (True, 2)
    for name in sorted(path.name for path in lists):
        text = (out / name).read_text()
        turned = {"vocab.json": _turned, "merges.txt": _reversed, "vocab.txt": _reversed}[name]
        (out / name).write_text(turned(text))
        assert f"{name} cuts" in verdict(out, facts).measured
        (out / name).write_text(text)


def _turned(text: str) -> str:
    vocab = json.loads(text)
    return json.dumps(dict(zip(vocab, reversed(vocab.values()), strict=True)))


def _reversed(text: str) -> str:
    return "\n".join(reversed(text.splitlines()))


@pytest.mark.chance
def test_a_slow_class_keeps_a_tokenizer_json_of_the_same_tokens(
    job: MakeJob, tmp_path: Path
) -> None:
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers

    acids = (
        "<cls>",
        "<pad>",
        "<eos>",
        "<unk>",
        *"LAGVSERTIDPKQNFYMHWCXBUZO",
        ".",
        "-",
        "<mask>",
        "<null_1>",
        "<null_2>",
    )
    made = Tokenizer(models.WordLevel({acid: n for n, acid in enumerate(acids)}, "<unk>"))
    each = Regex("|".join(map(re.escape, acids)))
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(each, "isolated"), pre_tokenizers.WhitespaceSplit()]
    )
    files = {
        "vocab.txt": "\n".join(acids),
        "tokenizer.json": made.to_str(),
        "tokenizer_config.json": json.dumps({"tokenizer_class": "EsmTokenizer"}),
    }
    fetch = folder_of(tmp_path / "esm", files)
    out, facts = cut(job, fetch, vocab_size=33, text=["MKTAYIAKQR"])
    assert (out / "tokenizer.json").is_file()
    assert "disagreed" not in facts["shrunk"]
    other = dict(
        files,
        **{"tokenizer.json": made.to_str().replace('"L":4', '"L":5').replace('"A":5', '"A":4')},
    )
    out, facts = cut(job, folder_of(tmp_path / "odd", other), vocab_size=33, text=["MKTAYIAKQR"])
    assert "numbers other tokens" in facts["shrunk"]["disagreed"]["tokenizer.json"]
    assert not (out / "tokenizer.json").exists()


@pytest.mark.parametrize(
    "name",
    [
        *("mistral-v3-spm", "t5-small"),
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("all-minilm-l6-v2", "gpt2", "cl100k-tiktoken")
        ),
    ],
)
def test_real_ones(name: str, job: MakeJob, tmp_path: Path, upstreams: Path) -> None:
    shutil.copytree(upstreams / name, tmp_path / "real" / "source", copy_function=shutil.copyfile)
    out, facts = cut(job, tmp_path / "real", method="corpus", vocab_size=2000)
    assert verdict(out, facts).ok
    assert "disagreed" not in facts["shrunk"]


def test_texts_begin_with_runs_of_spaces() -> None:
    assert len({*cutting.texts()}) > len(english())
