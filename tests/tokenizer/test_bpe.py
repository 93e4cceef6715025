"""BPE: a closed subset of a vocabulary cuts text as the whole, in every library that merges."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinybuild.tokenizer import choose, ranks, spm, tokenizer_json
from tinybuild.tokenizer.bpe import Bpe
from tinybuild.tokenizer.choose import Space
from tinybuild.tokenizer.ranks import Ranks
from tinybuild.tokenizer.segmenter import BYTES, LETTERS
from tinybuild.tokenizer.tokenizer_json import TokenizerJson

EASY = settings(max_examples=60)
# (continuing_subword_prefix, end_of_word_suffix); z is in no merge, so it separates.
FORMS = (("", ""), ("##", ""), ("", "</w>"), ("##", "</w>"))
LETTERS_HERE = "abc"
SEPARATOR = "z"


# --- tokenizers -----------------------------------------------------------------------------------


def started(prefix: str, suffix: str, letters: str = LETTERS_HERE + SEPARATOR) -> list[str]:
    """Every letter at each of its places in a word."""
    made = [p + c + s for s in ("", suffix) for p in ("", prefix) for c in letters]
    return list(dict.fromkeys(made))


@st.composite
def sources(
    draw: st.DrawFn, form: tuple[str, str] | None = None, *, shuffled: bool = True, **options: Any
) -> Any:
    """A BPE of the tokenizers library with random merges, some in an order of no training."""
    prefix, suffix = form or draw(st.sampled_from(FORMS))
    tokens = started(prefix, suffix)
    letters = [token for token in tokens if SEPARATOR not in token]
    merges: dict[tuple[str, str], None] = {}
    made = list(letters)
    for _ in range(draw(st.integers(1, 14))):
        lefts = [t for t in made if not (suffix and t.endswith(suffix))]
        left = draw(st.sampled_from(lefts))
        right = draw(st.sampled_from([t for t in made if t.startswith(prefix)]))
        whole = left + right[len(prefix) :]
        if len(whole) < 24 and (shuffled or whole not in made):
            merges[left, right] = None
            made.append(whole)
    orphans = draw(st.lists(st.text(LETTERS_HERE, min_size=2, max_size=4), max_size=2))
    order = draw(st.permutations(list(merges))) if shuffled else list(merges)
    return library([*tokens, *made, *orphans], order, prefix, suffix, **options)


def library(
    tokens: Iterable[str],
    merges: Sequence[tuple[str, str]],
    prefix: str = "",
    suffix: str = "",
    **options: Any,
) -> Any:
    from tokenizers import Tokenizer, models

    vocabulary = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    form = {"continuing_subword_prefix": prefix, "end_of_word_suffix": suffix}
    given_ = {name: value for name, value in form.items() if value}
    return Tokenizer(models.BPE(vocabulary, list(merges), **given_, **options))


def parsed(source: Any) -> TokenizerJson:
    return TokenizerJson(data=json.loads(source.to_str()))


def subset(made: TokenizerJson, size: float, used: Mapping[str, int]) -> dict[str, int]:
    """The tokens chosen -> new id; size: share of those that are free to go."""
    segmenter, ids = tokenizer_json.segmenter(made), made.data["model"]["vocab"]
    space = Space(name="", ids=ids, segmenters=(segmenter,), atoms=frozenset())
    must = segmenter.required()
    count = len(must) + round(size * (len(ids) - len(must)))
    found = choose.choose(space, size=count, must=must, alphabet={}, used=used)
    assert len(found.kept) == count
    return {token: n for n, token in enumerate(sorted(found.kept, key=ids.__getitem__))}


def shrunken(made: TokenizerJson, kept: Mapping[str, int]) -> Any:
    from tokenizers import Tokenizer

    return Tokenizer.from_str(tokenizer_json.cut(made, kept))


def tokens_of(tokenizer: Any, texts: Iterable[str]) -> list[list[str]]:
    return [found.tokens for found in tokenizer.encode_batch(list(texts))]


def every_word(letters: str, longest: int) -> list[str]:
    return [
        "".join(word)
        for size in range(1, longest + 1)
        for word in itertools.product(letters, repeat=size)
    ]


def compared(
    before: Iterable[Sequence[Any]], after: Iterable[Sequence[Any]], kept: Iterable[Any]
) -> Counter[bool]:
    """How often all of a text's tokens were kept; then the cut must be the same."""
    covered, known = Counter[bool](), set(kept)
    for old, new in zip(before, after, strict=True):
        stays = known.issuperset(old)
        covered[stays] += 1
        assert not stays or list(old) == list(new)
    return covered


