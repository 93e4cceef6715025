"""WordPiece and WordLevel: a subset cuts text as the whole does, dead ends included."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinybuild.tokenizer import choose, spm, tokenizer_json
from tinybuild.tokenizer.choose import Space
from tinybuild.tokenizer.tokenizer_json import TokenizerJson
from tinybuild.tokenizer.words import Words

EASY = settings(max_examples=60)
UNKNOWN = "[UNK]"
USED = st.dictionaries(st.integers(0, 40), st.integers(1, 9), max_size=6)
SIZE = st.floats(0, 1)


def every_word(letters: str, longest: int) -> list[str]:
    return [
        "".join(word)
        for size in range(1, longest + 1)
        for word in itertools.product(letters, repeat=size)
    ]


def parsed(tokens: Iterable[str], prefix: str | None = "##") -> TokenizerJson:
    """A WordPiece of these tokens; a WordLevel, if there is no prefix."""
    from tokenizers import Tokenizer, models

    ids = {token: number for number, token in enumerate(dict.fromkeys([UNKNOWN, *tokens]))}
    if prefix is None:
        made = Tokenizer(models.WordLevel(ids, UNKNOWN))
    else:
        made = Tokenizer(models.WordPiece(ids, unk_token=UNKNOWN, continuing_subword_prefix=prefix))
    return TokenizerJson(data=json.loads(made.to_str()))


def loaded(made: TokenizerJson, kept: Iterable[str] | None = None) -> Any:
    """The tokenizer, or the kept part of it."""
    from tokenizers import Tokenizer

    if kept is None:
        return Tokenizer.from_str(json.dumps(made.data))
    ids = made.data["model"]["vocab"]
    numbers = {token: n for n, token in enumerate(sorted(kept, key=ids.__getitem__))}
    return Tokenizer.from_str(tokenizer_json.cut(made, numbers))


def tokens_of(tokenizer: Any, words: Iterable[str]) -> list[list[str]]:
    return [found.tokens for found in tokenizer.encode_batch(list(words))]


def compared(
    before: Iterable[Sequence[Any]], after: Iterable[Sequence[Any]], kept: Iterable[Any]
) -> Counter[bool]:
    """How often all of a word's tokens were kept; then the cut must be the same."""
    covered, known = Counter[bool](), set(kept)
    for old, new in zip(before, after, strict=True):
        stays = known.issuperset(old)
        covered[stays] += 1
        assert not stays or list(old) == list(new)
    return covered


def chosen(made: TokenizerJson, size: float, numbers: Mapping[int, int]) -> set[str]:
    """size: share of the tokens that do not mislead; 1 for all tokens."""
    segmenter, ids = tokenizer_json.segmenter(made), made.data["model"]["vocab"]
    names, must = list(ids), segmenter.required()
    free = sum(not segmenter.misleads(token) for token in ids) - len(must)
    count = len(ids) if size == 1 else len(must) + round(size * free)
    space = Space(name="", ids=ids, segmenters=(segmenter,), atoms=frozenset())
    used: dict[str, int] = {names[-1 - n % len(names)]: times for n, times in numbers.items()}
    found = choose.choose(space, size=count, must=must, alphabet={}, used=used)
    assert len(found.kept) == count
    return {*found.kept}


@st.composite
def pieces(draw: st.DrawFn, prefix: str, letters: str = "abc") -> TokenizerJson:
    """A WordPiece in which some letters are no tokens of their own."""
    bodies = st.text(letters, min_size=1, max_size=3)
    starts = draw(st.lists(bodies, min_size=1, max_size=8))
    inner = draw(st.lists(bodies, min_size=1, max_size=8))
    single = draw(st.sets(st.sampled_from([*letters, *(prefix + c for c in letters)])))
    tokens = [*sorted(single), *starts, *(prefix + body for body in inner)]
    return parsed(draw(st.permutations(tokens)), prefix)


