"""Tokenizers that are Python classes: their own files, cut down, and loaded by the same class."""

from __future__ import annotations

import functools
import json
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kit.faults import refused
from kit.vocabularies import english, pieces

from tinybuild.tokenizer import choose, slow

Kept = dict[str, dict[str, int]]


# --- small material, in the formats of the classes ------------------------------------------------


@functools.cache
def merged() -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """(tokens, merges) of a BPE whose merges write </w> behind a word's last letter."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    made = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.train_from_iterator(
        [text.lower() for text in english()] + [" ".join(map(chr, range(33, 127)))],
        trainers.BpeTrainer(vocab_size=900, end_of_word_suffix="</w>", show_progress=False),
    )
    model = json.loads(made.to_str())["model"]
    return tuple(model["vocab"]), tuple((left, right) for left, right in model["merges"])


def counted() -> list[str]:
    """The tokens of a BPE vocabulary that was counted on text: some that others need are not in."""
    tokens, merges = merged()
    lost = {left + right for left, right in merges[20:300:40]}
    return [token for token in tokens if token not in lost]


def trained(kind: str) -> bytes:
    """A SentencePiece model: unigram, bpe or char."""
    return pieces(kind, **({} if kind == "char" else {"vocab_size": 400}))


def listed(model: bytes) -> list[str]:
    import sentencepiece

    made = sentencepiece.SentencePieceProcessor(model_proto=model)
    return [made.id_to_piece(number) for number in range(made.get_piece_size())]


@functools.cache
def words(low: bool = True) -> tuple[str, ...]:
    """A WordPiece vocabulary."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=low)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.train_from_iterator(
        english(), trainers.WordPieceTrainer(vocab_size=600, show_progress=False)
    )
    return tuple(sorted(made.get_vocab(), key=made.get_vocab().__getitem__))


def table(tokens: Iterable[str]) -> str:
    return json.dumps({token: number for number, token in enumerate(dict.fromkeys(tokens))})


def text_of(pairs: Iterable[tuple[str, str]], *, head: str = "", count: bool = False) -> str:
    return head + "".join(f"{left} {right}{' 7' if count else ''}\n" for left, right in pairs)


def continued(tokens: Iterable[str]) -> list[str]:
    """The tokens as classes write them whose words go on with @@."""
    return [t[:-4] if t.endswith("</w>") else t + "@@" for t in tokens]


LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789',.-"
FAIRSEQ = ("<s>", "<pad>", "</s>", "<unk>")
BERT = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
HEAD = "#version: 0.2\n"
Files = Mapping[str, str | bytes]


@dataclass(frozen=True, kw_only=True)
class Material:
    """files: made when asked for. config: beside the class. sizes: cuts; library: what it needs."""

    files: Callable[[], Files]
    config: Callable[[], Mapping[str, Any]] = dict
    sizes: tuple[int, ...] = (300, 500)
    library: str = ""


def _plain(*special: str, **form: Any) -> Callable[[], Files]:
    return lambda: {
        "vocab.json": table([*special, *counted()]),
        "merges.txt": text_of(merged()[1], **form),
    }


def _listed(name: str, *special: str) -> Callable[[], Files]:
    return lambda: {name: "".join(f"{t}\n" for t in dict.fromkeys([*special, *words()]))}


def _model(name: str, kind: str = "unigram") -> Callable[[], Files]:
    return lambda: {name: trained(kind)}


def _beside(name: str, *special: str, kind: str = "unigram") -> Callable[[], Files]:
    """A SentencePiece model with a vocabulary beside it, in which some pieces are missing."""

    def files() -> Files:
        own = [p for n, p in enumerate(listed(trained(kind))) if n < 3 or n % 50]
        return {name: trained(kind), "vocab.json": table([*special, *own])}

    return files


def _letters(*special: str) -> Callable[[], Files]:
    return lambda: {"vocab.json": table([*special, *LETTERS])}


def _fairseq(end: str) -> Callable[[], Files]:
    def files() -> Files:
        tokens = [t for t in continued(counted()) if t]
        return {
            "vocab.txt": "".join(f"{token} 12{end}\n" for token in tokens),
            "bpe.codes": text_of(merged()[1], count=True),
        }

    return files


def _fsmt() -> Files:
    tokens = counted()
    return {
        "vocab-src.json": table([*FAIRSEQ, *tokens[:700]]),
        "vocab-tgt.json": table([*FAIRSEQ, *reversed(tokens[:650])]),
        "merges.txt": text_of(merged()[1], count=True),
    }


