"""Folders without a config: what their files are tells how they are loaded, and no code runs."""

from __future__ import annotations

import base64
import functools
import gzip
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from kit import faults
from kit.vocabularies import english, pieces
from tokenizers import Tokenizer, models

from tinybuild.errors import BuildFault
from tinybuild.tokenizer import loading, tokenizer_json
from tinybuild.tokenizer.segmenter import LETTERS

pytestmark = pytest.mark.usefixtures("no_network")

Files = Mapping[str, str | bytes]


trained = functools.partial(pieces, vocab_size=400)


def table(tokens: Iterable[str]) -> str:
    return json.dumps({token: number for number, token in enumerate(tokens)})


def ranked(words: Iterable[bytes] = (b"th", b"the", b" t", b" th", b" the")) -> bytes:
    tokens = [*(bytes([number]) for number in range(256)), *words]
    return b"".join(base64.b64encode(t) + b" %d\n" % n for n, t in enumerate(tokens))


GPT2: Files = {
    "vocab.json": table([*LETTERS, "th", "the", "Ġthe", "<|endoftext|>"]),
    "merges.txt": "#version: 0.2\nt h\nth e\nĠ the\n",
}
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def fill(folder: Path, files: Files) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        data = content if isinstance(content, bytes) else content.encode()
        (folder / name).write_bytes(data)
    return folder


def load(folder: Path, files: Files, name: str | None = None) -> Any:
    return loading.load(fill(folder, files), name, "path")


def refused(folder: Path, files: Files, name: str | None = None) -> tuple[str, str]:
    """The message and its hint."""
    refusal = faults.refused(load, folder, files, name)
    return refusal.what, refusal.hint


def test_a_byte_level_vocabulary_and_merges(tmp_path: Path) -> None:
    made = load(tmp_path, GPT2)
    assert type(made).__name__ == "GPT2Tokenizer"
    assert made.get_vocab() == json.loads(GPT2["vocab.json"])
    assert made.tokenize("the the") == ["the", "Ġthe"]
    assert made.decode(made("é the\n")["input_ids"]) == "é the\n"
    assert (made.eos_token, made.unk_token) == ("<|endoftext|>", "<|endoftext|>")


def test_a_byte_level_vocabulary_without_an_end_of_text(tmp_path: Path) -> None:
    files = {**GPT2, "vocab.json": table([*LETTERS, "th", "the", "Ġthe"])}
    made = load(tmp_path, files)
    assert made.get_vocab() == json.loads(files["vocab.json"])
    assert made.eos_token is None


def test_letters_that_end_words_tell_clip_s_files(tmp_path: Path) -> None:
    ends = [f"{letter}</w>" for letter in LETTERS]
    vocab = table([*LETTERS, *ends, "th", "the</w>", "<|startoftext|>", "<|endoftext|>"])
    made = load(tmp_path, {"vocab.json": vocab, "merges.txt": "#version: 0.2\nt h\nth e</w>\n"})
    assert type(made).__name__ == "CLIPTokenizer"
    assert made.tokenize("The the") == ["the</w>", "the</w>"]
    ids = made("the")["input_ids"]
    assert made.convert_ids_to_tokens(ids) == ["<|startoftext|>", "the</w>", "<|endoftext|>"]


def packed(lines: Iterable[str]) -> bytes:
    return gzip.compress("\n".join(["#version: 0.2", *lines]).encode())


def test_packed_merges_with_a_config_are_clip_s_tokenizer(tmp_path: Path) -> None:
    config = json.dumps({"model_type": "clip", "text_config": {"vocab_size": 512 + 2 + 2}})
    merges = packed(["t h", "th e</w>", "q u"])  # one more than are tokens
    made = load(tmp_path / "clip", {"bpe_simple_vocab_16e6.txt.gz": merges, "config.json": config})
    assert type(made).__name__ == "CLIPTokenizer"
    letters = made.convert_ids_to_tokens([0, 255, 256, 511, 512, 514])
    assert letters == ["!", "\u0143", "!</w>", "\u0143</w>", "th", "<|startoftext|>"]
    assert made.tokenize("The queue") == ["the</w>", "q", "u", "e", "u", "e</w>"]
    assert len(made) == 516
    files = {"merges.txt.gz": packed(["t h", "\u0120 th"]), "config.json": '{"vocab_size": 259}'}
    made = load(tmp_path / "gpt2", files)
    assert type(made).__name__ == "GPT2Tokenizer"
    assert made.tokenize("a th") == ["a", "\u0120th"]
    assert made.eos_token_id == 258