USED = st.dictionaries(st.integers(0, 40), st.integers(1, 9), max_size=6)


def sampled(ids: Mapping[str, int], numbers: Mapping[int, int]) -> dict[str, int]:
    names = list(ids)
    return {names[number % len(names)]: times for number, times in numbers.items()}


@pytest.mark.parametrize("alone", ["##", "</w>", "##</w>"])
def test_a_prefix_or_suffix_may_be_a_token(alone: str) -> None:
    made = parsed(library([*started("##", "</w>"), *"#</w>", alone], [], "##", "</w>"))
    assert tokenizer_json.segmenter(made).parts(alone) is None


@pytest.mark.parametrize(("prefix", "suffix"), FORMS)
def test_kept_text_is_cut_alike(prefix: str, suffix: str) -> None:
    covered, words = Counter[bool](), every_word("abcz", 3) + every_word("ab", 7)

    @EASY
    @given(sources((prefix, suffix)), st.floats(0, 1), USED)
    def exact(source: Any, size: float, numbers: Mapping[int, int]) -> None:
        made = parsed(source)
        kept = subset(made, size, sampled(source.get_vocab(), numbers))
        tiny = shrunken(made, kept)
        assert tiny.get_vocab() == kept
        covered.update(compared(tokens_of(source, words), tokens_of(tiny, words), kept))

    exact()
    assert covered[True] > 100
    assert covered[False] > 100


@pytest.mark.parametrize(
    "options",
    [
        {"ignore_merges": True},
        {"unk_token": "a"},
        {"unk_token": "<unk>"},
        {"unk_token": "<unk>", "fuse_unk": True},
        {"unk_token": "<unk>", "ignore_merges": True, "fuse_unk": True},
    ],
    ids=str,
)
def test_kept_text_is_cut_alike_with_every_option(options: Mapping[str, Any]) -> None:
    covered, words = Counter[bool](), every_word("abz?", 4)

    @EASY
    @given(sources(**{n: v for n, v in options.items() if n != "unk_token"}), st.floats(0, 1), USED)
    def exact(source: Any, size: float, numbers: Mapping[int, int]) -> None:
        data = json.loads(source.to_str())
        unknown = options.get("unk_token")
        if unknown:
            data["model"]["unk_token"] = unknown
            data["model"]["vocab"].setdefault(unknown, len(data["model"]["vocab"]))
        made = TokenizerJson(data=data)
        from tokenizers import Tokenizer

        source = Tokenizer.from_str(json.dumps(data))
        kept = subset(made, size, sampled(source.get_vocab(), numbers))
        assert unknown is None or unknown in kept
        tiny = shrunken(made, kept)
        covered.update(compared(tokens_of(source, words), tokens_of(tiny, words), kept))

    exact()
    assert covered[True] > 500
    assert covered[False] > 500


