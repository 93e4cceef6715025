"""tiktoken and Tekken files: read in every form they come in, cut, and read by their libraries."""

from __future__ import annotations

import base64
import functools
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from kit import faults

from tinybuild.tokenizer import choose, ranks
from tinybuild.tokenizer.choose import Space
from tinybuild.tokenizer.format import Held
from tinybuild.tokenizer.ranks import Ranks
from tinybuild.tokenizer.segmenter import LETTERS

BYTES = [bytes([number]) for number in range(256)]
LONGER = [b"th", b" t", b"he", b" th", b" the", b"in", b"an", b" a", b"ing", b"\xc3\xa9"]
TEXTS = ("the thing", "then an in", "a theéé", "hat", "\n\t \x00", "漢字 🙂", "the" * 60)


def lines(tokens: Iterable[bytes], end: bytes = b"\n") -> bytes:
    return b"".join(
        base64.b64encode(token) + b" %d" % rank + end for rank, token in enumerate(tokens)
    )


def read(folder: Path, data: bytes, name: str = "x.tiktoken") -> Ranks:
    (folder / name).write_bytes(data)
    return ranks.read(folder / name)


def refused(folder: Path, data: bytes, name: str = "x.tiktoken") -> str:
    refusal = faults.refused(read, folder, data, name)
    assert refusal.key == ("tokenizer",)
    assert refusal.hint
    return refusal.what


def of_bytes(made: Ranks) -> dict[bytes, int]:
    return {ranks.to_bytes(token): rank for token, rank in made.tokens.items()}


def encoding(tokens: Mapping[bytes, int]) -> Any:
    import tiktoken

    return tiktoken.Encoding(
        "x", pat_str=r" ?\S+|\s", mergeable_ranks=dict(tokens), special_tokens={}
    )


def pieces(tokens: Mapping[bytes, int], text: str) -> list[bytes]:
    made = encoding(tokens)
    return [made.decode_single_token_bytes(number) for number in made.encode_ordinary(text)]


# --- tiktoken -------------------------------------------------------------------------------------


def test_lines_end_as_they_like(tmp_path: Path) -> None:
    plain = {token: rank for rank, token in enumerate([*BYTES, *LONGER])}
    data = lines(plain)
    assert of_bytes(read(tmp_path, data)) == plain
    assert of_bytes(read(tmp_path, lines(plain, b"\r\n"))) == plain
    assert of_bytes(read(tmp_path, data.rstrip(b"\n"))) == plain
    assert of_bytes(read(tmp_path, data.replace(b"\n", b"\n\n") + b"  \n\r\n")) == plain
    assert of_bytes(read(tmp_path, data.replace(b" ", b"\t"))) == plain


def test_a_token_of_no_bytes_takes_an_id(tmp_path: Path) -> None:
    made = read(tmp_path, lines(BYTES) + b"= 256\n" + base64.b64encode(b"th") + b" 257\n")
    assert made.tokens["th"] == 257
    assert len(made.tokens) == 257
    again = read(tmp_path, ranks.cut(made, {token: n for n, token in enumerate(made.tokens)}))
    assert again.tokens["th"] == 256
    assert of_bytes(read(tmp_path, lines(BYTES) + b"= 50256\n")) == dict(
        zip(BYTES, range(256), strict=True)
    )


def test_ranks_may_have_gaps(tmp_path: Path) -> None:
    data = lines(BYTES) + b"".join(
        base64.b64encode(token) + b" %d\n" % rank for token, rank in ((b"th", 300), (b"the", 302))
    )
    made = read(tmp_path, data)
    assert [*made.tokens.values()][-3:] == [255, 300, 302]
    assert ranks.segmenter(made).parts("the") == {"t", "h", "e", "th"}
    kept = {token: n for n, token in enumerate(made.tokens)}
    assert ranks.cut(made, kept) == lines([*BYTES, b"th", b"the"])