@pytest.mark.parametrize("config", ["{}", '{"vocab_size": 99999}', '{"vocab_size": "many"}'])
def test_merges_that_do_not_say_how_many_are_tokens(config: str, tmp_path: Path) -> None:
    merges = {"merges.txt.gz": packed(["t h"]), "config.json": config}
    what, hint = refused(tmp_path, merges)
    assert what == "merges.txt.gz has 1 merges, and does not say how many are tokens"
    assert "a config.json beside it says so" in hint


def test_real_merges_that_are_packed(tmp_path: Path) -> None:
    upstream = Path(__file__).parents[3] / "shared/upstreams/clip-vit/tokenizer.json"
    if not upstream.is_file():
        pytest.skip("there are no real upstream files: shared/upstreams is not beside the project")
    model = json.loads(upstream.read_text())["model"]
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]
    files = {
        "bpe_simple_vocab_16e6.txt.gz": packed([*merges, "further merges</w>"]),
        "config.json": json.dumps({"text_config": {"vocab_size": len(model["vocab"])}}),
    }
    made, real = load(tmp_path, files), Tokenizer.from_file(str(upstream))
    assert made.get_vocab() == model["vocab"]
    for text in english()[:50]:
        assert made(text)["input_ids"] == real.encode(text).ids


@pytest.mark.parametrize("cased", [False, True])
def test_a_list_of_pieces_of_words(cased: bool, tmp_path: Path) -> None:
    own = ["the", "cat", "##s", "a", "##e", "!", *(["The"] if cased else [])]
    files = {"vocab.txt": "".join(f"{t}\n" for t in (*SPECIAL, *own)), "merges.txt": "t h\n"}
    made = load(tmp_path, files)
    assert type(made).__name__ == "BertTokenizer"
    assert made.get_vocab() == {t: n for n, t in enumerate((*SPECIAL, *own))}
    assert made.tokenize("The cats!") == ["The" if cased else "the", "cat", "##s", "!"]
    assert made.tokenize("THE") == ["[UNK]" if cased else "the"]
    assert made.convert_ids_to_tokens(made("cat")["input_ids"]) == ["[CLS]", "cat", "[SEP]"]


def test_letters_with_bert_s_special_tokens_are_words_of_bert(tmp_path: Path) -> None:
    letters = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "L", "A", "G"]  # ProtBERT's
    made = load(tmp_path, {"vocab.txt": "".join(f"{t}\n" for t in letters)})
    assert type(made).__name__ == "BertTokenizer"
    assert made.tokenize("A G l") == ["A", "G", "[UNK]"]


def test_the_dropout_of_merges_is_of_training(tmp_path: Path) -> None:
    backend = Tokenizer(models.BPE({"a": 0, "b": 1, "ab": 2}, [("a", "b")], dropout=0.9))
    (tmp_path / "tokenizer.json").write_text(backend.to_str())
    made = loading.load(tmp_path, None, "path")
    assert {tuple(made.tokenize("ab")) for _ in range(40)} == {("ab",)}
    read = tokenizer_json.read(tmp_path / "tokenizer.json")
    assert (
        json.loads(tokenizer_json.cut(read, {"a": 0, "b": 1, "ab": 2}))["model"]["dropout"] is None
    )


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
@pytest.mark.parametrize("name", ["spm.model", "en.wiki.bpe.vs400.model", "tokenizer.model"])
def test_a_sentencepiece_model_of_any_name(kind: str, name: str, tmp_path: Path) -> None:
    import sentencepiece

    made = load(tmp_path, {name: trained(kind)})
    source = sentencepiece.SentencePieceProcessor(model_proto=trained(kind))
    pieces = [source.id_to_piece(number) for number in range(source.get_piece_size())]
    assert made.convert_ids_to_tokens(range(len(pieces))) == pieces
    assert made.tokenize("a the")[-1] == "\u2581the"


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_a_sentencepiece_model_without_a_config_cuts_as_sentencepiece(
    kind: str, tmp_path: Path
) -> None:
    import sentencepiece

    made = load(tmp_path, {"spm.model": trained(kind)})
    source = sentencepiece.SentencePieceProcessor(model_proto=trained(kind))
    for text in english()[:20]:
        found = made(text, add_special_tokens=False)["input_ids"]
        assert found == source.encode_as_ids(text)