def _marian() -> Files:
    model, other = trained("unigram"), pieces("unigram", english()[::2], vocab_size=350)
    return {
        "source.spm": model,
        "target.spm": other,
        "vocab.json": table(["</s>", "<unk>", *listed(model)[3:], "<pad>"]),
        "target_vocab.json": table(["</s>", "<unk>", *listed(other)[3:], "<pad>"]),
    }


def _bartpho() -> Files:
    own = listed(trained("unigram"))[3:250]
    return {
        "sentencepiece.bpe.model": trained("unigram"),
        "dict.txt": "".join(f"{token} 3\n" for token in own),
    }


def _clvp() -> Files:
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.train_from_iterator(
        [text.lower() for text in english()],
        trainers.BpeTrainer(
            vocab_size=600,
            show_progress=False,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        ),
    )
    model = json.loads(made.to_str())["model"]
    special = ["[STOP]", "[UNK]", "[SPACE]", "<|endoftext|>"]
    return {
        "vocab.json": table([*special, *model["vocab"]]),
        "merges.txt": text_of(model["merges"], head=HEAD),
    }


def _languages() -> list[str]:
    from transformers.models.m2m_100.tokenization_m2m_100 import FAIRSEQ_LANGUAGE_CODES

    return [f"__{code}__" for code in FAIRSEQ_LANGUAGE_CODES["m2m100"]]


MATERIAL: Mapping[str, Material] = {
    "BartphoTokenizer": Material(files=_bartpho, sizes=(120, 200)),
    "BertGenerationTokenizer": Material(files=_model("spiece.model", "bpe"), sizes=(150, 250)),
    "BertJapaneseTokenizer": Material(files=_listed("vocab.txt", *BERT)),
    "BertTokenizerLegacy": Material(files=_listed("vocab.txt", *BERT)),
    "BertweetTokenizer": Material(files=_fairseq("")),
    "BioGptTokenizer": Material(files=_plain(*FAIRSEQ, count=True)),
    "BlenderbotSmallTokenizer": Material(
        files=lambda: {
            "vocab.json": table(
                ["__null__", "__start__", "__end__", "__unk__", "__newln__", *continued(counted())]
            ),
            "merges.txt": text_of(merged()[1], head=HEAD),
        }
    ),
    "CTRLTokenizer": Material(
        files=lambda: {
            "vocab.json": table([*continued(counted()), "<unk>"]),
            "merges.txt": text_of(merged()[1], head=HEAD),
        }
    ),
    "ClvpTokenizer": Material(files=_clvp, sizes=(300, 400)),
    "CpmAntTokenizer": Material(
        files=_listed("vocab.txt", "<pad>", "<unk>", "<s>", "</s>", "<d>", "</d>", "</n>", "</_>"),
        library="rjieba",
    ),
    "CpmTokenizer": Material(files=_model("spiece.model"), library="rjieba"),
    "EsmTokenizer": Material(
        files=lambda: {"vocab.txt": " \n".join(["<cls>", "<pad>", "<eos>", "<unk>", *words()])},
        config=lambda: {"mask_token": "<pad>"},
        sizes=(100, 300),
    ),
    "FSMTTokenizer": Material(files=_fsmt, config=lambda: {"langs": ["en", "de"]}),
    "FastSpeech2ConformerTokenizer": Material(
        files=_letters("<blank>", "<unk>", "<sos/eos>"), library="g2p_en"
    ),
    "FlaubertTokenizer": Material(
        files=_plain("<s>", "</s>", "<pad>", "<unk>", *(f"<special{n}>" for n in range(10))),
        config=lambda: {"do_lowercase": True},
    ),
    "GPTSw3Tokenizer": Material(
        files=_model("spiece.model", "bpe"), config=lambda: {"name_or_path": "x"}, sizes=(150, 250)
    ),
    "M2M100Tokenizer": Material(
        files=_beside("sentencepiece.bpe.model", *FAIRSEQ),
        config=lambda: {"additional_special_tokens": _languages()},
        sizes=(250, 350),
    ),
    "MarianTokenizer": Material(
        files=_marian,
        config=lambda: {"separate_vocabs": True, "source_lang": "en", "target_lang": "de"},
        sizes=(120, 250),
    ),
    "MgpstrTokenizer": Material(files=_letters("[GO]", "[s]"), sizes=(30, 50)),
    "PLBartTokenizer": Material(files=_model("sentencepiece.bpe.model", "bpe"), sizes=(150, 250)),
    "PhobertTokenizer": Material(files=_fairseq(" ")),
    "ProphetNetTokenizer": Material(files=_listed("prophetnet.tokenizer", *BERT, "[X_SEP]")),
    "SiglipTokenizer": Material(files=_model("spiece.model"), sizes=(150, 250)),
    "Speech2TextTokenizer": Material(
        files=_beside("sentencepiece.bpe.model", *FAIRSEQ, kind="bpe"), sizes=(150, 250)
    ),
    "SpeechT5Tokenizer": Material(files=_model("spm_char.model", "char"), sizes=(40, 50)),
    "TapasTokenizer": Material(files=_listed("vocab.txt", *BERT, "[EMPTY]"), library="pandas"),
    "VitsTokenizer": Material(
        files=_letters("<pad>", "<unk>"),
        config=lambda: {"phonemize": False, "add_blank": True},
        sizes=(30, 50),
    ),
    "Wav2Vec2CTCTokenizer": Material(files=_letters(*FAIRSEQ, "|"), sizes=(34, 50)),
    "Wav2Vec2PhonemeCTCTokenizer": Material(
        files=lambda: {
            "vocab.json": table([*FAIRSEQ, "|", *(w for t in english() for w in t.lower().split())])
        },
        config=lambda: {"do_phonemize": False},
        sizes=(60, 100),
    ),
    "XLMTokenizer": Material(
        files=_plain("<s>", "</s>", "<pad>", "<unk>", *(f"<special{n}>" for n in range(10)))
    ),
}
# Their files, where they have any, are of other kinds.
REFUSED: Mapping[str, Files] = {
    "ByT5Tokenizer": {},
    "CanineTokenizer": {},
    "DiaTokenizer": {},
    "GPTNeoXJapaneseTokenizer": {
        "vocab.txt": "<|endoftext|>\na,b\nc\nd\n",
        "emoji.json": '{"emoji": {}, "emoji_inv": {}}',
    },
    "MyT5Tokenizer": {
        "byte_maps.json": '{"decompose_map": {"41": "e1 61"}, "merge_map": {"61 62": "e2"}}'
    },
    "PerceiverTokenizer": {},
    "RoCBertTokenizer": {
        "vocab.txt": "".join(f"{token}\n" for token in (*BERT, "a", "b")),
        "word_shape.json": table(["U", "V", *BERT, "a", "b"]),
        "word_pronunciation.json": table(["U", "V", *BERT, "a", "b"]),
    },
}


