"""Unigram: a subset of the pieces cuts text as the whole does, ties included."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tinybuild.tokenizer import choose, spm, tokenizer_json
from tinybuild.tokenizer.choose import Space
from tinybuild.tokenizer.segmenter import BYTES
from tinybuild.tokenizer.tokenizer_json import TokenizerJson
from tinybuild.tokenizer.unigram import Unigram

EASY = settings(max_examples=60)


def every_text(letters: str, longest: int) -> list[str]:
    return [
        "".join(text)
        for size in range(1, longest + 1)
        for text in itertools.product(letters, repeat=size)
    ]


TEXTS = [*every_text("abc", 4), *every_text("ab", 7), "aéa", "漢b", "é漢é", "xyx"]
# Halves make many ties; the others none.
SCORES = st.integers(-12, -1).map(lambda half: half / 2) | st.floats(-9, -0.5, width=32)
NAMES = st.text("abc", min_size=1, max_size=4)
USED = st.dictionaries(st.integers(0, 40), st.integers(1, 9), max_size=6)
SIZE = st.floats(0, 1)


def compared(
    before: Iterable[Sequence[Any]], after: Iterable[Sequence[Any]], kept: Iterable[Any]
) -> Counter[bool]:
    """How often all of a text's pieces were kept; then the cut must be the same."""
    covered, known = Counter[bool](), set(kept)
    for old, new in zip(before, after, strict=True):
        stays = known.issuperset(old)
        covered[stays] += 1
        assert not stays or list(old) == list(new)
    return covered


def subset(
    ids: Mapping[str, int],
    segmenter: Unigram,
    size: float,
    numbers: Mapping[int, int],
    proto: Any = None,
) -> dict[str, int]:
    """The pieces chosen -> new id; size: share of those that are free to go."""
    fixed, names = (spm.UNKNOWN, spm.CONTROL, spm.USER_DEFINED), list(ids)
    atoms = [p.piece for p in proto.pieces if p.type in fixed] if proto is not None else []
    must = {**(spm.required(proto) if proto is not None else {}), **segmenter.required()}
    least = {*must}.union(*(segmenter.parts(token) or () for token in must))
    count = len(least) + round(size * (len(ids) - len(least)))
    space = Space(name="", ids=ids, segmenters=(segmenter,), atoms=frozenset(atoms))
    used: dict[str, int] = {names[-1 - n % len(names)]: times for n, times in numbers.items()}
    found = choose.choose(space, size=count, must=must, alphabet={}, used=used)
    assert len(found.kept) == count
    return {token: n for n, token in enumerate(sorted(found.kept, key=ids.__getitem__))}


# --- tokenizers -----------------------------------------------------------------------------------


@st.composite
def sources(draw: st.DrawFn, *, bytes_: bool = False, unknown: bool = True) -> TokenizerJson:
    from tokenizers import Tokenizer, models

    names = draw(st.lists(NAMES, min_size=2, max_size=16, unique=True))
    if draw(st.booleans()) or not unknown:
        names = list(dict.fromkeys([*names, *"abc"]))
    vocabulary = [(name, draw(SCORES)) for name in names]
    special = [("<unk>", draw(st.sampled_from([0.0, -20.0])))] if unknown else []
    special += [(piece, 0.0) for piece in BYTES] if bytes_ else []
    place = 0 if unknown else None
    made = Tokenizer(models.Unigram([*special, *vocabulary], place, bytes_))
    return TokenizerJson(data=json.loads(made.to_str()))


def loaded(data: Any) -> Any:
    from tokenizers import Tokenizer

    return Tokenizer.from_str(data if isinstance(data, str) else json.dumps(data))


def shrunken(made: TokenizerJson, kept: Mapping[str, int]) -> Any:
    return loaded(tokenizer_json.cut(made, kept))


def ids_of(tokenizer: Any, texts: Iterable[str]) -> list[list[str]]:
    """The pieces that the ids of each text mean."""
    return [[tokenizer.id_to_token(n) for n in c.ids] for c in tokenizer.encode_batch(list(texts))]


def test_kept_text_is_cut_alike() -> None:
    covered = Counter[bool]()

    @EASY
    @given(sources(), SIZE, USED)
    def exact(made: TokenizerJson, size: float, numbers: Mapping[int, int]) -> None:
        source, segmenter = loaded(made.data), tokenizer_json.segmenter(made)
        kept = subset(source.get_vocab(), segmenter, size, numbers)
        tiny = shrunken(made, kept)
        assert tiny.get_vocab() == kept
        assert tiny.id_to_token(json.loads(tiny.to_str())["model"]["unk_id"]) == "<unk>"
        covered.update(compared(ids_of(source, TEXTS), ids_of(tiny, TEXTS), kept))

    exact()
    assert covered[True] > 1_000
    assert covered[False] > 1_000


