"""Which tokens stay: reasons in order, the exact size, messages that name the smallest."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kit import faults

from tinybuild.errors import BuildFault
from tinybuild.tokenizer import choose
from tinybuild.tokenizer.bpe import Bpe
from tinybuild.tokenizer.choose import Space
from tinybuild.tokenizer.segmenter import Segmenter
from tinybuild.tokenizer.unigram import Unigram
from tinybuild.tokenizer.words import Words

MERGES = [("a", "b"), ("b", "c"), ("ab", "c"), ("abc", "d"), ("c", "d"), ("d", "d")]
LETTERS = ["a", "b", "c", "d"]
MERGED = [left + right for left, right in MERGES]


def numbered(tokens: Iterable[str]) -> dict[str, int]:
    return {token: number for number, token in enumerate(tokens)}


def space(
    tokens: Iterable[str], *segmenters: Segmenter, atoms: Iterable[str] = (), name: str = ""
) -> Space:
    return Space(name=name, ids=numbered(tokens), segmenters=segmenters, atoms=frozenset(atoms))


def bpe() -> Space:
    """<s> </s> <x>, letters, merges, and a token that merges never make."""
    own = [*LETTERS, *MERGED, "bd"]
    ids = numbered(["<s>", "</s>", "<x>", *own])
    merges = {pair: rank for rank, pair in enumerate(MERGES)}
    segmenter = Bpe(tokens={token: ids[token] for token in own}, merges=merges)
    return space(ids, segmenter, atoms=["<s>", "</s>", "<x>"])


def kept(
    where: Space,
    size: int,
    must: Mapping[str, str] | None = None,
    alphabet: Iterable[str] = (),
    used: Mapping[str, int] | None = None,
) -> dict[str, str]:
    letters = dict.fromkeys(alphabet, choose.ALPHABET)
    found = choose.choose(where, size=size, must=must or {}, alphabet=letters, used=used or {})
    assert len(found.kept) == size
    return dict(found.kept)


def refused(where: Space, size: int, **more: object) -> tuple[str, str]:
    """The message and its hint."""
    refusal = faults.refused(kept, where, size, **more)
    assert refusal.key == ("tokenizer", "vocab_size")
    return refusal.what, refusal.hint


def test_reasons_come_in_their_order() -> None:
    found = kept(bpe(), 12, {"</s>": "special"}, ["a", "b"], {"abcd": 1, "dd": 5})
    assert list(found.items()) == [
        ("</s>", "special"),
        ("a", "alphabet"),
        ("b", "alphabet"),
        ("<s>", "reserved"),
        ("<x>", "reserved"),
        ("dd", "sample"),
        ("d", "derivation"),
        *((token, found[token]) for token in [*found][7:11]),
        ("bc", "rank"),
    ]
    assert found["abcd"] == "sample"
    assert {token: found[token] for token in ("ab", "c", "abc")} == dict.fromkeys(
        ("ab", "c", "abc"), "derivation"
    )


def test_a_token_that_lives_for_two_reasons_keeps_the_first() -> None:
    found = kept(bpe(), 8, {"abc": "keep", "ab": "config.json"}, "abc", {"abc": 9})
    assert found["abc"] == "keep"
    assert found["ab"] == "derivation"
    assert found["c"] == "derivation"
    assert found["<s>"] == "reserved"


def test_a_sample_is_taken_by_frequency_and_then_by_id() -> None:
    where = space("abcdefgh", Words(tokens=numbered("abcdefgh"), unknown=None))
    assert list(kept(where, 3, used={"h": 2, "c": 5, "b": 2, "?": 99})) == ["c", "b", "h"]
    assert list(kept(where, 4, used={"h": 2, "c": 5})) == ["c", "h", "a", "b"]


def test_a_sampled_token_whose_parts_do_not_fit_leaves_room_for_the_next() -> None:
    found = kept(
        bpe(), 6, dict.fromkeys(("<s>", "</s>", "<x>"), "special"), (), {"abcd": 9, "dd": 1}
    )
    assert list(found)[3:] == ["dd", "d", "a"]
    assert found["dd"] == "sample"


def test_tokens_that_no_text_gives_come_last() -> None:
    where = bpe()
    assert "bd" not in kept(where, 13, used={"bd": 99})
    assert kept(where, 14)["bd"] == "rank"


def test_tokens_that_mislead_come_last() -> None:
    tokens = ["[UNK]", "##bc", "a", "##b", "c"]
    where = space(tokens, Words(tokens=numbered(tokens), unknown="[UNK]", prefix="##"))
    assert list(kept(where, 5, used={"##bc": 99})) == ["[UNK]", "a", "##b", "c", "##bc"]
    assert "##bc" not in kept(where, 4, used={"##bc": 99})


def test_an_atom_comes_with_its_merges_too() -> None:
    # A text that a normaliser turns into the token, without being it, is merged.
    where = bpe()
    where = Space(name="", ids=where.ids, segmenters=where.segmenters, atoms=where.atoms | {"abcd"})
    found = kept(where, 7, {"abcd": "special"})
    assert found.pop("abcd") == "special"
    assert set(found.values()) == {"derivation"}
    alone = Space(name="", ids={"<s>": 0, **where.ids}, segmenters=where.segmenters, atoms={"<s>"})
    assert kept(alone, 1, {"<s>": "special"}) == {"<s>": "special"}


def test_two_algorithms_ask_for_all_that_either_needs() -> None:
    # One makes abc of ab and c, the other of a and bc; and bc, in the first, of b and c.
    tokens = ["a", "b", "c", "ab", "bc", "abc"]
    one = Bpe(tokens=numbered(tokens), merges={("b", "c"): 5, ("a", "b"): 1, ("ab", "c"): 2})
    two = Bpe(tokens=numbered(tokens), merges={("b", "c"): 1, ("a", "bc"): 2})
    assert kept(space(tokens, one, two), 6, {"abc": "keep"}) == {
        "abc": "keep",
        **dict.fromkeys(("ab", "bc", "a", "b", "c"), "derivation"),
    }
    assert refused(space(tokens, one, two), 5, must={"abc": "keep"})[1] == "ask for at least 6"
    assert set(kept(space(tokens, two), 5, {"abc": "keep"})) == {*tokens} - {"ab"}


def test_every_size_is_exact() -> None:
    where = bpe()
    tokens = list(where.ids)

    @settings(deadline=None, derandomize=True, max_examples=150)
    @given(
        st.integers(1, len(tokens)),
        st.sets(st.sampled_from(tokens), max_size=3),
        st.sets(st.sampled_from(LETTERS), max_size=4),
        st.dictionaries(st.sampled_from(tokens), st.integers(1, 5), max_size=5),
    )
    def exact(size: int, must: set[str], alphabet: set[str], used: dict[str, int]) -> None:
        wishes = dict.fromkeys(sorted(must), "keep")
        try:
            found = kept(where, size, wishes, alphabet, used)
        except BuildFault as fault:
            (least,) = re.findall(r"at least (\d+)", fault.findings[0].hint)
            assert int(least) > size
            assert len(kept(where, int(least), wishes, alphabet, used)) == int(least)
            with pytest.raises(BuildFault, match=f"vocab_size {int(least) - 1} is too small"):
                kept(where, int(least) - 1, wishes, alphabet, used)
            return
        assert must | alphabet <= found.keys() <= where.ids.keys()
        for token in found.keys() - where.atoms:
            assert (where.segmenters[0].parts(token) or set()) <= found.keys()
        assert found == kept(where, size, wishes, alphabet, used)

    exact()


def test_a_size_that_is_too_small_names_the_smallest() -> None:
    must = {"<s>": "special", "</s>": "special", "abcd": "keep"}
    what, hint = refused(bpe(), 8, must=must, alphabet=LETTERS)
    assert what == ("vocab_size 8 is too small: 9 tokens must live and 0 more are the alphabet")
    assert hint == "ask for at least 9"
    assert set(kept(bpe(), 9, must, LETTERS)) == {"<s>", "</s>", *LETTERS, "ab", "abc", "abcd"}
    what, hint = refused(bpe(), 5, must={"<s>": "special", "dd": "keep"}, alphabet=LETTERS)
    assert "3 tokens must live and 3 more are the alphabet" in what
    assert hint == "ask for at least 6"
    assert len(kept(bpe(), 6, {"<s>": "special", "dd": "keep"}, LETTERS)) == 6


def test_a_size_larger_than_the_source_is_refused() -> None:
    names = [f"w{number}" for number in range(1200)]
    where = space(names, Words(tokens=numbered(names), unknown=None))
    what, hint = refused(where, 1201)
    assert what == "vocab_size 1,201 is more than the source's 1,200 tokens"
    assert hint == "ask for at most 1,200, or take the source as it is: method: keep"
    assert list(kept(where, 1200)) == names


def test_an_alphabet_of_the_text_that_the_source_does_not_have_asks_for_nothing() -> None:
    assert kept(bpe(), 1, {"<s>": "special"}, "é漢") == {"<s>": "special"}


def test_rank_is_the_order_of_merges_and_of_scores() -> None:
    must = dict.fromkeys(("<s>", "</s>", "<x>", *LETTERS), "special")
    assert list(kept(bpe(), 10, must))[7:] == ["ab", "bc", "abc"]
    scores = {"<unk>": 0.0, "b": -3.0, "a": -1.0, "ab": -9.0, "c": -2.0}
    unigram = Unigram(tokens=scores, plain=scores.keys() - {"<unk>"}, unknown="<unk>")
    where = space(scores, unigram, atoms=["<unk>"])
    # "ab" is never the best path through "ab".
    assert list(kept(where, 4)) == ["<unk>", "b", "a", "c"]


def test_a_run_loses_its_high_numbers_first() -> None:
    run = [f"<extra_id_{number}>" for number in range(99, -1, -1)]
    tokens = ["</s>", "a", "b", *run, "<mask>"]
    words = Words(tokens={"a": 1, "b": 2}, unknown=None)
    where = space(tokens, words, atoms=["</s>", *run, "<mask>"])
    found = choose.choose(
        where, size=14, must={"</s>": "special"}, alphabet={"a": choose.ALPHABET}, used={}
    )
    assert list(found.kept)[:3] == ["</s>", "a", "<mask>"]
    assert list(found.kept)[3:] == [f"<extra_id_{number}>" for number in range(11)]
    assert "<extra_id_99>" in found.trimmed
    assert "<extra_id_0>" not in found.trimmed
    assert [*found.trimmed] == [f"<extra_id_{number}>" for number in range(11, 100)]
    assert choose.runs(found.trimmed) == {"<extra_id_#>": 89}


def test_short_runs_come_before_long_ones_and_numbers_before_letters() -> None:
    tokens = ["<a9>", "<a10>", "<b2>", "<b1>", "<b3>", "<0.5>", "<0.25>", "<c7>", "<d>"]
    where = space(tokens, atoms=tokens)
    assert list(kept(where, 9)) == [
        *("<c7>", "<d>"),
        *("<0.25>", "<0.5>"),
        *("<a9>", "<a10>"),
        *("<b1>", "<b2>", "<b3>"),
    ]


def test_runs_are_summed_up_by_shape() -> None:
    assert choose.runs([]) == {}
    tokens = ["<|0.00|>", "<|0.02|>", "<x>", "<extra_id_7>", "<s1>", "<s22>", "<s3>"]
    assert choose.runs(tokens) == {"<extra_id_7>": 1, "<s#>": 3, "<x>": 1, "<|#|>": 2}


def test_a_token_of_no_algorithm_may_come_out_of_a_text() -> None:
    segmenter = Bpe(tokens=numbered("ab") | {"ba": 2}, merges={("a", "b"): 0})
    assert not choose.emitted("ba", [segmenter])
    assert choose.emitted("a", [segmenter])
    assert choose.emitted("<s>", [segmenter])
    words = Words(tokens={"ba": 0}, unknown=None)
    assert choose.emitted("ba", [segmenter, words])