def fill(name: str, files: Files, config: Mapping[str, Any], folder: Path) -> Any:
    """Write the files of a class and load them."""
    import transformers

    folder.mkdir(parents=True)
    for file, content in files.items():
        if isinstance(content, bytes):
            (folder / file).write_bytes(content)
        else:
            (folder / file).write_text(content, encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": name, **config}))
    return getattr(transformers, name).from_pretrained(folder)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Any, Path]]:
    """made(class name): (the loaded source, its folder)."""

    @functools.cache
    def load(name: str) -> tuple[Any, Path]:
        material = MATERIAL[name]
        if material.library:
            pytest.importorskip(material.library, reason=f"{name} needs {material.library}")
        folder = tmp_path_factory.mktemp(name) / "source"
        return fill(name, material.files(), material.config(), folder), folder

    return load


# --- what the caller does -------------------------------------------------------------------------


def chosen(source: Any, folder: Path, size: int, texts: Sequence[str]) -> Kept:
    """Of each vocabulary `size` tokens (or all, if it is smaller), those of the texts first."""
    kept: Kept = {}
    used = slow.used(source, texts)
    letters = {character for text in texts for character in text} | {"\u2581"}
    special = dict.fromkeys(map(str, source.all_special_tokens), "special")
    for space in slow.spaces(source, folder):
        must = {token: why for token, why in special.items() if token in space.ids}
        for segmenter in space.segmenters:
            needed = segmenter.required()
            must |= {token: why for token, why in needed.items() if token in space.ids}
        why = choose.choose(
            space,
            size=min(size, len(space.ids)),
            must=must,
            alphabet={t: "alphabet" for s in space.segmenters for t in s.letters(letters)},
            used=used[space.name],
        )
        order = sorted(why.kept, key=space.ids.__getitem__)
        kept[space.name] = {token: number for number, token in enumerate(order)}
    return kept


def smallest(source: Any, folder: Path) -> int:
    """The least size that `choose` takes without an alphabet."""
    least = re.match(r"ask for at least ([\d,]+)", refused(chosen, source, folder, 0, []).hint)
    assert least
    return int(least[1].rstrip(",").replace(",", ""))