def test_kept_text_is_cut_alike_where_characters_fall_back_to_bytes() -> None:
    covered = Counter[bool]()

    @EASY
    @given(sources(bytes_=True), SIZE, USED)
    def exact(made: TokenizerJson, size: float, numbers: Mapping[int, int]) -> None:
        source, segmenter = loaded(made.data), tokenizer_json.segmenter(made)
        kept = subset(source.get_vocab(), segmenter, size, numbers)
        assert {*BYTES} <= kept.keys()
        tiny = shrunken(made, kept)
        covered.update(compared(ids_of(source, TEXTS), ids_of(tiny, TEXTS), kept))

    exact()
    assert covered[True] > 1_000
    assert covered[False] > 1_000


def test_kept_text_is_cut_alike_without_an_unknown_piece() -> None:
    covered, texts = Counter[bool](), every_text("abc", 4)

    def pieces(tokenizer: Any) -> list[list[str]]:
        found = []
        for text in texts:
            try:
                found += ids_of(tokenizer, [text])
            except Exception as error:
                if "unk_id" not in str(error):  # tokenizers raises bare Exception
                    raise
                found.append(["no piece"])
        return found

    @settings(EASY, max_examples=20)
    @given(sources(unknown=False), SIZE, USED)
    def exact(made: TokenizerJson, size: float, numbers: Mapping[int, int]) -> None:
        source, segmenter = loaded(made.data), tokenizer_json.segmenter(made)
        kept = subset(source.get_vocab(), segmenter, size, numbers)
        covered.update(compared(pieces(source), pieces(shrunken(made, kept)), kept))

    exact()
    assert covered[True] > 500
    assert covered[False] > 500


def test_a_piece_that_is_not_emitted_comes_out_of_no_text() -> None:
    found, texts = Counter[bool](), every_text("abc", 6)

    @settings(EASY, max_examples=40)
    @given(sources())
    def emitted(made: TokenizerJson) -> None:
        source, segmenter = loaded(made.data), tokenizer_json.segmenter(made)
        seen = {piece for cut in ids_of(source, texts) for piece in cut}
        for piece in segmenter.tokens.keys() - {"<unk>"}:
            assert segmenter.parts(piece) == (frozenset() if segmenter.emitted(piece) else None)
            assert segmenter.emitted(piece) or piece not in seen
            if source.encode(piece).tokens == [piece]:
                assert segmenter.emitted(piece)
            found[segmenter.emitted(piece)] += 1

    emitted()
    assert found[True] > 100
    assert found[False] > 5


def test_without_the_lowest_score_text_is_cut_otherwise() -> None:
    # é costs 10 more than the lowest score: 40, or 25 without "low", which is less than 2 x 15.
    vocabulary = [["<unk>", 0], ["a", -1], ["aéb", -15], ["cd", -15], ["bcd", -1], ["low", -30]]
    data = json.loads(loaded_empty().to_str())
    data["model"] = {"type": "Unigram", "unk_id": 0, "vocab": vocabulary, "byte_fallback": False}
    made = TokenizerJson(data=data)
    required = tokenizer_json.segmenter(made).required()
    assert required == {"<unk>": "unknown", "low": "lowest score"}
    assert ids_of(loaded(data), ["aébcd"]) == [["aéb", "cd"]]
    names = ["<unk>", "a", "aéb", "cd", "bcd"]
    naive = shrunken(made, {piece: number for number, piece in enumerate(names)})
    assert ids_of(naive, ["aébcd"]) == [["a", "<unk>", "bcd"]]
    names = ["<unk>", "aéb", "cd", "low"]
    right = shrunken(made, {piece: number for number, piece in enumerate(names)})
    assert ids_of(right, ["aébcd"]) == [["aéb", "cd"]]


def loaded_empty() -> Any:
    from tokenizers import Tokenizer, models

    return Tokenizer(models.Unigram([("a", 0.0)], None, False))


def test_of_several_lowest_scores_the_last_one_stays() -> None:
    scores = {"<unk>": 0.0, "a": -3.0, "b": -7.0, "c": -7.0, "d": -1.0}
    segmenter = Unigram(tokens=scores, plain=scores.keys(), unknown="<unk>")
    assert segmenter.required() == {"<unk>": "unknown", "c": "lowest score"}
    assert list(segmenter.ranked()) == list(scores)
    assert segmenter.letters("abé") == {"a", "b"}
    assert not segmenter.misleads("a")


