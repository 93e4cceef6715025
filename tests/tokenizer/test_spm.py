"""SentencePiece models: refused when damaged, cut with all else as it was, then loaded."""

from __future__ import annotations

import functools
import itertools
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from kit import faults
from kit.vocabularies import english, pieces

from tinybuild.tokenizer import spm
from tinybuild.tokenizer.bpe import Bpe
from tinybuild.tokenizer.format import Held
from tinybuild.tokenizer.segmenter import BYTES
from tinybuild.tokenizer.unigram import Unigram
from tinybuild.tokenizer.words import Words

trained = functools.partial(
    pieces,
    vocab_size=600,
    byte_fallback=True,
    user_defined_symbols=("<sep>", "th"),
    control_symbols=("<cls>",),
    pad_id=3,
)


def parsed(data: bytes) -> Any:
    from sentencepiece import sentencepiece_model_pb2

    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(data)
    return proto


def loaded(data: bytes) -> Any:
    import sentencepiece

    return sentencepiece.SentencePieceProcessor(model_proto=data)


def encoded(data: bytes, texts: Sequence[str]) -> list[list[str]]:
    made = loaded(data)
    return [[made.id_to_piece(n) for n in cut] for cut in made.encode(list(texts), num_threads=1)]


def names(proto: Any) -> list[str]:
    return [piece.piece for piece in proto.pieces]


def some(proto: Any) -> set[str]:
    """Pieces that a cut may keep: what is required, and of the rest the half that lines need."""
    segmenter = spm.segmenter(proto)
    found = {*spm.required(proto), *segmenter.required()}
    used = Counter(
        piece for cut in encoded(proto.SerializeToString(), english()[:20]) for piece in cut
    )
    for piece, _ in used.most_common(120):
        found |= {piece, *(segmenter.parts(piece) or ())}
    return found


def small(*pieces: tuple[str, float, int], kind: int = spm.BPE, **spec: Any) -> Any:
    """A model of these pieces beside <unk>."""
    proto = parsed(b"")
    for name, score, type_ in (("<unk>", 0.0, spm.UNKNOWN), *pieces):
        proto.pieces.add(piece=name, score=score, type=type_)
    proto.trainer_spec.model_type = kind
    for name, value in spec.items():
        setattr(proto.trainer_spec, name, value)
    proto.normalizer_spec.name = "identity"
    proto.normalizer_spec.add_dummy_prefix = False
    return proto


def refused(folder: Path, data: bytes) -> tuple[str, str]:
    """The message for a file of these bytes, and its hint."""
    path = folder / "x.model"
    path.write_bytes(data)
    refusal = faults.refused(spm.read, path)
    assert refusal.key == ("tokenizer",)
    return refusal.what, refusal.hint


# --- reading --------------------------------------------------------------------------------------

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935\nsize 791656\n"


@pytest.mark.parametrize(
    "data",
    [b"", POINTER, b"\x00\x01\x02not a protobuf", b"<!doctype html>", b'{"a": 1}'],
    ids=["empty", "git-lfs pointer", "noise", "page", "json"],
)
def test_other_files_are_no_models(data: bytes, tmp_path: Path) -> None:
    what, hint = refused(tmp_path, data)
    assert what == "x.model is not a SentencePiece model"
    assert "pointer to the real one: fetch it again" in hint
    assert not spm.is_model(tmp_path / "x.model")


def test_a_file_that_was_cut_off_is_no_model(tmp_path: Path) -> None:
    whole = small(("a", -1.0, spm.NORMAL)).SerializeToString()
    assert refused(tmp_path, whole[:-1])[0] == "x.model is not a SentencePiece model"


def test_a_model_is_read_as_it_is(tmp_path: Path) -> None:
    for kind in ("unigram", "bpe"):
        path = tmp_path / f"{kind}.any"
        path.write_bytes(trained(kind))
        assert spm.is_model(path)
        assert spm.read(path).SerializeToString() == trained(kind)


def test_a_piece_that_stands_twice_is_named(tmp_path: Path) -> None:
    twice = small(*((name, -1.0, spm.NORMAL) for name in ("a", "b", "é", "b", "é")))
    what, hint = refused(tmp_path, twice.SerializeToString())
    assert what == "x.model holds the piece 'b' twice"
    assert hint == "each piece has one id"


def test_there_is_one_unknown_piece(tmp_path: Path) -> None:
    two = small(("<u>", 0.0, spm.UNKNOWN), ("a", -1.0, spm.NORMAL))
    assert refused(tmp_path, two.SerializeToString())[0] == (
        "x.model has 2 unknown pieces; SentencePiece wants one"
    )
    del two.pieces[:2]
    assert refused(tmp_path, two.SerializeToString())[0] == (
        "x.model has 0 unknown pieces; SentencePiece wants one"
    )