def test_kept_text_is_cut_alike_where_characters_fall_back_to_bytes() -> None:
    covered = Counter[bool]()
    words = [*every_word("abcz", 3), *every_word("ab", 6), *every_word("aé漢", 3)]

    @EASY
    @given(sources(("", "")), st.sampled_from([None, "<unk>"]), st.floats(0, 1), USED)
    def exact(source: Any, unknown: str | None, size: float, numbers: Mapping[int, int]) -> None:
        vocabulary = [*BYTES, "<unk>", *source.get_vocab()]
        model = json.loads(source.to_str())["model"]
        pairs = [(left, right) for left, right in model["merges"]]
        options = {"unk_token": unknown} if unknown else {}
        source = library(vocabulary, pairs, byte_fallback=True, **options)
        made = parsed(source)
        kept = subset(made, size, sampled(source.get_vocab(), numbers))
        assert {*BYTES} <= kept.keys()
        tiny = shrunken(made, kept)
        covered.update(compared(tokens_of(source, words), tokens_of(tiny, words), kept))

    exact()
    assert covered[True] > 500
    assert covered[False] > 500


def surroundings(token: str, prefix: str, suffix: str) -> tuple[str, list[str]]:
    """A word that has the token's text where the token can stand, and the cut that shows it."""
    word, cut = token, [token]
    if suffix and token.endswith(suffix):
        word = word[: -len(suffix)]
    elif suffix:
        word, cut = word + SEPARATOR, [*cut, prefix + SEPARATOR + suffix]
    if prefix and token.startswith(prefix):
        word, cut = SEPARATOR + word[len(prefix) :], [SEPARATOR, *cut]
    return word, cut


@pytest.mark.parametrize(("prefix", "suffix"), FORMS)
def test_a_token_that_merges_never_make_comes_out_of_no_word(prefix: str, suffix: str) -> None:
    found, words = Counter[bool](), every_word("abcz", 4)

    @EASY
    @given(sources((prefix, suffix)))
    def emitted(source: Any) -> None:
        segmenter = tokenizer_json.segmenter(parsed(source))
        seen = {token for cut in tokens_of(source, words) for token in cut}
        for token in segmenter.tokens:
            assert segmenter.emitted(token) is (segmenter.parts(token) is not None)
            word, cut = surroundings(token, prefix, suffix)
            assert segmenter.emitted(token) is (source.encode(word).tokens == cut)
            assert segmenter.emitted(token) or token not in seen
            found[segmenter.emitted(token)] += 1

    emitted()
    assert found[True] > 100
    assert found[False] > 10


def test_a_whole_word_is_emitted_without_merges() -> None:
    source = library(["a", "b", "ab", "ba", "aba"], [("a", "b")], ignore_merges=True)
    segmenter = tokenizer_json.segmenter(parsed(source))
    assert source.encode("ba").tokens == ["ba"]
    assert source.encode("bba").tokens == ["b", "b", "a"]
    assert segmenter.emitted("ba")
    assert segmenter.parts("ba") is None
    assert segmenter.parts("ab") == {"a", "b"}


@pytest.mark.parametrize(("prefix", "suffix"), FORMS)
def test_parts_are_what_the_library_passes_through(prefix: str, suffix: str) -> None:
    found = Counter[int]()

    @EASY
    @given(sources((prefix, suffix), shuffled=False))
    def parts(source: Any) -> None:
        made = parsed(source)
        segmenter, model = tokenizer_json.segmenter(made), made.data["model"]
        # Where no merge comes before those that make its parts, the library's first merges alone
        # stop at what it holds half-way.
        steps = [
            library(model["vocab"], [tuple(m) for m in model["merges"][:count]], prefix, suffix)
            for count in range(len(model["merges"]) + 1)
        ]
        for token in segmenter.tokens:
            word, cut = surroundings(token, prefix, suffix)
            if source.encode(word).tokens != cut:
                assert segmenter.parts(token) is None
                continue
            start, end = cut.index(token), len(cut) - 1 - cut.index(token)
            through = set()
            for step in steps:
                at = step.encode(word).tokens
                through |= {*at[start : len(at) - end]}
            assert segmenter.parts(token) == through - {token}
            found[len(through)] += 1

    parts()
    assert sum(times for size, times in found.items() if size > 4) > 20