def cut(source: Any, folder: Path, out: Path, kept: Kept) -> Any:
    """The files of `kept`, with settings brought in line, loaded as the source's class."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    slow.write(source, folder, out, kept)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    decoder = config.get("added_tokens_decoder", {})
    config["added_tokens_decoder"] = {
        str(kept[""][token["content"]]): token
        for token in decoder.values()
        if token["content"] in kept[""]
    }
    (out / "tokenizer_config.json").write_text(json.dumps(config))
    return type(source).from_pretrained(out)


def tokens_of(source: Any, text: str) -> list[str]:
    return list(source.tokenize(text))


def assert_exact(source: Any, tiny: Any, kept: Mapping[str, int], text: str) -> bool:
    """Whether the source used kept tokens only; if so, the tiny one cuts as it does."""
    tokens = tokens_of(source, text)
    if not kept.keys() >= set(tokens):
        return False
    assert tokens_of(tiny, text) == tokens
    names = {number: token for token, number in source.get_vocab().items()}
    old, new = source.convert_tokens_to_ids(tokens), tiny.convert_tokens_to_ids(tokens)
    assert new == [kept[names[number]] for number in old]
    return True


# --- all classes ----------------------------------------------------------------------------------


def test_every_class_of_transformers_is_cut_or_refused() -> None:
    import transformers
    from transformers.tokenization_utils_tokenizers import TokenizersBackend

    known = {
        name
        for name in dir(transformers)
        if "Tokenizer" in name
        and isinstance(one := getattr(transformers, name), type)
        and issubclass(one, transformers.PreTrainedTokenizerBase)
        and not issubclass(one, TokenizersBackend)
    }
    bases = {"PreTrainedTokenizer", "PreTrainedTokenizerBase"}
    assert known - bases == MATERIAL.keys() | REFUSED.keys()


@pytest.mark.parametrize("name", MATERIAL)
def test_cut_to_sizes(name: str, made: Callable[[str], tuple[Any, Path]], tmp_path: Path) -> None:
    source, folder = made(name)
    texts = [text.lower() for text in english()[:12]]
    for size in MATERIAL[name].sizes:
        kept = chosen(source, folder, size, texts)
        tiny = cut(source, folder, tmp_path / str(size), kept)
        assert len(tiny) == size == len(kept[""])
        assert tiny.get_vocab() == kept[""]
        verify(tiny, kept, source=source, texts=texts)
        # Not only whole lines: their words, most of which consist of kept tokens.
        single = sorted({word for text in texts for word in text.split()})
        assert sum(assert_exact(source, tiny, kept[""], word) for word in single) > 10


def verify(tiny: Any, kept: Kept, *, source: Any, texts: Iterable[str]) -> None:
    """It has exactly the kept tokens, and does what its source does."""
    slow.verify(tiny, kept)
    assert list(differences(source, tiny, kept, texts)) == []


def differences(source: Any, tiny: Any, kept: Kept, texts: Iterable[str]) -> Iterator[str]:
    """What it writes around a text otherwise, and which of the texts it cuts otherwise, as source
    and as target, though the source cuts them into kept tokens only."""
    if type(tiny) is not type(source):
        yield f"it is not {type(source).__name__}"
    names = {number: token for token, number in source.get_vocab().items()}
    around = source.build_inputs_with_special_tokens([], [])
    expected = [kept[""].get(names.get(old, "")) for old in around]
    if expected != tiny.build_inputs_with_special_tokens([], []):
        yield "it writes other tokens around a text"
    translates = any(key.startswith(slow.TARGET) for key in source.vocab_files_names)
    for text in texts:
        for target in (False, True) if translates else (False,):
            own = kept.get("tgt", kept[""]) if target else kept[""]
            tokens, old = slow.cut(source, text, target=target)
            if not own.keys() >= set(tokens):
                continue
            again, new = slow.cut(tiny, text, target=target)
            # As a target FSMT still uses the ids of its source.
            moved = [kept[""].get(names.get(number, "")) for number in old]
            if again != tokens or (own is kept[""] and moved != new):
                yield f"{text[:40]!r} is cut otherwise"


@pytest.mark.parametrize("name", MATERIAL)
def test_everything_kept_changes_nothing(
    name: str, made: Callable[[str], tuple[Any, Path]], tmp_path: Path
) -> None:
    source, folder = made(name)
    kept = {space.name: dict(space.ids) for space in slow.spaces(source, folder)}
    again = cut(source, folder, tmp_path / "out", kept)
    assert again.get_vocab() == source.get_vocab()
    for text in [*english()[:20], "Grüße, 你好 🙂 qzx@@ <s> a</w>"]:
        tokens = tokens_of(source, text)
        assert tokens_of(again, text) == tokens
        assert again.convert_tokens_to_ids(tokens) == source.convert_tokens_to_ids(tokens)


@pytest.mark.parametrize(
    "name", ["CTRLTokenizer", "XLMTokenizer", "PLBartTokenizer", "M2M100Tokenizer", "EsmTokenizer"]
)
def test_any_text_of_kept_tokens_is_cut_exactly(
    name: str, made: Callable[[str], tuple[Any, Path]], tmp_path: Path
) -> None:
    source, folder = made(name)
    kept = chosen(source, folder, MATERIAL[name].sizes[0], [t.lower() for t in english()[:12]])
    tiny = cut(source, folder, tmp_path / "out", kept)
    single = sorted({word for text in english() for word in text.lower().split()})
    covered = Counter[bool]()

    @settings(deadline=None, derandomize=True, max_examples=60)
    @given(st.lists(st.sampled_from(single) | st.text("etaoin ,.'", max_size=6), max_size=4))
    def exact(parts: list[str]) -> None:
        covered[assert_exact(source, tiny, kept[""], " ".join(parts))] += 1

    exact()
    assert covered[True] > 10
    assert covered[False] > 0


@pytest.mark.parametrize("name", REFUSED)
def test_files_of_other_kinds_are_refused(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "source"
    source = fill(name, REFUSED[name], {}, folder)
    refusal = refused(slow.spaces, source, folder)
    assert refusal.what.startswith(f"{name}: ")
    assert "method: keep" in refusal.hint


def test_a_nested_vocabulary_is_refused(tmp_path: Path) -> None:
    files = {"vocab.json": json.dumps({"deu": {"<unk>": 0, "a": 1}, "eng": {"<unk>": 0, "b": 1}})}
    source = fill("Wav2Vec2CTCTokenizer", files, {"target_lang": "deu"}, tmp_path / "source")
    what = refused(slow.spaces, source, tmp_path / "source").what
    assert what.startswith("Wav2Vec2CTCTokenizer: vocab.json cannot be cut: it is not a table")


def test_a_missing_library_is_named(tmp_path: Path) -> None:
    files = {"vocab.json": table(["<pad>", "<unk>", *LETTERS])}
    source = fill("VitsTokenizer", files, {"phonemize": True}, tmp_path / "source")
    what = refused(slow.spaces, source, tmp_path / "source").what
    assert re.match(r"VitsTokenizer: .* needs a library: .*phonemizer", what)


# --- translations ---------------------------------------------------------------------------------


def test_source_and_target_have_ids_of_their_own(
    made: Callable[[str], tuple[Any, Path]], tmp_path: Path
) -> None:
    for name in ("FSMTTokenizer", "MarianTokenizer"):
        source, folder = made(name)
        first, second = slow.spaces(source, folder)
        assert (first.name, second.name) == ("", "tgt")
        assert first.ids == source.get_vocab()
        used = slow.used(source, english()[:5])
        assert used[""] != used["tgt"] or name == "FSMTTokenizer"
        assert used["tgt"].total() > 50
        kept = chosen(source, folder, 250, [t.lower() for t in english()[:3]])
        # Different sizes: the target has fewer tokens.
        kept["tgt"] = {token: n for n, token in enumerate(list(kept["tgt"])[:200])}
        tiny = cut(source, folder, tmp_path / name, kept)
        assert len(tiny) == 250
        assert [tiny._convert_id_to_token(n) for n in range(200)] == list(kept["tgt"])
        slow.verify(tiny, kept)
        what = refused(slow.verify, tiny, {**kept, "tgt": {"x": 1, "<pad>": 0}}).what
        assert re.match(f"{name}: .* id 1 of the target is ", what)


def test_one_dictionary_for_both_sides_is_one_space(tmp_path: Path) -> None:
    both = table([*FAIRSEQ, *counted()])
    files = {
        "vocab-src.json": both,
        "vocab-tgt.json": both,
        "merges.txt": text_of(merged()[1]),
    }
    source = fill("FSMTTokenizer", files, {"langs": ["en", "de"]}, tmp_path / "source")
    (space,) = slow.spaces(source, tmp_path / "source")
    kept = chosen(source, tmp_path / "source", 300, english()[:3])
    tiny = cut(source, tmp_path / "source", tmp_path / "out", kept)
    verify(tiny, kept, source=source, texts=english()[:3])
    assert space.name == ""
    for file in ("vocab-src.json", "vocab-tgt.json"):
        assert json.loads((tmp_path / "out" / file).read_text()) == kept[""]


@pytest.fixture(scope="module")
def opus(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    upstream = Path(__file__).parents[3] / "shared" / "upstreams" / "opus-mt-en-mg"
    if not upstream.is_dir():
        pytest.skip("there are no real upstream files: shared/upstreams is not beside the project")
    folder = tmp_path_factory.mktemp("opus") / "source"
    shutil.copytree(upstream, folder)
    from transformers import MarianTokenizer

    return MarianTokenizer.from_pretrained(folder), folder


def test_a_real_translator(opus: tuple[Any, Path], tmp_path: Path) -> None:
    source, folder = opus
    (space,) = slow.spaces(source, folder)
    assert space.ids["<pad>"] == len(source) - 1
    least = smallest(source, folder)
    assert least < 20
    for size in (least, 1000, 3000, 5000):
        texts = english()[: size // 100]
        kept = chosen(source, folder, size, texts if size > least else [])
        tiny = cut(source, folder, tmp_path / str(size), kept)
        assert len(tiny) == size
        assert tiny.get_vocab() == kept[""]
        assert (tiny.eos_token_id, tiny.unk_token_id, tiny.pad_token_id) == (0, 1, size - 1)
        verify(tiny, kept, source=source, texts=[*english(), "Salama ô ry tany"])
        if size == least:
            continue
        assert all(assert_exact(source, tiny, kept[""], text) for text in texts)
        names = {number: token for token, number in space.ids.items()}
        for side in ("text", "text_target"):
            before, after = source(**{side: texts[1]}), tiny(**{side: texts[1]})
            assert after["input_ids"] == [kept[""][names[old]] for old in before["input_ids"]]
            assert tiny.decode(after["input_ids"]) == source.decode(before["input_ids"])
        assert (tmp_path / str(size) / "source.spm").stat().st_size < 400_000


def test_any_text_for_a_real_translator(opus: tuple[Any, Path], tmp_path: Path) -> None:
    source, folder = opus
    kept = chosen(source, folder, 3000, english()[:60])
    tiny = cut(source, folder, tmp_path / "out", kept)
    plain = [t.replace("\u2581", " ") for t in kept[""] if t not in source.all_special_tokens]
    covered = Counter[bool]()

    @settings(deadline=None, derandomize=True, max_examples=150)
    @given(st.lists(st.sampled_from(plain) | st.text(max_size=3), max_size=8))
    def exact(parts: list[str]) -> None:
        covered[assert_exact(source, tiny, kept[""], "".join(parts))] += 1

    exact()
    assert covered[True] > 30
    assert covered[False] > 10


# --- details of the files -------------------------------------------------------------------------


def test_a_line_that_the_class_reads_as_header_stays(
    made: Callable[[str], tuple[Any, Path]], tmp_path: Path
) -> None:
    # CTRL skips the first line whatever it is, XLM reads it as a merge; neither reads the last line
    # without its end.
    pairs = text_of(merged()[1]) + "~ ~"
    first = pairs.split("\n")[0]
    for name, headed in (("CTRLTokenizer", True), ("XLMTokenizer", False)):
        files = {**MATERIAL[name].files(), "merges.txt": pairs}
        source = fill(name, files, {}, tmp_path / name / "source")
        kept = chosen(source, tmp_path / name / "source", 200, [])
        whole = "".join(first.split())
        for gone in (whole, whole + "@@"):
            kept[""].pop(gone, None)
        kept[""] = {token: number for number, token in enumerate(kept[""])}
        tiny = cut(source, tmp_path / name / "source", tmp_path / name / "out", kept)
        written = (tmp_path / name / "out" / "merges.txt").read_text().split("\n")
        assert (written[0] == first) is headed
        assert "~ ~" not in written
        assert tiny.bpe_ranks.keys() < source.bpe_ranks.keys()


def test_merges_over_symbols_that_are_no_tokens_stay(tmp_path: Path) -> None:
    # "ab" is in no vocabulary, but "abc" is made of it.
    files = {
        "vocab.json": table(["<unk>", "a", "b", "c</w>", "abc</w>", "d</w>", "abd</w>"]),
        "merges.txt": "a b\nab c</w>\nab d</w>\n",
    }
    config = {"unk_token": "<unk>", "additional_special_tokens": []} | dict.fromkeys(
        ("bos_token", "sep_token", "pad_token", "cls_token", "mask_token"), "<unk>"
    )
    source = fill("XLMTokenizer", files, config, tmp_path / "source")
    (space,) = slow.spaces(source, tmp_path / "source")
    merges = space.segmenters[0]
    assert merges.parts("abc</w>") == {"a", "b", "c</w>"}
    assert merges.parts("<unk>") is None
    assert list(merges.ranked()) == ["abc</w>", "abd</w>"]
    kept = {"": {"<unk>": 0, "a": 1, "b": 2, "c</w>": 3, "abc</w>": 4, "d</w>": 5}}
    tiny = cut(source, tmp_path / "source", tmp_path / "out", kept)
    assert (tmp_path / "out" / "merges.txt").read_text() == "a b\nab c</w>\n"
    assert tiny.tokenize("abc") == ["abc</w>"]
    assert tiny.tokenize("abd") == ["ab", "d</w>"]


def test_continued_words_are_spelled_with_at_signs(
    made: Callable[[str], tuple[Any, Path]],
) -> None:
    source, folder = made("CTRLTokenizer")
    (space,) = slow.spaces(source, folder)
    merges = space.segmenters[0]
    assert {"t@@", "h@@", "e"} <= (merges.parts("the") or set())
    assert merges.parts("th@@") == {"t@@", "h@@"}
    assert merges.letters("a") == {"a@@", "a"}
    assert next(merges.ranked()) in space.ids


def test_lines_that_the_class_renames(tmp_path: Path) -> None:
    from transformers import PreTrainedTokenizer

    class Renaming(PreTrainedTokenizer):
        """Reads as CpmAnt does: </_> means a space."""

        vocab_files_names: ClassVar = {"vocab_file": "vocab.txt"}

        def __init__(self, vocab_file: str, **rest: Any) -> None:
            tokens = Path(vocab_file).read_text().split("\n")[:-1]
            self.ids = {" " if t == "</_>" else t: number for number, t in enumerate(tokens)}
            super().__init__(unk_token="<unk>", **rest)

        @property
        def vocab_size(self) -> int:
            return len(self.ids)

        def get_vocab(self) -> dict[str, int]:
            return {**self.ids, **self.added_tokens_encoder}

        def _tokenize(self, text: str, **rest: Any) -> list[str]:
            return list(text)

        def _convert_token_to_id(self, token: str) -> int:
            return self.ids.get(token, self.ids["<unk>"])

        def _convert_id_to_token(self, index: int) -> str:
            return next((t for t, number in self.ids.items() if number == index), "<unk>")

    folder = tmp_path / "source"
    folder.mkdir()
    # "b" stands twice: the class sees the last one.
    (folder / "vocab.txt").write_text("<unk>\na\n</_>\nb\nc\nb\nd\n")
    (folder / "tokenizer_config.json").write_text("{}")
    source = Renaming.from_pretrained(folder)
    kept = {"": {"<unk>": 0, " ": 1, "c": 2, "b": 3}}
    tiny = cut(source, folder, tmp_path / "out", kept)
    assert (tmp_path / "out" / "vocab.txt").read_text() == "<unk>\n</_>\nc\nb\n"
    verify(tiny, kept, source=source, texts=["b c"])


def test_added_tokens_are_atoms_and_may_go(tmp_path: Path) -> None:
    count = len(counted()) + 1
    added = {
        str(count + number): {"content": f"<new{number}>", "special": False, "normalized": False}
        for number in range(3)
    }
    material = MATERIAL["CTRLTokenizer"]
    folder = tmp_path / "source"
    source = fill("CTRLTokenizer", material.files(), {"added_tokens_decoder": added}, folder)
    (space,) = slow.spaces(source, folder)
    assert space.atoms == {"<new0>", "<new1>", "<new2>", "<unk>"}
    kept = chosen(source, folder, 200, [])
    own = [token for token in kept[""] if not token.startswith("<new")] + ["<new1>"]
    kept = {"": {token: number for number, token in enumerate(own)}}
    tiny = cut(source, folder, tmp_path / "out", kept)
    verify(tiny, kept, source=source, texts=["the<new1>the"])
    assert "<new1>" in tiny.tokenize("the<new1>the")


def test_what_a_class_numbers_or_always_writes_must_stay(
    made: Callable[[str], tuple[Any, Path]],
) -> None:
    def must(name: str) -> Mapping[str, str]:
        (space,) = slow.spaces(*made(name))
        needed: dict[str, str] = {}
        for segmenter in space.segmenters:
            needed |= segmenter.required()
        return needed

    assert must("M2M100Tokenizer").keys() >= set(_languages())
    assert must("PLBartTokenizer")["__java__"] == "class"
    assert must("VitsTokenizer")["<pad>"] == "every text"
    assert must("CTRLTokenizer") == {"<unk>": "unknown"}


def test_what_comes_out_of_every_text_is_told_by_letters() -> None:
    """Two words of a class of letters share some, and those are not in every text."""

    class Spelled:
        tokenize = staticmethod(list)

        def get_vocab(self) -> dict[str, int]:
            return {token: n for n, token in enumerate(["nab", "na", *"abn"])}

        def convert_tokens_to_ids(self, tokens: list[str]) -> list[int]:
            return [self.get_vocab()[token] for token in tokens]

    spelled: Any = Spelled()
    assert slow._everywhere(spelled) == set()


@pytest.mark.parametrize(
    ("name", "letters", "tokens"),
    [
        ("BertTokenizerLegacy", "e", {"e", "##e"}),
        ("ClvpTokenizer", " é", {"Ġ", "Ã", "©"}),
        ("MgpstrTokenizer", "e", {"e"}),
        ("XLMTokenizer", "e", {"e", "e</w>"}),
    ],
)
def test_how_letters_are_spelled(
    name: str, letters: str, tokens: set[str], made: Callable[[str], tuple[Any, Path]]
) -> None:
    (space,) = slow.spaces(*made(name))
    assert space.segmenters[0].letters(letters) == tokens


def test_unknown_characters_count_as_the_unknown_token(
    made: Callable[[str], tuple[Any, Path]],
) -> None:
    source, _ = made("MgpstrTokenizer")
    assert slow.used(source, ["a€", "a"]) == {"": Counter({"a": 2, "[GO]": 1})}


def test_a_header_alone_is_a_list_of_merges(tmp_path: Path) -> None:
    files = {"vocab.json": table(["<unk>", "a", "b"]), "merges.txt": HEAD}
    source = fill("CTRLTokenizer", files, {}, tmp_path / "source")
    kept = {"": {"<unk>": 0, "b": 1}}
    tiny = cut(source, tmp_path / "source", tmp_path / "out", kept)
    verify(tiny, kept, source=source, texts=["b", "b b"])
    assert (tmp_path / "out" / "merges.txt").read_text() == HEAD


def test_verify_names_the_class_and_the_differences(
    made: Callable[[str], tuple[Any, Path]], tmp_path: Path
) -> None:
    source, folder = made("MgpstrTokenizer")
    kept = {"": {"[GO]": 0, "[s]": 1, "a": 2, "b": 3, "c": 4}}
    tiny = cut(source, folder, tmp_path / "out", kept)
    verify(tiny, kept, source=source, texts=["abc", "abd"])

    def wrong(tiny: Any, ids: dict[str, int]) -> str:
        what = refused(slow.verify, tiny, {"": ids}).what
        assert what.startswith("MgpstrTokenizer: ")
        return what

    def differs(tiny: Any) -> list[str]:
        return list(differences(source, tiny, kept, ["abc"]))

    right = kept[""]
    assert "'c' has id 4, not 5" in wrong(tiny, {**right, "c": 5, "d": 4})
    assert "it has 5 tokens, not 6; 'd' is not there" in wrong(tiny, {**right, "d": 5})
    less = {token: number for token, number in right.items() if token != "c"}
    assert "it has 5 tokens, not 4; 'c' is there, as id 4" in wrong(tiny, less)
    assert "the ids have holes" in wrong(tiny, {**right, "c": 7})
    assert "more" not in wrong(tiny, {**right, "d": 5, "e": 6})
    several = wrong(tiny, {**right, "d": 5, "e": 6, "f": 7})
    assert several.endswith("'d' is not there; 'e' is not there; and 1 more")
    tiny._tokenize = lambda text: [*text][::-1]
    assert differs(tiny) == ["'abc' is cut otherwise"]
    tiny = type(source).from_pretrained(tmp_path / "out")
    tiny._convert_token_to_id = lambda token: 3
    assert "'abc' is cut otherwise" in differs(tiny)
    tiny.build_inputs_with_special_tokens = lambda *sides: [0]
    assert "it writes other tokens around a text" in differs(tiny)


def test_the_same_files_twice(made: Callable[[str], tuple[Any, Path]], tmp_path: Path) -> None:
    for name in ("FSMTTokenizer", "PhobertTokenizer", "MarianTokenizer"):
        source, folder = made(name)
        kept = chosen(source, folder, 300, [text.lower() for text in english()[:5]])
        found = []
        for turn in ("one", "two"):
            out = tmp_path / name / turn
            out.mkdir(parents=True)
            slow.write(source, folder, out, kept)
            found.append({path.name: path.read_bytes() for path in out.iterdir()})
        assert found[0] == found[1]
        assert found[0].keys() == MATERIAL[name].files().keys()