# --- what they say --------------------------------------------------------------------------------


def test_the_algorithm_is_that_of_the_trainer() -> None:
    pieces = [("a", -1.0, spm.NORMAL), ("ab", -2.0, spm.UNUSED), ("<s>", 0.0, spm.CONTROL)]
    bpe = spm.segmenter(small(*pieces, ("cd", -3.0, spm.USER_DEFINED)))
    assert isinstance(bpe, Bpe)
    assert (bpe.priority, bpe.merges, bpe.unknown) == ({"a": 1.0, "ab": 2.0}, None, "<unk>")
    assert not bpe.emitted("cd")
    unigram = spm.segmenter(small(*pieces, kind=spm.UNIGRAM))
    assert isinstance(unigram, Unigram)
    assert (unigram.plain, unigram.unknown, unigram.bytes_) == ({"a"}, "<unk>", False)
    for kind, prefix in ((spm.WORD, None), (spm.CHAR, "")):
        words = spm.segmenter(small(*pieces, kind=kind))
        assert isinstance(words, Words)
        assert (words.prefix, words.unknown) == (prefix, "<unk>")
    spelled = small(*((piece, 0.0, spm.BYTE) for piece in BYTES))
    assert set(spm.segmenter(spelled).required()) == {"<unk>", *BYTES}


def test_roles_and_unused_pieces_are_required() -> None:
    pieces = [("[S]", 0.0, spm.CONTROL), ("[P]", 0.0, spm.CONTROL), ("ab", -1.0, spm.UNUSED)]
    made = small(*pieces, bos_piece="[S]", bos_id=1, pad_piece="[P]", pad_id=-1)
    assert spm.required(made) == {"<unk>": "special", "[S]": "special", "ab": "unused"}
    made = small(*pieces, kind=spm.UNIGRAM, pad_piece="[P]", pad_id=2, bos_id=-1)
    assert spm.required(made) == {"<unk>": "special", "[P]": "special"}


def test_pieces_of_text_that_the_tokenizer_lacks_are_strangers() -> None:
    pieces = [("a", -1.0, spm.NORMAL), ("b", -1.0, spm.USER_DEFINED), ("c", 0.0, spm.CONTROL)]
    made = small(*pieces, ("d", -1.0, spm.NORMAL), ("e", -1.0, spm.UNUSED))
    assert Held(format=spm.SENTENCEPIECE, content=made).strangers({"<unk>", "d"}) == ["a", "b"]
    assert Held(format=spm.SENTENCEPIECE, content=made).strangers({"a", "b", "d"}) == []


# --- cutting --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["unigram", "bpe", "char", "word"])
def test_all_else_stands_as_it_was(kind: str) -> None:
    if kind in ("char", "word"):
        own = ("\u2581", *"abcdefgh") if kind == "char" else [f"\u2581{c}" for c in "abcdefgh"]
        proto = small(*((name, -1.0, spm.NORMAL) for name in own))
        proto.trainer_spec.model_type = getattr(spm, kind.upper())
        kept = {"<unk>", *own[:4]}
    else:
        proto = parsed(trained(kind))
        kept = some(proto)
    data = spm.cut(proto, kept)
    tiny = parsed(data)
    assert names(tiny) == [name for name in names(proto) if name in kept]
    before = {piece.piece: (piece.score, piece.type) for piece in proto.pieces}
    assert all(before[piece.piece] == (piece.score, piece.type) for piece in tiny.pieces)
    assert tiny.normalizer_spec.SerializeToString() == proto.normalizer_spec.SerializeToString()
    assert tiny.HasField("denormalizer_spec") == proto.HasField("denormalizer_spec")
    ours, theirs = tiny.trainer_spec, proto.trainer_spec
    for field, value in theirs.ListFields():
        if field.name not in ("vocab_size", *(f"{role}_id" for role in spm.ROLES)):
            assert getattr(ours, field.name) == value
    assert loaded(data).get_piece_size() == len(kept)


def test_sizes_and_ids_follow() -> None:
    proto = parsed(trained("bpe"))
    kept = some(proto) - {"<cls>"}
    tiny = parsed(spm.cut(proto, kept))
    assert tiny.trainer_spec.vocab_size == len(kept)
    made = loaded(tiny.SerializeToString())
    assert names(tiny).index("<pad>") == tiny.trainer_spec.pad_id == made.pad_id()
    assert (made.unk_id(), made.bos_id(), made.eos_id()) == (0, 1, 2)