def test_a_token_without_what_it_is_merged_from_is_lost() -> None:
    source = library(["a", "b", "c", "ab", "abc"], [("a", "b"), ("ab", "c")])
    made = parsed(source)
    assert tokenizer_json.segmenter(made).parts("abc") == {"a", "b", "c", "ab"}
    naive = shrunken(made, {"a": 0, "b": 1, "c": 2, "abc": 3})
    assert source.encode("abc").tokens == ["abc"]
    assert naive.encode("abc").tokens == ["a", "b", "c"]
    space = Space(
        name="",
        ids=made.data["model"]["vocab"],
        segmenters=(tokenizer_json.segmenter(made),),
        atoms=frozenset(),
    )
    kept = choose.choose(space, size=5, must={"abc": "keep"}, alphabet={}, used={}).kept
    assert kept == {"abc": "keep"} | dict.fromkeys(("a", "b", "c", "ab"), "derivation")


def test_the_order_of_merges_decides_over_the_order_of_ids() -> None:
    source = library(["a", "b", "c", "ab", "bc", "abc"], [("b", "c"), ("a", "b"), ("a", "bc")])
    segmenter = tokenizer_json.segmenter(parsed(source))
    assert segmenter.parts("abc") == {"a", "b", "c", "bc"}
    assert list(segmenter.ranked()) == ["bc", "ab", "abc"]


def test_letters_stand_at_four_places_of_a_word() -> None:
    tokens = ["a", "##a", "a</w>", "##a</w>", "b", "##b"]
    segmenter = tokenizer_json.segmenter(parsed(library(tokens, [], "##", "</w>")))
    assert segmenter.letters("a") == {"a", "##a", "a</w>", "##a</w>"}
    assert segmenter.letters("bc") == {"b", "##b"}
    assert not segmenter.misleads("a")


def test_the_256_letters_are_those_of_the_tokenizers_library() -> None:
    from tokenizers import pre_tokenizers

    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    assert {*LETTERS} == {*level.alphabet()}
    for number in range(128):
        assert level.pre_tokenize_str(chr(number)) == [(LETTERS[number], (0, 1))]
    assert level.pre_tokenize_str("é")[0][0] == LETTERS[0xC3] + LETTERS[0xA9]


# --- tiktoken -------------------------------------------------------------------------------------


@st.composite
def ranked(draw: st.DrawFn) -> Ranks:
    """The 256 bytes and random longer tokens, with gaps between the ranks."""
    longer = draw(
        st.lists(st.text("abc", min_size=2, max_size=6), min_size=1, max_size=14, unique=True)
    )
    for _ in range(draw(st.integers(0, 10))):
        longer.append(draw(st.sampled_from(longer))[:5] + draw(st.sampled_from([*"abc", *longer])))
    tokens, number = {letter: place for place, letter in enumerate(LETTERS)}, 256
    for token in dict.fromkeys(longer):
        number += draw(st.integers(0, 2))
        tokens[token], number = number, number + 1
    return Ranks(tokens=tokens)


def encoding(tokens: Mapping[str, int]) -> Any:
    import tiktoken

    pairs = {ranks.to_bytes(token): number for token, number in tokens.items()}
    return tiktoken.Encoding("x", pat_str=r"(?s).+", mergeable_ranks=pairs, special_tokens={})


def pieces_of(tokens: Mapping[str, int], words: Iterable[str]) -> list[list[str]]:
    """The cut of each word, as one word, by the tiktoken library."""
    made, names = encoding(tokens), {number: token for token, number in tokens.items()}
    return [[names[n] for n in made.encode_ordinary(word)] for word in words]