# --- sentencepiece --------------------------------------------------------------------------------

HEAD = [("<unk>", 0.0, spm.UNKNOWN), ("<s>", 0.0, spm.CONTROL), ("</s>", 0.0, spm.CONTROL)]


def model(entries: Iterable[tuple[str, float, int]], **spec: Any) -> Any:
    """A ModelProto of pieces (name, score, type), for text without dummy spaces."""
    from sentencepiece import sentencepiece_model_pb2

    proto = sentencepiece_model_pb2.ModelProto()
    for name, score, kind in entries:
        proto.pieces.add(piece=name, score=score, type=kind)
    proto.trainer_spec.model_type = spm.UNIGRAM
    for name, value in spec.items():
        setattr(proto.trainer_spec, name, value)
    proto.normalizer_spec.name = "identity"
    proto.normalizer_spec.add_dummy_prefix = False
    return proto


def encoded(data: bytes, texts: Sequence[str]) -> list[list[str]]:
    import sentencepiece

    made = sentencepiece.SentencePieceProcessor(model_proto=data)
    return [[made.id_to_piece(n) for n in cut] for cut in made.encode(list(texts), num_threads=1)]


@st.composite
def protos(draw: st.DrawFn, *kinds: int) -> Any:
    """A SentencePiece Unigram with pieces of these types beside the normal ones."""
    bytes_ = draw(st.booleans())
    entries = [*HEAD, *((piece, 0.0, spm.BYTE) for piece in BYTES if bytes_)]
    names = draw(st.lists(NAMES, min_size=3, max_size=16, unique=True))
    if draw(st.booleans()):
        names = list(dict.fromkeys([*"abc", *names]))
    types = st.sampled_from([spm.NORMAL] * 3 + list(kinds))
    for number, name in enumerate(names):
        entries.append((name, draw(SCORES), draw(types) if number else spm.NORMAL))
    return model(entries, byte_fallback=bytes_)


def chosen(proto: Any, size: float, numbers: Mapping[int, int]) -> dict[str, int]:
    ids = {piece.piece: number for number, piece in enumerate(proto.pieces)}
    segmenter = spm.segmenter(proto)
    assert isinstance(segmenter, Unigram)
    return subset(ids, segmenter, size, numbers, proto)


def test_kept_text_is_cut_alike_by_sentencepiece() -> None:
    covered, types = Counter[bool](), Counter[int]()

    @EASY
    @given(protos(spm.UNUSED), SIZE, USED)
    def exact(proto: Any, size: float, numbers: Mapping[int, int]) -> None:
        kept = chosen(proto, size, numbers)
        types.update(piece.type for piece in proto.pieces)
        before = encoded(proto.SerializeToString(), TEXTS)
        covered.update(compared(before, encoded(spm.cut(proto, kept), TEXTS), kept))

    exact()
    assert covered[True] > 1_000
    assert covered[False] > 1_000
    assert min(types[kind] for kind in (spm.UNUSED, spm.BYTE)) > 30


def test_kept_text_is_cut_alike_beside_user_defined_pieces() -> None:
    covered, types = Counter[bool](), Counter[int]()

    @EASY
    @given(protos(spm.USER_DEFINED), SIZE, USED)
    def exact(proto: Any, size: float, numbers: Mapping[int, int]) -> None:
        kept = chosen(proto, size, numbers)
        types.update(piece.type for piece in proto.pieces)
        before = encoded(proto.SerializeToString(), TEXTS)
        covered.update(compared(before, encoded(spm.cut(proto, kept), TEXTS), kept))

    exact()
    assert covered[True] > 1_000
    assert covered[False] > 1_000
    assert types[spm.USER_DEFINED] > 30


def test_a_piece_that_is_not_emitted_comes_out_of_no_text_of_sentencepiece() -> None:
    found, texts = Counter[bool](), every_text("abc", 5)

    # Examples differ with the modules that were imported before: hypothesis takes their constants.
    @settings(EASY, max_examples=150)
    @given(protos(spm.UNUSED, spm.USER_DEFINED))
    def emitted(proto: Any) -> None:
        segmenter = spm.segmenter(proto)
        seen = {piece for cut in encoded(proto.SerializeToString(), texts) for piece in cut}
        for piece in proto.pieces:
            if piece.type == spm.NORMAL:
                assert segmenter.emitted(piece.piece) or piece.piece not in seen
                found[segmenter.emitted(piece.piece)] += 1

    emitted()
    assert found[True] > 100
    assert found[False] > 0