def test_a_tiktoken_file_with_the_name_of_an_encoding(tmp_path: Path) -> None:
    made = load(tmp_path, {"cl100k_base.tiktoken": ranked()})
    ids = made.get_vocab()
    assert (ids["!"], ids["Ġthe"]) == (33, 260)
    special = {token: number for token, number in ids.items() if number > 260}
    assert special == {
        **{"<|endoftext|>": 100257, "<|fim_prefix|>": 100258, "<|fim_middle|>": 100259},
        **{"<|fim_suffix|>": 100260, "<|endofprompt|>": 100276},
    }
    assert made.tokenize("the the") == ["the", "Ġthe"]
    assert made.tokenize("the<|endoftext|>") == ["the", "<|endoftext|>"]
    assert made.eos_token == "<|endoftext|>"


@pytest.mark.parametrize(
    "name", ["gpt2", "r50k_base", "p50k_base", "p50k_edit", "cl100k_base", "o200k_base"]
)
def test_words_are_those_of_the_encoding(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tiktoken.registry
    import tiktoken_ext.openai_public as public

    tiktoken.list_encoding_names()
    words = [b"12", b"34", b"1234", b"123", b"12345678", b"  ", b"   ", b"\n\n", b"aB", b"!!"]
    made = load(tmp_path, {f"{name}.tiktoken": ranked(words)})
    for reader in ("load_tiktoken_bpe", "data_gym_to_mergeable_bpe_ranks"):
        monkeypatch.setattr(public, reader, lambda *where, **more: {})
    constructors: Any = tiktoken.registry.ENCODING_CONSTRUCTORS
    tokens = [*(bytes([number]) for number in range(256)), *words]
    source = tiktoken.Encoding(
        name,
        pat_str=constructors[name]()["pat_str"],
        mergeable_ranks={token: number for number, token in enumerate(tokens)},
        special_tokens={},
    )
    texts = [
        "a  b   c",
        "x \n\n y\n",
        "aB AB's ab'S",
        "!!\n?",
        "é漢 ñ",
        "1 12 123",
        "1234 12345678",
    ]
    for text in texts:
        found = made(text, add_special_tokens=False)["input_ids"]
        assert (text, found) == (text, source.encode_ordinary(text))


def test_a_tiktoken_file_of_an_unknown_name_takes_special_tokens_of_a_config(
    tmp_path: Path,
) -> None:
    form = {"lstrip": False, "rstrip": False, "normalized": False, "special": True}
    config = {
        "tokenizer_class": "MineTokenizer",
        "auto_map": {"AutoTokenizer": ["mine.MineTokenizer", None]},
        "added_tokens_decoder": {
            "261": {"content": "<|im_start|>", **form},
            "263": {"content": "<|im_end|>", **form},
        },
        "eos_token": "<|im_end|>",
    }
    code = "raise SystemExit('the code of the upstream ran')\n"
    files = {"mine.tiktoken": ranked(), "tokenizer_config.json": json.dumps(config)}
    made = load(tmp_path, {**files, "mine.py": code})
    ids = made.get_vocab()
    assert (ids["<|im_start|>"], ids["<|im_end|>"]) == (261, 263)
    assert made.eos_token == "<|im_end|>"
    assert len(ids) == 263
    assert made.tokenize("<|im_start|>the the<|im_end|>") == [
        *("<|im_start|>", "the", "Ġthe", "<|im_end|>")
    ]


def test_a_tokenizer_json_needs_no_class_of_the_upstream(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    backend = Tokenizer(models.WordLevel({"<unk>": 0, "a": 1, "b": 2}, "<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    flag = tmp_path / "ran"
    config = {
        "tokenizer_class": "MineTokenizer",
        "auto_map": {"AutoTokenizer": ["mine.MineTokenizer", "mine.MineTokenizerFast"]},
        "unk_token": "<unk>",
    }
    files = {
        "tokenizer.json": backend.to_str(),
        "tokenizer_config.json": json.dumps(config),
        "mine.py": f"open({str(flag)!r}, 'w')\n",
    }
    made = load(tmp_path / "source", files)
    assert made.get_vocab() == {"<unk>": 0, "a": 1, "b": 2}
    assert made.tokenize("b a c") == ["b", "a", "<unk>"]
    assert made.unk_token == "<unk>"
    assert not flag.exists()


def test_a_class_that_reads_none_of_the_files_finds_no_vocabulary(tmp_path: Path) -> None:
    files = {
        "config.json": json.dumps({"model_type": "albert"}),
        "vocab.txt": "".join(f"{token}\n" for token in ("<unk>", "a", "b")),
    }
    what, hint = refused(tmp_path, files)
    assert what == "AlbertTokenizer finds no vocabulary in the source's files"
    assert hint.startswith("it reads ")
    assert hint.endswith("; the source holds config.json, vocab.txt")


def test_a_class_of_the_recipe_is_not_replaced_by_what_the_files_are(tmp_path: Path) -> None:
    what, _ = refused(tmp_path, GPT2, "AlbertTokenizer")
    assert what == "AlbertTokenizer finds no vocabulary in the source's files"


def test_files_tell_what_a_class_that_reads_none_of_them_does_not(tmp_path: Path) -> None:
    own = [*SPECIAL, "a", "##b"]
    config = json.dumps({"model_type": "albert"})
    made = load(
        tmp_path, {"config.json": config, "vocab.txt": "".join(f"{token}\n" for token in own)}
    )
    assert made.get_vocab() == {token: number for number, token in enumerate(own)}
    assert made.tokenize("ab") == ["a", "##b"]


@pytest.mark.parametrize(
    "files",
    [
        {"vocab.json": table(["a", "b"]), "merges.txt": "a b\n"},
        {"vocab.txt": "a\nb\n"},
        {"vocab.json": "[]", "merges.txt": ""},
        {"one.model": b"", "two.model": b""},
        {"README.md": "nothing"},
    ],
    ids=lambda files: "+".join(files),
)
def test_files_that_tell_nothing_are_listed(files: Files, tmp_path: Path) -> None:
    what, hint = refused(tmp_path, files)
    assert what.startswith("transformers cannot load the source's tokenizer")
    assert f"the source holds {', '.join(sorted(files))}" in hint
    assert hint.endswith("if they do not name their class, name it: tokenizer.class")


def test_a_reason_of_one_line_is_told(tmp_path: Path) -> None:
    named = json.dumps({"tokenizer_class": "CTRLTokenizer"})
    files = {"vocab.json": "{", "merges.txt": "#version: 0.2\n", "tokenizer_config.json": named}
    what, _ = refused(tmp_path, files)
    assert what.startswith("transformers cannot load the source's tokenizer: Expecting property")
    assert what.endswith("line 1 column 2 (char 1)")


def test_a_source_without_a_tokenizer_is_told_apart(tmp_path: Path) -> None:
    files = {"config.json": json.dumps({"model_type": "gpt2"})}
    assert refused(tmp_path, files) == (
        "the source has no tokenizer",
        "give tokenizer.source another one",
    )
    with pytest.raises(BuildFault, match="this model type has no blank tokenizer of its own"):
        loading.load(tmp_path / "nowhere", None, "transformers")


def test_a_class_that_is_none_is_named(tmp_path: Path) -> None:
    what, hint = refused(tmp_path, GPT2, "GPT2Tokeniser")
    assert what == "transformers has no tokenizer class GPT2Tokeniser"
    assert "did you mean" in hint
    assert "GPT2Tokenizer" in hint
    assert refused(tmp_path, GPT2, "GPT2Config")[0] == (
        "transformers has no tokenizer class GPT2Config"
    )