@pytest.mark.parametrize(
    ("more", "what"),
    [
        (b"dGg=\n", "x.tiktoken:257 is not a token in base64 and its rank: 'dGg='"),
        (b"\n\ndGg= 1 2\n", "x.tiktoken:259 is not a token in base64 and its rank: 'dGg= 1 2'"),
        (b"dG#g= 256\n", "x.tiktoken:257 is not a token in base64 and its rank: 'dG#g= 256'"),
        (b"dGg 256\n", "x.tiktoken:257 is not a token in base64 and its rank: 'dGg 256'"),
        (b"dGg= x\n", "x.tiktoken:257 is not a token in base64 and its rank: 'dGg= x'"),
        (
            b"\xff\xfe 256\n",
            "x.tiktoken:257 is not a token in base64 and its rank: '\ufffd\ufffd 256'",
        ),
        (b"dGg= 256\ndGg= 257\n", "x.tiktoken:258 holds 'th' again"),
        (b"dGg= 255\n", "x.tiktoken:257 has rank 255 after 255"),
        (b"dGg= 300\ndGhl 299\n", "x.tiktoken:258 has rank 299 after 300"),
        (b"dGg= -1\n", "x.tiktoken:257 has rank -1 after 255"),
    ],
)
def test_a_line_that_is_wrong_is_named(more: bytes, what: str, tmp_path: Path) -> None:
    assert refused(tmp_path, lines(BYTES) + more) == what


def test_files_of_other_kinds_are_refused(tmp_path: Path) -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 3\n"
    assert refused(tmp_path, pointer).startswith("x.tiktoken:1 is not a token in base64")
    assert refused(tmp_path, b"") == "x.tiktoken holds no token"
    assert refused(tmp_path, b"= 0\n\n") == "x.tiktoken holds no token"
    long = refused(tmp_path, b"x" * 1000)
    assert long.endswith(f"'{'x' * 40}'")


def test_a_vocabulary_without_a_byte_is_not_whole(tmp_path: Path) -> None:
    assert refused(tmp_path, lines(BYTES[:255])) == (
        "x.tiktoken holds no token for 1 of the 256 bytes, such as 0xFF"
    )
    what = refused(tmp_path, lines([b for b in BYTES if b not in (b"\n", b"a")]))
    assert what == "x.tiktoken holds no token for 2 of the 256 bytes, such as 0x0A"