@pytest.mark.parametrize(
    ("prefix", "words"),
    [
        ("##", every_word("abc", 5)),
        ("#", [*every_word("ab#", 5), "c#a", "##c"]),
        ("", every_word("abc", 5)),
    ],
    ids=["##", "#", "none"],
)
def test_kept_words_are_cut_alike(prefix: str, words: list[str]) -> None:
    covered, dead = Counter[bool](), Counter[bool]()

    @EASY
    @given(pieces(prefix, "ab#" if prefix == "#" else "abc"), SIZE, USED)
    def exact(made: TokenizerJson, size: float, numbers: Mapping[int, int]) -> None:
        kept, source = chosen(made, size, numbers), loaded(made)
        before, after = tokens_of(source, words), tokens_of(loaded(made, kept), words)
        covered.update(compared(before, after, kept))
        dead.update(cut == [UNKNOWN] for cut in before)

    exact()
    assert covered[True] > 2_000
    assert covered[False] > 500
    assert min(dead.values()) > 2_000


def test_a_dead_end_stays_one() -> None:
    # "abc" starts with "ab", and nothing goes on with c.
    made = parsed(["ab", "a", "##bc"])
    segmenter = tokenizer_json.segmenter(made)
    assert loaded(made).encode("abc").tokens == [UNKNOWN]
    assert loaded(made, [UNKNOWN, "a", "##bc"]).encode("abc").tokens == ["a", "##bc"]
    assert [t for t in segmenter.tokens if segmenter.misleads(t)] == ["##bc"]
    ids = made.data["model"]["vocab"]
    space = Space(name="", ids=ids, segmenters=(segmenter,), atoms=frozenset())
    for used in ({}, {"##bc": 9}):
        for size in (1, 2, 3):
            found = choose.choose(
                space, size=size, must=segmenter.required(), alphabet={}, used=used
            )
            assert "##bc" not in found.kept
            assert loaded(made, found.kept).encode("abc").tokens == [UNKNOWN]


def test_of_the_tokens_that_mislead_all_or_none_should_stay() -> None:
    # Both mislead, for ##b is no token. The source goes a, ##ab, and nothing goes on with b.
    made = parsed(["a", "##a", "##bb", "##ab"])
    segmenter, ids = tokenizer_json.segmenter(made), made.data["model"]["vocab"]
    assert [token for token in ids if segmenter.misleads(token)] == ["##bb", "##ab"]
    assert loaded(made).encode("aabb").tokens == [UNKNOWN]
    space = Space(name="", ids=ids, segmenters=(segmenter,), atoms=frozenset())
    cuts = {}
    for size in (3, 4, 5):
        kept = choose.choose(space, size=size, must=segmenter.required(), alphabet={}, used={})
        cuts[size] = loaded(made, kept.kept).encode("aabb").tokens
    assert cuts == {3: [UNKNOWN], 4: ["a", "##a", "##bb"], 5: [UNKNOWN]}


def test_without_the_rule_subsets_come_through_dead_ends() -> None:
    differing, words = Counter[bool](), every_word("abc", 4)

    @settings(EASY, max_examples=30)
    @given(pieces("##"))
    def naive(made: TokenizerJson) -> None:
        tokens = {*made.data["model"]["vocab"]}
        before = tokens_of(loaded(made), words)
        for gone in sorted(tokens - {UNKNOWN}):
            kept = tokens - {gone}
            for old, new in zip(before, tokens_of(loaded(made, kept), words), strict=True):
                if kept.issuperset(old):
                    differing[old != new] += 1

    naive()
    assert differing[True] > 0
    assert differing[False] > 1_000


def test_a_token_misleads_where_a_letter_behind_its_first_goes_on_nothing() -> None:
    def misleads(*tokens: str) -> list[str]:
        found = Words(
            tokens={t: n for n, t in enumerate([UNKNOWN, *tokens])}, unknown=UNKNOWN, prefix="##"
        )
        return [token for token in found.tokens if found.misleads(token)]

    assert misleads("a", "ab", "b", "##a") == []
    assert misleads("##a", "##b", "##ab") == []
    assert misleads("##b", "##ab") == []
    assert misleads("##a", "b", "##ab") == ["##ab"]


