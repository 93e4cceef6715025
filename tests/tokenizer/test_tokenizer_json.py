"""tokenizer.json: refused with a reason, old forms read, and every id in it moved by a cut."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from kit import faults

from tinybuild.tokenizer import tokenizer_json
from tinybuild.tokenizer.bpe import Bpe
from tinybuild.tokenizer.format import Held
from tinybuild.tokenizer.tokenizer_json import TokenizerJson
from tinybuild.tokenizer.unigram import Unigram
from tinybuild.tokenizer.words import Words

Data = dict[str, Any]


def bpe(**more: Any) -> Data:
    vocab = {"<s>": 0, "</s>": 1, "a": 2, "b": 3, "c": 4, "ab": 5, "abc": 6}
    return {"type": "BPE", "vocab": vocab, "merges": [["a", "b"], ["ab", "c"]], **more}


def unigram(**more: Any) -> Data:
    vocab = [["<unk>", 0.0], ["a", -1.0], ["b", -2.0], ["ab", -2.5]]
    return {"type": "Unigram", "unk_id": 0, "vocab": vocab, **more}


def wordpiece(**more: Any) -> Data:
    return {
        "type": "WordPiece",
        "unk_token": "[UNK]",
        "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 100,
        "vocab": {"[UNK]": 0, "a": 1, "##b": 2, "ab": 3},
        **more,
    }


def file(model: Any, **more: Any) -> Data:
    return {"version": "1.0", "added_tokens": [], "model": model, **more}


def read(folder: Path, data: Any) -> TokenizerJson:
    path = folder / "tokenizer.json"
    path.write_bytes(data if isinstance(data, bytes) else json.dumps(data).encode())
    return tokenizer_json.read(path)


def refused(folder: Path, data: Any) -> tuple[str, str]:
    """The message behind the name of the file, and its hint."""
    refusal = faults.refused(read, folder, data)
    assert refusal.key == ("tokenizer",)
    assert refusal.what.startswith("tokenizer.json")
    return refusal.what.removeprefix("tokenizer.json").lstrip(": "), refusal.hint


def added(**ids: int) -> list[Data]:
    form = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return [
        {"id": number, "content": f"<{name}>", "special": True, **form}
        for name, number in ids.items()
    ]


# --- reading --------------------------------------------------------------------------------------


def test_a_file_that_is_no_json_says_where(tmp_path: Path) -> None:
    what, hint = refused(tmp_path, b'{\n  "model": {"vocab": }\n}')
    assert what == "is not JSON: Expecting value (line 2, column 22)"
    assert hint == "the file may have been cut off: fetch it again"
    what, _ = refused(tmp_path, json.dumps(file(bpe())).encode()[:100])
    assert what.startswith("is not JSON: ")
    assert "(line 1, column " in what
    assert refused(tmp_path, b"")[0] == "is not JSON: Expecting value (line 1, column 1)"


def test_a_file_that_is_not_utf_8_says_where(tmp_path: Path) -> None:
    data = json.dumps(file(bpe()), ensure_ascii=False).encode()
    at = data.index(b"abc")
    assert refused(tmp_path, data.replace(b"abc", b"\xe9bc"))[0] == f"is not UTF-8 (byte {at})"
    late = b" " * 2000 + data.replace(b"abc", b"\xe9bc")
    assert refused(tmp_path, late)[0] == f"is not UTF-8 (byte {at + 2000:,})"


def test_a_file_that_is_nested_too_deeply_is_refused(tmp_path: Path) -> None:
    assert refused(tmp_path, b'{"model": ' + b"[" * 200_000)[0] == "is nested too deeply"
    deep = b'{"a": ' * 100_000 + b"1" + b"}" * 100_000
    assert refused(tmp_path, deep)[0] == "is nested too deeply"


def test_a_token_that_stands_twice_is_named(tmp_path: Path) -> None:
    text = json.dumps(file(bpe())).replace('"b": 3', '"b": 3, "b": 7')
    assert refused(tmp_path, text.encode()) == ("holds 'b' twice", "each token has one id")


@pytest.mark.parametrize(
    "data",
    [[], 5, None, {}, {"model": None}, {"model": []}, {"model": "BPE"}, {"model": {}}],
    ids=str,
)
def test_a_file_without_a_model_is_refused(data: Any, tmp_path: Path) -> None:
    assert refused(tmp_path, data)[0] == "has no model with a vocabulary"


REFUSED: Mapping[str, tuple[Data, str]] = {
    "an unknown type": (bpe(type="BPE2"), "has a model of type 'BPE2'"),
    "a type that is null": (bpe(type=None), "has a model of type None"),
    "a type that is a list": (bpe(type=["BPE"]), "has a model of type ['BPE']"),
    "a vocabulary that is a list": (
        bpe(vocab=["a"]),
        "the vocabulary of a BPE maps tokens to ids",
    ),
    "an id that is text": (
        wordpiece(vocab={"a": "0"}),
        "the vocabulary of a WordPiece maps tokens to ids",
    ),
    "an id below zero": (
        {"type": "WordLevel", "vocab": {"a": -1}},
        "the vocabulary of a WordLevel maps tokens to ids",
    ),
    "two tokens with one id": (
        wordpiece(vocab={"[UNK]": 0, "a": 1, "b": 2, "c": 1}),
        "'a' and 'c' have the same id 1",
    ),
    "a Unigram that maps": (
        unigram(vocab={"a": 0}),
        "the vocabulary of a Unigram is a list of [piece, score]",
    ),
    "a Unigram without a score": (
        unigram(vocab=[["a", -1.0], ["b"]]),
        "the vocabulary of a Unigram is a list of [piece, score]",
    ),
    "a Unigram with a score in words": (
        unigram(vocab=[["a", "-1.0"]]),
        "the vocabulary of a Unigram is a list of [piece, score]",
    ),
    "a Unigram whose piece is a number": (
        unigram(vocab=[[1, -1.0]]),
        "the vocabulary of a Unigram is a list of [piece, score]",
    ),
    "an unk_id behind the end": (unigram(unk_id=4), "unk_id 4 is not one of the 4 pieces"),
    "an unk_id below zero": (unigram(unk_id=-1), "unk_id -1 is not one of the 4 pieces"),
    "an unk_id that is text": (unigram(unk_id="0"), "unk_id 0 is not one of the 4 pieces"),
    "a merge of three": (
        bpe(merges=["a b", "ab c d"]),
        'merge 1 is "ab c d", which is not two tokens',
    ),
    "a merge of one": (bpe(merges=[["a"]]), 'merge 0 is ["a"], which is not two tokens'),
    "a merge of numbers": (bpe(merges=[[2, 3]]), "merge 0 is [2, 3], which is not two tokens"),
    "a merge whose left is lost": (
        bpe(merges=[["a", "b"], ["x", "c"]]),
        "merge 1 ('x' 'c') needs the token 'x', which is not in the vocabulary",
    ),
    "a merge whose right is lost": (
        bpe(merges=["ab é"]),
        "merge 0 ('ab' 'é') needs the token 'é', which is not in the vocabulary",
    ),
    "a merge whose whole is lost": (
        bpe(merges=[["b", "c"]]),
        "merge 0 ('b' 'c') needs the token 'bc', which is not in the vocabulary",
    ),
    "a prefix that is a number": (
        bpe(continuing_subword_prefix=2),
        "continuing_subword_prefix is 2, not a text",
    ),
    "a merge that is a number": (bpe(merges=[5]), "merge 0 is 5, which is not two tokens"),
    "a merge that is null": (bpe(merges=[None]), "merge 0 is null, which is not two tokens"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_model_that_is_damaged_is_refused(case: str, tmp_path: Path) -> None:
    model, what = REFUSED[case]
    assert refused(tmp_path, file(model))[0] == what


def test_known_types_and_pairs_are_hinted_at(tmp_path: Path) -> None:
    assert refused(tmp_path, file(bpe(type="X")))[1] == (
        "known are BPE, Unigram, WordPiece, WordLevel"
    )
    assert refused(tmp_path, file(bpe(merges=["a b c"])))[1] == (
        "tokens with spaces need merges written as pairs"
    )


@pytest.mark.parametrize(
    ("token", "shown"),
    [({"id": 5}, '{"id": 5}'), ({"content": None}, '{"content": null}'), ("<s>", '"<s>"')],
)
def test_an_added_token_without_content_is_refused(token: Any, shown: str, tmp_path: Path) -> None:
    what, _ = refused(tmp_path, file(bpe(), added_tokens=[*added(s=0), token]))
    assert what == f"has an added token without content: {shown}"


def test_models_of_old_files_have_no_type(tmp_path: Path) -> None:
    old: list[tuple[Data, str, type]] = [
        (bpe(), "BPE", Bpe),
        (unigram(), "Unigram", Unigram),
        (wordpiece(), "WordPiece", Words),
        ({"type": "", "vocab": {"<unk>": 0, "a": 1}, "unk_token": "<unk>"}, "WordLevel", Words),
    ]
    for model, kind, algorithm in old:
        del model["type"]
        made = read(tmp_path, file(model))
        assert made.data["model"]["type"] == kind
        assert isinstance(tokenizer_json.segmenter(made), algorithm)


def test_added_tokens_may_be_none(tmp_path: Path) -> None:
    made = read(tmp_path, {"model": bpe(merges=None), "added_tokens": None})
    assert made.pairs == []
    assert tokenizer_json.added(made) == set()
    assert json.loads(tokenizer_json.cut(made, {"a": 0}))["added_tokens"] == []


def test_segmenters_are_what_the_file_says(tmp_path: Path) -> None:
    made = read(tmp_path, file(bpe(ignore_merges=True, byte_fallback=True, unk_token="a")))
    segmenter = tokenizer_json.segmenter(made)
    assert isinstance(segmenter, Bpe)
    assert (segmenter.whole, segmenter.bytes_, segmenter.unknown) == (True, True, "a")
    assert segmenter.merges == {("a", "b"): 0, ("ab", "c"): 1}
    vocab = {"a": 0, "##b</w>": 1, "ab</w>": 2}
    form = {"continuing_subword_prefix": "##", "end_of_word_suffix": "</w>"}
    made = read(tmp_path, file(bpe(vocab=vocab, merges=["a ##b</w>"], **form)))
    segmenter = tokenizer_json.segmenter(made)
    assert segmenter.parts("ab</w>") == {"a", "##b</w>"}
    segmenter = tokenizer_json.segmenter(read(tmp_path, file(unigram(unk_id=None))))
    assert isinstance(segmenter, Unigram)
    assert segmenter.unknown is None
    segmenter = tokenizer_json.segmenter(read(tmp_path, file(wordpiece())))
    assert isinstance(segmenter, Words)
    assert (segmenter.unknown, segmenter.prefix) == ("[UNK]", "##")


def test_tokens_that_the_tokenizer_lacks_are_strangers(tmp_path: Path) -> None:
    def strangers(model: Data, known: set[str]) -> Any:
        content = read(tmp_path, file(model))
        return Held(format=tokenizer_json.TOKENIZER_JSON, content=content).strangers(known)

    assert strangers(unigram(), {"a", "<unk>"}) == ["b", "ab"]
    assert strangers(wordpiece(), {"a", "ab"}) == ["[UNK]", "##b"]


def test_byte_level_is_found_at_any_depth(tmp_path: Path) -> None:
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    nested = {"type": "Sequence", "pretokenizers": [{"type": "Split"}, level]}
    for part, told in (
        ({"pre_tokenizer": level}, True),
        ({"pre_tokenizer": nested}, True),
        ({"normalizer": {"type": "Sequence", "normalizers": [level]}}, True),
        ({"pre_tokenizer": {"type": "Whitespace"}}, False),
        ({"post_processor": level, "decoder": level}, False),
        ({"pre_tokenizer": None}, False),
    ):
        assert tokenizer_json.byte_level(read(tmp_path, file(bpe(), **part))) is told


# --- cutting --------------------------------------------------------------------------------------


def cut(made: TokenizerJson, *kept: str) -> Data:
    """The file with these tokens, in the order of their old ids; also loaded by the library."""
    from tokenizers import Tokenizer

    model = made.data["model"]
    own = model["vocab"]
    ids = dict(own) if isinstance(own, dict) else {p: n for n, (p, _) in enumerate(own)}
    ids |= {token["content"]: token["id"] for token in made.data.get("added_tokens") or ()}
    new = {token: n for n, token in enumerate(sorted(kept, key=ids.__getitem__))}
    text = tokenizer_json.cut(made, new)
    assert Tokenizer.from_str(text).get_vocab(with_added_tokens=True) == new
    return dict(json.loads(text))


def test_merges_stay_as_they_are_written(tmp_path: Path) -> None:
    names = ("<s>", "a", "b", "c", "ab", "abc")
    pairs = cut(read(tmp_path, file(bpe())), *names)["model"]
    assert pairs["merges"] == [["a", "b"], ["ab", "c"]]
    written = read(tmp_path, file(bpe(merges=["a b", "ab c"])))
    assert cut(written, *names)["model"]["merges"] == ["a b", "ab c"]
    assert cut(written, "a", "b", "ab", "abc")["model"]["merges"] == ["a b"]
    assert cut(written, "a", "b", "abc")["model"]["merges"] == []
    assert cut(written, "a", "b", "c")["model"]["merges"] == []


def test_merges_over_a_prefix_stay(tmp_path: Path) -> None:
    vocab = {"a": 0, "##b": 1, "ab": 2, "##bb": 3}
    model = bpe(vocab=vocab, merges=["a ##b", "##b ##b"], continuing_subword_prefix="##")
    small = cut(read(tmp_path, file(model)), "a", "##b", "ab")["model"]
    assert small["merges"] == ["a ##b"]


def test_ids_are_dense_and_in_order(tmp_path: Path) -> None:
    vocab = {"<x>": 20, "abc": 90, "a": 7, "ab": 40, "c": 30, "b": 8}
    made = read(tmp_path, file(bpe(vocab=vocab), added_tokens=added(s=95, x=20)))
    assert cut(made, *vocab, "<s>")["model"]["vocab"] == {
        **{"a": 0, "b": 1, "<x>": 2},
        **{"c": 3, "ab": 4, "abc": 5},
    }
    small = cut(made, "a", "b", "ab", "<x>", "<s>")
    assert list(small["model"]["vocab"].items()) == [("a", 0), ("b", 1), ("<x>", 2), ("ab", 3)]
    assert [(t["content"], t["id"]) for t in small["added_tokens"]] == [("<x>", 2), ("<s>", 4)]
    assert small["added_tokens"][0]["special"]


def test_added_tokens_that_stand_in_holes_keep_their_places(tmp_path: Path) -> None:
    from tokenizers import Tokenizer

    model = {"type": "WordLevel", "vocab": {"a": 0, "b": 1, "c": 6}, "unk_token": "a"}
    made = read(tmp_path, file(model, added_tokens=added(s=3, x=4)))
    source = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    ids = source.get_vocab(with_added_tokens=True)
    assert ids == {"a": 0, "b": 1, "<s>": 3, "<x>": 4, "c": 6}
    kept = {token: n for n, token in enumerate(sorted(ids, key=ids.__getitem__))}
    text = tokenizer_json.cut(made, kept)
    assert Tokenizer.from_str(text).get_vocab(with_added_tokens=True) == kept


def test_a_unigram_keeps_scores_and_its_unknown_piece(tmp_path: Path) -> None:
    vocab = [["a", -1.0], ["b", -2.0], ["<unk>", 0.0], ["ab", -2.5]]
    small = cut(read(tmp_path, file(unigram(vocab=vocab, unk_id=2))), "b", "<unk>", "ab")
    assert small["model"]["vocab"] == [["b", -2.0], ["<unk>", 0.0], ["ab", -2.5]]
    assert small["model"]["unk_id"] == 1
    small = cut(read(tmp_path, file(unigram(unk_id=None))), "b")
    assert small["model"]["unk_id"] is None


def test_of_a_piece_that_stands_twice_the_last_stays(tmp_path: Path) -> None:
    from tokenizers import Tokenizer

    vocab = [["<unk>", 0.0], ["a", -1.0], ["b", -2.0], ["a", -3.0]]
    made = read(tmp_path, file(unigram(vocab=vocab)))
    source = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert source.token_to_id("a") == 3
    segmenter = tokenizer_json.segmenter(made)
    assert segmenter.tokens["a"] == -3.0
    text = tokenizer_json.cut(made, {"<unk>": 0, "b": 1, "a": 2})
    assert json.loads(text)["model"]["vocab"] == [["<unk>", 0.0], ["b", -2.0], ["a", -3.0]]


def test_the_rest_of_the_file_stands_as_it_was(tmp_path: Path) -> None:
    more = {
        "truncation": {"max_length": 5, "strategy": "LongestFirst", "stride": 0},
        "normalizer": {"type": "Lowercase"},
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
    }
    more["truncation"] |= {"direction": "Right"}  # type: ignore[operator]
    made = read(tmp_path, file(wordpiece(), **more))
    before = json.dumps(made.data)
    small = cut(made, "[UNK]", "a", "##b")
    assert {name: small[name] for name in more} == more
    assert json.dumps(made.data) == before
    model = wordpiece()
    assert small["model"] == {**model, "vocab": {"[UNK]": 0, "a": 1, "##b": 2}}


def template(**ids: int) -> Data:
    return {
        "type": "TemplateProcessing",
        "single": [
            {"SpecialToken": {"id": "<s>", "type_id": 0}},
            {"Sequence": {"id": "A", "type_id": 0}},
        ],
        "pair": [
            {"Sequence": {"id": "A", "type_id": 0}},
            {"Sequence": {"id": "B", "type_id": 1}},
        ],
        "special_tokens": {
            f"<{name}>": {"id": f"<{name}>", "ids": [number], "tokens": [f"<{name}>"]}
            for name, number in ids.items()
        },
    }


def pair_of(kind: str, sep: tuple[str, int], cls: tuple[str, int]) -> Data:
    made: Data = {"type": kind, "sep": [*sep], "cls": [*cls]}
    if kind == "RobertaProcessing":
        made |= {"trim_offsets": True, "add_prefix_space": False}
    return made


def nested(*processors: Data) -> Data:
    return {"type": "Sequence", "processors": [*processors]}


PROCESSORS: Mapping[str, Callable[[int, int], Data]] = {
    "TemplateProcessing": lambda s, e: template(s=s, e=e),
    "BertProcessing": lambda s, e: pair_of("BertProcessing", ("<e>", e), ("<s>", s)),
    "RobertaProcessing": lambda s, e: pair_of("RobertaProcessing", ("<e>", e), ("<s>", s)),
    "Sequence": lambda s, e: nested(
        {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        template(s=s, e=e),
    ),
    "Sequence in Sequence": lambda s, e: nested(
        nested(pair_of("RobertaProcessing", ("<e>", e), ("<s>", s))), template(s=s)
    ),
}


@pytest.mark.parametrize("kind", PROCESSORS)
def test_post_processors_follow_the_ids(kind: str, tmp_path: Path) -> None:
    from tokenizers import Tokenizer

    vocab = {"x": 0, "<e>": 1, "y": 2, "a": 3, "<s>": 4}
    model = {"type": "WordLevel", "vocab": vocab, "unk_token": "a"}
    processor = PROCESSORS[kind]
    made = read(tmp_path, file(model, added_tokens=added(s=4, e=1), post_processor=processor(4, 1)))
    small = cut(made, "<e>", "a", "<s>")
    assert small["post_processor"] == processor(2, 0)
    source, tiny = map(Tokenizer.from_str, (json.dumps(made.data), json.dumps(small)))
    assert tiny.encode("a").tokens == source.encode("a").tokens
    assert [tiny.id_to_token(n) for n in tiny.encode("a").ids] == tiny.encode("a").tokens
    both = {"<s>": "post-processor", "<e>": "post-processor"}
    assert tokenizer_json.referred(made) == both


def test_a_stale_id_of_a_post_processor_takes_that_of_its_token(tmp_path: Path) -> None:
    vocab = {"x": 0, "<s>": 1, "a": 2}
    model = {"type": "WordLevel", "vocab": vocab, "unk_token": "a"}
    made = read(tmp_path, file(model, post_processor=template(s=2000)))
    assert tokenizer_json.referred(made) == {"<s>": "post-processor"}
    small = cut(made, "<s>", "a")
    assert small["post_processor"]["special_tokens"]["<s>"]["ids"] == [0]


def test_an_id_goes_on_meaning_its_token_whatever_is_named_beside_it(tmp_path: Path) -> None:
    vocab = {"x": 0, "<s>": 1, "y": 2, "a": 3}
    model = {"type": "WordLevel", "vocab": vocab, "unk_token": "a"}
    made = read(tmp_path, file(model, post_processor=template(s=2)))
    assert tokenizer_json.referred(made) == {"y": "post-processor"}
    small = cut(made, "<s>", "y", "a")
    assert small["post_processor"]["special_tokens"]["<s>"]["ids"] == [1]
    behind = file(model, post_processor=template(s=4), added_tokens=added(z=4))
    assert tokenizer_json.referred(read(tmp_path, behind)) == {"<z>": "post-processor"}


def test_padding_follows_its_token(tmp_path: Path) -> None:
    padding = {
        **{"strategy": "BatchLongest", "direction": "Right", "pad_to_multiple_of": None},
        **{"pad_id": 3, "pad_type_id": 0, "pad_token": "<p>"},
    }
    vocab = {"x": 0, "y": 1, "a": 2, "<p>": 3}
    model = {"type": "WordLevel", "vocab": vocab, "unk_token": "a"}
    made = read(tmp_path, file(model, padding=padding))
    assert tokenizer_json.referred(made) == {"<p>": "padding"}
    assert cut(made, "a", "<p>")["padding"] == {**padding, "pad_id": 1}
    assert cut(read(tmp_path, file(model)), "a").get("padding") is None


def test_the_text_of_a_cut_is_compact_and_the_same_each_time(tmp_path: Path) -> None:
    made = read(tmp_path, file(bpe(vocab={"a": 0, "é": 1, "aé": 2}, merges=[["a", "é"]])))
    kept = {"a": 0, "é": 1, "aé": 2}
    text = tokenizer_json.cut(made, kept)
    assert '"vocab":{"a":0,"é":1,"aé":2}' in text
    assert '"merges":[["a","é"]]' in text
    assert text == tokenizer_json.cut(made, dict(reversed(kept.items())))