def test_kept_text_is_cut_alike_by_tiktoken() -> None:
    covered = Counter[bool]()
    words = [*every_word("abc", 4), *every_word("ab", 7), "abc" * 50, "aab" * 60, "é漢🙂"]

    @EASY
    @given(ranked(), st.floats(0, 1), USED)
    def exact(made: Ranks, size: float, numbers: Mapping[int, int]) -> None:
        segmenter = ranks.segmenter(made)
        space = Space(name="", ids=made.tokens, segmenters=(segmenter,), atoms=frozenset())
        used = {
            list(made.tokens)[256:][n % (len(made.tokens) - 256)]: t for n, t in numbers.items()
        }
        count = 256 + round(size * (len(made.tokens) - 256))
        found = choose.choose(space, size=count, must=ranks.required(made), alphabet={}, used=used)
        kept = {t: n for n, t in enumerate(sorted(found.kept, key=made.tokens.__getitem__))}
        covered.update(compared(pieces_of(made.tokens, words), pieces_of(kept, words), kept))

    exact()
    assert covered[True] > 500
    assert covered[False] > 500


def test_parts_are_what_tiktoken_passes_through() -> None:
    found = Counter[bool]()

    @EASY
    @given(ranked())
    def parts(made: Ranks) -> None:
        segmenter = ranks.segmenter(made)
        longer = [token for token in made.tokens if len(token) > 1]
        for token in longer:
            assert segmenter.emitted(token)
            # A word that is the token is one, whatever the merges: so it stands beside a z.
            (cut,) = pieces_of(made.tokens, [token + "z"])
            assert (segmenter.parts(token) is not None) is (cut == [token, "z"])
            found[cut == [token, "z"]] += 1
            if cut == [token, "z"]:
                needed = {t: n for t, n in made.tokens.items() if len(t) == 1}
                needed |= {t: made.tokens[t] for t in (*segmenter.parts(token), token)}
                assert pieces_of(needed, [token + "z"]) == [[token, "z"]]

    parts()
    assert found[True] > 50
    assert found[False] > 5


# --- sentencepiece --------------------------------------------------------------------------------


def model(entries: Iterable[tuple[str, float, int]], kind: int = spm.BPE, **spec: Any) -> Any:
    """A ModelProto of pieces (name, score, type), for text without dummy spaces."""
    from sentencepiece import sentencepiece_model_pb2

    proto = sentencepiece_model_pb2.ModelProto()
    for name, score, type_ in entries:
        proto.pieces.add(piece=name, score=score, type=type_)
    proto.trainer_spec.model_type = kind
    for name, value in spec.items():
        setattr(proto.trainer_spec, name, value)
    proto.normalizer_spec.name = "identity"
    proto.normalizer_spec.add_dummy_prefix = False
    return proto


def encoded(data: bytes, texts: Sequence[str]) -> list[list[str]]:
    import sentencepiece

    made = sentencepiece.SentencePieceProcessor(model_proto=data)
    return [[made.id_to_piece(n) for n in cut] for cut in made.encode(list(texts), num_threads=1)]


HEAD = [("<unk>", 0.0, spm.UNKNOWN), ("<s>", 0.0, spm.CONTROL), ("</s>", 0.0, spm.CONTROL)]
TYPES = st.sampled_from([spm.NORMAL] * 6 + [spm.UNUSED, spm.UNUSED, spm.USER_DEFINED])


@st.composite
def protos(draw: st.DrawFn) -> Any:
    """A SentencePiece BPE: scores with ties, pieces of every type."""
    bytes_ = draw(st.booleans())
    entries = list(HEAD)
    if bytes_:
        entries += [(piece, 0.0, spm.BYTE) for piece in BYTES]
    longer = draw(st.lists(st.text("abc", min_size=2, max_size=5), max_size=10, unique=True))
    longer += [a + b for a, b in itertools.pairwise(longer) if len(a + b) < 8]
    for name in dict.fromkeys([*longer, *"abc"]):
        kind = draw(TYPES) if len(name) > 1 else spm.NORMAL
        entries.append((name, -float(draw(st.integers(0, 9))), kind))
    return model(entries, byte_fallback=bytes_)