def test_every_token_is_emitted() -> None:
    @EASY
    @given(pieces("##"))
    def emitted(made: TokenizerJson) -> None:
        from tokenizers import Tokenizer

        segmenter = tokenizer_json.segmenter(made)
        ids = {**made.data["model"]["vocab"], "z": len(segmenter.tokens)}
        data = {**made.data, "model": {**made.data["model"], "vocab": ids}}
        source = Tokenizer.from_str(json.dumps(data))
        for token in segmenter.tokens:
            assert segmenter.emitted(token)
            assert segmenter.parts(token) == frozenset()
            if token.startswith("##"):
                assert source.encode("z" + token[2:]).tokens == ["z", token]
            else:
                assert source.encode(token).tokens == [token]

    emitted()


def test_kept_words_of_a_list_are_cut_alike() -> None:
    covered, words = Counter[bool](), every_word("abc", 3)

    @EASY
    @given(st.sets(st.sampled_from(words), min_size=1, max_size=30), SIZE, USED)
    def exact(tokens: set[str], size: float, numbers: Mapping[int, int]) -> None:
        made = parsed(sorted(tokens), None)
        segmenter = tokenizer_json.segmenter(made)
        assert not any(segmenter.misleads(token) for token in segmenter.tokens)
        assert segmenter.letters("abc") == frozenset()
        kept = chosen(made, size, numbers)
        before, after = tokens_of(loaded(made), words), tokens_of(loaded(made, kept), words)
        covered.update(compared(before, after, kept))

    exact()
    assert covered[True] > 1_000
    assert covered[False] > 100


def test_letters_stand_at_the_start_of_a_word_and_inside() -> None:
    tokens = {token: number for number, token in enumerate(["b", "##a", UNKNOWN, "a"])}
    words = Words(tokens=tokens, unknown=UNKNOWN, prefix="##")
    assert words.letters("abc") == {"a", "##a", "b"}
    assert words.required() == {UNKNOWN: "unknown"}
    assert list(words.ranked()) == ["b", "##a", UNKNOWN, "a"]
    assert Words(tokens={"a": 0}, unknown=UNKNOWN).required() == {}
    assert Words(tokens={"a": 0}, unknown=None).required() == {}


# --- sentencepiece --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [spm.WORD, spm.CHAR], ids=["word", "char"])
def test_kept_pieces_of_sentencepiece_are_cut_alike(kind: int) -> None:
    import sentencepiece
    from sentencepiece import sentencepiece_model_pb2

    covered = Counter[bool]()
    bodies = every_word("ab", 2) if kind == spm.WORD else [*"abcd"]
    texts = [" ".join(words) for words in itertools.product(bodies, repeat=3)]

    def encoded(data: bytes) -> list[list[str]]:
        made = sentencepiece.SentencePieceProcessor(model_proto=data)
        return [[made.id_to_piece(n) for n in cut] for cut in made.encode(texts, num_threads=1)]

    @settings(EASY, max_examples=40)
    @given(st.sets(st.sampled_from(bodies), min_size=1), SIZE, USED)
    def exact(names: set[str], size: float, numbers: Mapping[int, int]) -> None:
        proto = sentencepiece_model_pb2.ModelProto()
        head = (("<unk>", spm.UNKNOWN), ("<s>", spm.CONTROL), ("</s>", spm.CONTROL))
        for name, type_ in head:
            proto.pieces.add(piece=name, score=0, type=type_)
        space = "\u2581"
        own = [space + name for name in sorted(names)]
        if kind == spm.CHAR:
            own = [space, *sorted(names)]
        for name in own:
            proto.pieces.add(piece=name, score=-1, type=spm.NORMAL)
        proto.trainer_spec.model_type = kind
        proto.normalizer_spec.name = "identity"
        segmenter = spm.segmenter(proto)
        assert not any(segmenter.misleads(name) for name in own)
        ids = {piece.piece: number for number, piece in enumerate(proto.pieces)}
        must = {**spm.required(proto), **segmenter.required()}
        count = len(must) + round(size * (len(ids) - len(must)))
        used: dict[str, int] = {own[n % len(own)]: times for n, times in numbers.items()}
        vocabulary = Space(name="", ids=ids, segmenters=(segmenter,), atoms=frozenset())
        kept = choose.choose(vocabulary, size=count, must=must, alphabet={}, used=used).kept
        before = encoded(proto.SerializeToString())
        covered.update(compared(before, encoded(spm.cut(proto, kept)), kept))

    exact()
    assert covered[True] > 200
    assert covered[False] > 200