def test_the_first_line_tells_a_tiktoken_file(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.model"
    for data, told in (
        (lines(BYTES), True),
        (lines(BYTES, b"\r\n"), True),
        (b"", False),
        (b"\x0a\x0e\x0a\x05<unk>\x15", False),
        (b"version https://git-lfs.github.com/spec/v1\n", False),
        (b'{"model": {}}', False),
    ):
        path.write_bytes(data)
        assert ranks.is_tiktoken(path) is told


def test_a_cut_file_is_read_by_tiktoken(tmp_path: Path) -> None:
    from tiktoken.load import load_tiktoken_bpe

    made = read(tmp_path, lines([*BYTES, *LONGER]))
    segmenter, covered = ranks.segmenter(made), Counter[bool]()
    for size in range(256, 256 + len(LONGER) + 1):
        space = Space(name="", ids=made.tokens, segmenters=(segmenter,), atoms=frozenset())
        found = choose.choose(
            space, size=size, must=ranks.required(made), alphabet={}, used={" the": 5, "an": 2}
        )
        kept = {t: n for n, t in enumerate(sorted(found.kept, key=made.tokens.__getitem__))}
        path = tmp_path / f"{size}.tiktoken"
        path.write_bytes(ranks.cut(made, kept))
        tiny = load_tiktoken_bpe(str(path))
        assert tiny == {ranks.to_bytes(token): number for token, number in kept.items()}
        assert ranks.read(path).tokens == kept
        for text in TEXTS:
            before = pieces(of_bytes(made), text)
            covered[tiny.keys() >= {*before}] += 1
            assert not tiny.keys() >= {*before} or pieces(tiny, text) == before
    assert covered[True] > 20
    assert covered[False] > 20


def test_letters_stand_for_bytes() -> None:
    assert b"".join(ranks.to_bytes(letter) for letter in LETTERS) == bytes(range(256))
    assert ranks.to_bytes("Ġthe") == b" the"
    assert ranks.to_bytes("Ã©") == "é".encode()
    assert {*ranks.required(Ranks(tokens={}))} == {*LETTERS}


def test_tokens_that_the_tokenizer_lacks_are_strangers() -> None:
    made = Ranks(tokens={"a": 0, "b": 1, "ab": 2})
    assert Held(format=ranks.TIKTOKEN, content=made).strangers({"b"}) == ["a", "ab"]


# --- Tekken ---------------------------------------------------------------------------------------


def tekken(
    words: Iterable[bytes] = (*BYTES, *LONGER),
    special: Iterable[str] | None = ("<unk>", "<s>", "</s>", "[INST]"),
    **config: Any,
) -> dict[str, Any]:
    vocab = [
        {
            "rank": rank,
            "token_bytes": base64.b64encode(word).decode(),
            "token_str": word.decode("utf-8", "replace"),
        }
        for rank, word in enumerate(words)
    ]
    data: dict[str, Any] = {
        "config": {"pattern": r" ?\S+|\s", "num_vocab_tokens": len(vocab), "version": "v11"},
        "vocab": vocab,
    }
    if special is not None:
        data["special_tokens"] = [
            {"rank": rank, "token_str": token, "is_control": True}
            for rank, token in enumerate(special)
        ]
        count = len(data["special_tokens"])
        data["config"] |= {
            "default_vocab_size": len(vocab) + count,
            "default_num_special_tokens": count,
        }
    data["config"] |= config
    return data


def packed(data: Any) -> bytes:
    return json.dumps(data).encode()


def test_a_tekken_file_holds_special_tokens_and_words(tmp_path: Path) -> None:
    data = tekken(default_num_special_tokens=10, default_vocab_size=10 + 260)
    data["special_tokens"].reverse()
    made = read(tmp_path, packed(data), "tekken.json")
    assert len(made.tokens) == 260  # the rest of the words is not used
    assert [entry["token_str"] for entry in made.special] == [
        *("<unk>", "<s>", "</s>", "[INST]"),
        *(f"<SPECIAL_{number}>" for number in range(4, 10)),
    ]
    assert made.tekken == data


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "is not a Tekken file: JSONDecodeError"),
        (b'{"config": {}, "vocab": [', "is not a Tekken file: JSONDecodeError"),
        (b'{"config": "\xff"}', "is not a Tekken file: UnicodeDecodeError"),
        (b"[" * 100_000, "is not a Tekken file: RecursionError"),
        (b"[]", "is not a Tekken file: TypeError"),
        (b"{}", "is not a Tekken file: KeyError 'config'"),
        (packed({"config": []}), "is not a Tekken file: "),
        (packed({"config": {}, "special_tokens": []}), "is not a Tekken file: KeyError 'vocab'"),
        (packed(tekken() | {"vocab": {"a": 1}}), "is not a Tekken file: "),
        (packed(tekken() | {"vocab": [{"rank": 0}]}), "is not a Tekken file: KeyError"),
        (packed(tekken() | {"vocab": [{"token_bytes": "x"}]}), "is not a Tekken file: Error"),
        (packed(tekken() | {"vocab": [{"rank": 0, "token_bytes": "I*Q=="}]}), "Tekken file: Error"),
        (packed(tekken() | {"vocab": [{"token_bytes": 5}]}), "is not a Tekken file: TypeError"),
        (packed(tekken(default_vocab_size="many")), "is not a Tekken file: TypeError"),
        (packed(tekken(default_num_special_tokens=10**9)), "it counts 1,000,000,000 special"),
        (packed(tekken(default_num_special_tokens=-1)), "it counts -1 special tokens"),
        (packed(tekken() | {"special_tokens": [{"rank": 0}]}), "is not a Tekken file: KeyError"),
        (packed(tekken([*BYTES, b"th", b"th"])), "holds a token twice"),
        (packed(tekken(special=["<s>", "<s>"])), "holds a token twice"),
        (packed(tekken(BYTES[1:])), "holds no token for 1 of the 256 bytes, such as 0x00"),
        (packed(tekken(default_vocab_size=100)), "holds no token for 160 of the 256 bytes"),
    ],
    ids=lambda value: value[-30:] if isinstance(value, str) else "",
)
def test_a_tekken_file_that_is_damaged_is_refused(data: bytes, what: str, tmp_path: Path) -> None:
    found = refused(tmp_path, data, "tekken.json")
    assert found.startswith("tekken.json ")
    assert what in found
    assert len(found) <= 200


def cut_to(made: Ranks, size: int, folder: Path, keep: Iterable[str] = ()) -> dict[str, int]:
    """Write the file with `size` tokens, the special ones `keep` among them; token -> id."""
    names = [entry["token_str"] for entry in made.special]
    ids = {name: number for number, name in enumerate(names)}
    ids |= {token: rank + len(names) for token, rank in made.tokens.items()}
    space = Space(name="", ids=ids, segmenters=(ranks.segmenter(made),), atoms={*names})
    must = {**ranks.required(made), **dict.fromkeys(keep, "special")}
    found = choose.choose(space, size=size, must=must, alphabet={}, used={"Ġthe": 3})
    kept = {token: n for n, token in enumerate(sorted(found.kept, key=ids.__getitem__))}
    (folder / "tekken.json").write_bytes(ranks.cut(made, kept))
    return kept