def test_a_role_moves_with_its_piece_and_ends_with_it() -> None:
    own = [(f"w{number}", -1.0, spm.NORMAL) for number in range(5)]
    roles = {"bos_piece": "[S]", "bos_id": 6, "eos_id": 7, "pad_id": 9}
    pieces = [*own, ("[S]", 0.0, spm.CONTROL), ("</s>", 0.0, spm.CONTROL)]
    proto = small(*pieces, vocab_size=8, **roles)
    tiny = parsed(spm.cut(proto, ["<unk>", "w3", "</s>", "[S]"])).trainer_spec
    assert (tiny.vocab_size, tiny.unk_id, tiny.bos_id, tiny.eos_id) == (4, 0, 2, 3)
    assert tiny.pad_id == -1
    tiny = parsed(spm.cut(proto, ["<unk>", "w3", "[S]"])).trainer_spec
    assert (tiny.bos_id, tiny.eos_id) == (2, -1)


def test_fields_that_the_model_does_not_have_are_not_written() -> None:
    proto = small(("<s>", 0.0, spm.CONTROL), ("</s>", 0.0, spm.CONTROL), ("a", -1.0, spm.NORMAL))
    spec = parsed(spm.cut(proto, names(proto)[:3])).trainer_spec
    assert [field.name for field, _ in spec.ListFields()] == ["model_type"]


def test_the_same_bytes_whatever_the_order_of_the_kept() -> None:
    proto = parsed(trained("unigram"))
    kept = sorted(some(proto))
    before = proto.SerializeToString()
    assert spm.cut(proto, kept) == spm.cut(proto, reversed(kept)) == spm.cut(proto, set(kept))
    assert proto.SerializeToString() == before
    assert spm.cut(proto, names(proto)) == before


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_text_of_kept_pieces_is_cut_alike(kind: str) -> None:
    proto = parsed(trained(kind))
    kept = some(proto)
    words = sorted({word for line in english() for word in line.split()})
    texts = [*english(), *words, "the<sep>then", "é漢🙂", "<cls> <s>"]
    covered = Counter[bool]()
    pairs = zip(encoded(trained(kind), texts), encoded(spm.cut(proto, kept), texts), strict=True)
    for before, after in pairs:
        covered[kept.issuperset(before)] += 1
        assert before == after or not kept.issuperset(before)
    assert covered[True] > 100
    assert covered[False] > 100


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_a_self_test_of_the_whole_model_is_left_out(kind: str) -> None:
    def field(number: int, content: bytes) -> bytes:
        assert len(content) < 128
        return bytes([number << 3 | 2, len(content)]) + content

    text = english()[0].split()[0]
    expected = " ".join(encoded(trained(kind), [text])[0])
    sample = field(1, text.encode()) + field(2, expected.encode())
    proto = parsed(trained(kind) + field(4, field(1, sample)))
    assert proto.SerializeToString() != trained(kind)
    kept = {*names(proto)} - {*encoded(trained(kind), [text])[0]}
    tiny = spm.cut(proto, kept)
    assert tiny == spm.cut(parsed(trained(kind)), kept)
    assert loaded(tiny).get_piece_size() == len(kept)


def test_unused_pieces_keep_a_bpe_exact() -> None:
    merged = [("ab", -1.0, spm.UNUSED), ("abc", -2.0, spm.NORMAL), ("ca", -3.0, spm.NORMAL)]
    proto = small(*merged, *((letter, -9.0, spm.NORMAL) for letter in "abc"))
    texts = ["".join(t) for size in range(1, 6) for t in itertools.product("abc", repeat=size)]
    source = encoded(proto.SerializeToString(), texts)
    assert source[texts.index("abc")] == ["abc"]
    assert source[texts.index("ab")] == ["a", "b"]
    differing = Counter[bool]()
    for gone in ("abc", "ca", "ab"):
        kept = {*names(proto)} - {gone}
        tiny = encoded(spm.cut(proto, kept), texts)
        same = [a == b for a, b in zip(source, tiny, strict=True) if kept.issuperset(a)]
        if gone in spm.required(proto):
            differing[all(same)] += 1
        else:
            assert all(same)
    assert differing == {False: 1}


@pytest.mark.parametrize("module", ["sentencepiece", "sentencepiece.sentencepiece_model_pb2"])
def test_a_package_that_is_not_there_is_named(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.model").write_bytes(b"")
    monkeypatch.delattr("sentencepiece.sentencepiece_model_pb2", raising=False)
    monkeypatch.setitem(sys.modules, module, None)
    refusal = faults.refused(spm.read, tmp_path / "a.model")
    assert refusal.what.startswith("a.model needs the package sentencepiece, which is not")
    assert refusal.key == ("tokenizer",)