def chosen(proto: Any, size: float, numbers: Mapping[int, int]) -> set[str]:
    ids = {piece.piece: number for number, piece in enumerate(proto.pieces)}
    segmenter = spm.segmenter(proto)
    fixed = (spm.UNKNOWN, spm.CONTROL, spm.USER_DEFINED)
    atoms = {piece.piece for piece in proto.pieces if piece.type in fixed}
    space = Space(name="", ids=ids, segmenters=(segmenter,), atoms=atoms)
    must = {**spm.required(proto), **segmenter.required()}
    least = {*must}
    for token in must:
        least |= segmenter.parts(token) or set()
    count = len(least) + round(size * (len(ids) - len(least)))
    used = sampled(dict(list(ids.items())[-12:]), numbers)
    found = choose.choose(space, size=count, must=must, alphabet={}, used=used)
    assert len(found.kept) == count
    return {*found.kept}


def test_kept_text_is_cut_alike_by_sentencepiece() -> None:
    covered, types = Counter[bool](), Counter[int]()
    texts = [*every_word("abc", 4), *every_word("ab", 6), "aéa", "漢b", "é漢"]

    @EASY
    @given(protos(), st.floats(0, 1), USED)
    def exact(proto: Any, size: float, numbers: Mapping[int, int]) -> None:
        kept = chosen(proto, size, numbers)
        types.update(piece.type for piece in proto.pieces)
        tiny = spm.cut(proto, kept)
        before = encoded(proto.SerializeToString(), texts)
        covered.update(compared(before, encoded(tiny, texts), kept))

    exact()
    assert covered[True] > 500
    assert covered[False] > 500
    assert min(types[kind] for kind in (spm.UNUSED, spm.USER_DEFINED, spm.BYTE)) > 20


def test_a_piece_that_is_not_emitted_comes_out_of_no_text() -> None:
    found, texts = Counter[bool](), every_word("abc", 5)

    @EASY
    @given(protos())
    def emitted(proto: Any) -> None:
        segmenter = spm.segmenter(proto)
        seen = {token for cut in encoded(proto.SerializeToString(), texts) for token in cut}
        normal = {piece.piece for piece in proto.pieces if piece.type == spm.NORMAL}
        for token in normal:
            assert segmenter.emitted(token) or token not in seen
            found[segmenter.emitted(token)] += 1

    emitted()
    assert found[True] > 100
    assert found[False] > 10


def test_unused_pieces_stay_for_what_merges_through_them() -> None:
    names = [("ab", -1.0, spm.UNUSED), ("abc", -2.0, spm.NORMAL), ("ca", -3.0, spm.NORMAL)]
    proto = model([*HEAD, *names, *((c, -9.0, spm.NORMAL) for c in "abc")])
    texts = ["abc", "ab", "cab"]
    before = encoded(proto.SerializeToString(), texts)
    assert before == [["abc"], ["a", "b"], ["c", "a", "b"]]
    assert spm.required(proto)["ab"] == "unused"
    assert (
        encoded(spm.cut(proto, {p.piece for p in proto.pieces} - {"abc"}), texts[1:]) == before[1:]
    )
    naive = {p.piece for p in proto.pieces} - {"ab"}
    assert encoded(spm.cut(proto, naive), texts) == [["a", "b", "c"], ["a", "b"], ["ca", "b"]]


def test_byte_pieces_and_the_unknown_are_required() -> None:
    assert Bpe(tokens={"<unk>": 0, "a": 1}, merges={}, unknown="<unk>").required() == {
        "<unk>": "unknown"
    }
    whole = Bpe(tokens={b: n for n, b in enumerate(BYTES)}, merges={}, bytes_=True)
    assert whole.required() == dict.fromkeys(BYTES, "alphabet")
    assert whole.parts("<0x41>") == frozenset()
    assert Bpe(tokens={"a": 0}, merges={}, unknown="<gone>").required() == {}