def test_a_cut_tekken_file_is_cut_once_more_alike(tmp_path: Path) -> None:
    made = read(tmp_path, packed(tekken() | {"image": {"image_patch_size": 16}}), "tekken.json")
    kept = cut_to(made, 265, tmp_path, ["<s>"])
    again = ranks.read(tmp_path / "tekken.json")
    special = [token for token in kept if token.startswith("<") and len(token) > 2]
    assert [entry["token_str"] for entry in again.special] == [*kept][: len(again.special)]
    assert {*special} <= {entry["token_str"] for entry in again.special}
    assert again.tekken is not None
    assert again.tekken["image"] == {"image_patch_size": 16}
    assert again.tekken["config"]["pattern"] == r" ?\S+|\s"
    data = (tmp_path / "tekken.json").read_bytes()
    assert ranks.cut(again, kept) == data


@functools.cache
def real() -> Path:
    import mistral_common

    return Path(mistral_common.__file__).parent / "data" / "tekken_240911.json"


@functools.cache
def shortened() -> bytes:
    """Mistral's file with the first 3,000 words of its 130,072: faster to read."""
    data = json.loads(real().read_bytes())
    data["vocab"] = data["vocab"][:3000]
    count = data["config"]["default_num_special_tokens"]
    data["config"]["default_vocab_size"] = 3000 + count
    return packed(data)


def test_a_cut_file_of_mistral_is_read_by_its_library(tmp_path: Path) -> None:
    from mistral_common.tokens.tokenizers.tekken import Tekkenizer

    (tmp_path / "source.json").write_bytes(shortened())
    made = ranks.read(tmp_path / "source.json")
    source = Tekkenizer.from_file(tmp_path / "source.json")
    named = [entry["token_str"] for entry in made.special if "SPECIAL" not in entry["token_str"]]
    assert len(named) < len(made.special)
    covered = Counter[bool]()
    for size in (256 + len(named), 1000, 2500):
        kept = cut_to(made, size, tmp_path, named)
        tiny = Tekkenizer.from_file(tmp_path / "tekken.json")
        assert tiny.n_words == size
        assert kept.keys() >= {*named}
        for token in (token for token in kept if token in named):
            assert tiny.get_special_token(token) == kept[token]
            assert source.get_special_token(token) == named.index(token)
        for name in ("bos_id", "eos_id", "pad_id", "unk_id"):
            assert tiny.id_to_piece(getattr(tiny, name)) == source.id_to_piece(
                getattr(source, name)
            )
        known = {ranks.to_bytes(t) for t in kept if t in made.tokens}
        for text in TEXTS:
            before = [source.id_to_byte_piece(n) for n in source.encode(text, False, False)]
            after = [tiny.id_to_byte_piece(n) for n in tiny.encode(text, False, False)]
            covered[known >= {*before}] += 1
            assert not known >= {*before} or before == after
            ids = [kept[t] for t in map(letters, after)]
            assert ids == tiny.encode(text, False, False)
            assert tiny.decode(ids) == source.decode(source.encode(text, False, False)) == text
    assert covered[True] > 5
    assert covered[False] > 5


def letters(token: bytes) -> str:
    return "".join(LETTERS[byte] for byte in token)


def test_files_from_before_special_tokens_were_written(tmp_path: Path) -> None:
    from mistral_common.tokens.tokenizers.tekken import Tekkenizer

    data = tekken(special=None, default_num_special_tokens=30, default_vocab_size=290, version="v3")
    made = read(tmp_path, packed(data), "source.json")
    source = Tekkenizer.from_file(tmp_path / "source.json")
    assert len(made.special) == 30
    assert [entry["token_str"] for entry in made.special] == [
        source.id_to_piece(number) for number in range(30)
    ]
    kept = cut_to(made, 280, tmp_path, ["<unk>", "<s>", "</s>", "<pad>"])
    tiny = Tekkenizer.from_file(tmp_path / "tekken.json")
    assert tiny.n_words == 280
    assert tiny.pad_id == kept["<pad>"]


@pytest.mark.parametrize(
    ("name", "data", "holds"),
    [
        ("x.tiktoken", b"", True),
        ("tokenizer.model", lines(BYTES), True),
        ("x.spm", lines(BYTES), True),
        ("tokenizer.model", b"\n\x0ctwo words and more", False),
        ("x.txt", lines(BYTES), False),
    ],
)
def test_a_tiktoken_file_is_known_by_its_suffix_or_its_first_line(
    name: str, data: bytes, holds: bool, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(data)
    assert ranks.TIKTOKEN.holds(tmp_path / name) is holds
