"""Classes that are made of vocabulary files only: the files, learned from text.

What a file holds is told by its name and those beside it, never by the class's name: a
SentencePiece model, merges, or a list or table of tokens, which are those of the model or the
merges, or else letters or parts of words. Where a class could have either spelling, it has the one
with which it knows more of the text.
"""

from __future__ import annotations

import functools
import inspect
import io
import itertools
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinybuild.errors import BuildFault
from tinybuild.keys import ROLES
from tinybuild.tokenizer import sample, vocabulary
from tinybuild.tokenizer import train as trained
from tinybuild.tokenizer.slow import END, GOES_ON
from tinybuild.tokenizer.work import Made, Work

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TRIES = 5  # until a class has as many tokens as are wanted: some add tokens of their own
TRIED = 40  # texts on which spellings are compared
UNKNOWN = 0.1  # of their tokens, at most
MODEL = (".model", ".spm")
# Two languages to translate; none that is spoken by programs which are not of transformers.
OPTIONS: Mapping[str, Any] = {"langs": ["en", "de"], "phonemize": False}
REFUSALS = (
    *(TypeError, ValueError, LookupError, ImportError, AttributeError, OSError, RuntimeError),
)


@dataclass(frozen=True, kw_only=True)
class Words:
    """What is learned. tokens: without the special ones. merges: of a BPE. model: a SentencePiece
    model's bytes."""

    tokens: Sequence[str]
    merges: Sequence[str] = ()
    model: bytes = b""


Learn = Callable[[Sequence[str], int], Words]


def train(work: Work) -> Made:
    """method: train. The class that the source's model type has, of learned files, where it wants
    files; else the source's pipeline. Raises BuildFault."""
    source = work.origin.loaded
    if not source.is_fast and not source.vocab_files_names:
        return Made(loaded=_filled(source, work.section["vocab_size"]))
    own = native(work)
    if own is not None:
        return Made(loaded=own)
    made = trained.train(work)
    return replace(made, loaded=_plain(made.loaded))


def _plain(made: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """A tokenizer as it is, or its pipeline alone where its class makes another one of its files:
    one whose vocabulary stands in its code (ESMC's amino acids)."""
    from transformers import TokenizersBackend

    with tempfile.TemporaryDirectory() as folder:
        made.save_pretrained(folder)
        again = type(made).from_pretrained(folder)
    if again.get_vocab() == made.get_vocab():
        return made
    named: Mapping[str, Any] = made.special_tokens_map
    plain = TokenizersBackend(tokenizer_object=made.backend_tokenizer, **named)
    plain.chat_template = made.chat_template
    return plain


def _filled(source: PreTrainedTokenizerBase, size: int) -> PreTrainedTokenizerBase:
    """A class whose tokens are bytes or characters whatever the text is, with unused ones added.
    Raises BuildFault."""
    name = type(source).__name__
    if len(source) > size:
        raise BuildFault.of(
            f"{name} has {len(source):,} tokens whatever the text is, not {size:,}",
            key=("tokenizer", "vocab_size"),
            hint=f"write vocab_size: {len(source)}, or method: keep without one",
        )
    source.add_tokens([f"<unused{number}>" for number in range(size - len(source))])
    return source


def native(work: Work) -> PreTrainedTokenizerBase | None:
    """The class that a model type has for its tokenizer, made of learned files, where the source is
    a blank one of other make because that class wants files.

    None where the source is not such a one, the class is not to be had (a package is missing), or
    it wants files of other kinds: the byte-level source is trained instead.
    """
    source, folder = work.origin.loaded, work.folder
    config = vocabulary.read(folder / "config.json")
    class_ = _class(str(config.get("model_type")))
    if class_ is None or len(source) > len(source.get_added_vocab()):
        return None
    texts = list(sample.texts(work.section, work.inputs, work.text))
    best, least = None, (True, UNKNOWN)
    for learn in _ways(class_):
        try:
            learned = functools.partial(learn, texts)
            lists = functools.partial(_made, class_, padded=config.get("pad_token_id") == 0)
            made = _sized(lists, source, work.section["vocab_size"], learned)
            if made is None:
                continue
            joined = _joined(made, texts[:TRIED])
            if (joined, 0.0) >= least:
                continue  # whatever it does not know: to save and load it takes seconds for some
            unknown = _unknown(made, texts[:TRIED])
        except REFUSALS:
            continue  # it wants a package, or other files
        if unknown < UNKNOWN and (joined, unknown) < least:
            best, least = made, (joined, unknown)
    return best


def _class(kind: str) -> type[PreTrainedTokenizerBase] | None:
    """The class of a model type, where it is one of Python that is made of vocabulary files."""
    from transformers import TokenizersBackend
    from transformers.models.auto import tokenization_auto as auto

    name = auto.TOKENIZER_MAPPING_NAMES.get(kind)
    class_: Any = auto.tokenizer_class_from_name(name) if name is not None else None
    if not getattr(class_, "vocab_files_names", None) or issubclass(class_, TokenizersBackend):
        return None
    known: type[PreTrainedTokenizerBase] = class_
    return known


def _roles(class_: type[PreTrainedTokenizerBase]) -> dict[str, str]:
    """The files that a class cannot be made without: argument -> name. All that it takes where it
    says of none."""
    arguments = inspect.signature(class_.__init__).parameters
    taken = {role: name for role, name in class_.vocab_files_names.items() if role in arguments}
    empty = inspect.Parameter.empty
    return {r: name for r, name in taken.items() if arguments[r].default is empty} or taken


def _ways(class_: type[PreTrainedTokenizerBase]) -> Sequence[Learn]:
    names = _roles(class_)
    if any(name.endswith(MODEL) for name in names.values()):
        return (_pieces,)
    cased = functools.partial(_parts, lower=False)
    return (_merged, _continued) if "merges_file" in names else (_letters, _parts, cased)


def _sized(
    make: Callable[[Words, int], PreTrainedTokenizerBase],
    source: PreTrainedTokenizerBase,
    size: int,
    learn: Callable[[int], Words],
) -> PreTrainedTokenizerBase | None:
    """What `make` makes, with exactly `size` tokens, those of the source that have no common role
    among them; None where that cannot be."""
    count = size
    for _ in range(TRIES):
        made = make(learn(count), count)
        _add(made, source)
        if len(made) == size:
            return made if sorted(made.get_vocab().values()) == list(range(size)) else None
        count += size - len(made)
        if count <= 0:
            return None
    return None


def _add(made: PreTrainedTokenizerBase, source: PreTrainedTokenizerBase) -> None:
    """Let a class have the tokens of a blank source that its own do not stand for."""
    from tokenizers import AddedToken

    common = {str(getattr(source, f"{role}_token")) for role in ROLES}
    tokens = [token for token in source.get_added_vocab() if token not in common]
    made.add_tokens([AddedToken(t, normalized=False, special=True) for t in tokens], True)
    named = source.special_tokens_map.items()
    made._set_model_specific_special_tokens({n: t for n, t in named if t in tokens})
    if made.pad_token is None:
        made.add_special_tokens({"pad_token": "<pad>"})
    made.chat_template = source.chat_template


def _made(
    class_: type[PreTrainedTokenizerBase], words: Words, count: int, *, padded: bool
) -> PreTrainedTokenizerBase:
    """The class with files of these tokens, and unused ones where they are fewer than `count`.

    padded: the type's config pads with token 0, from which some models count positions
    (ProphetNet).
    """
    arguments = inspect.signature(class_.__init__).parameters
    named = [name for name in arguments if name.endswith("_token")]
    named.sort(key=lambda name: not padded or name != "pad_token")
    special = [token for n in named if isinstance(token := arguments[n].default, str)]
    known = dict.fromkeys([*special, *words.tokens])
    unused = (token for n in itertools.count() if (token := f"<unused{n}>") not in known)
    known |= dict.fromkeys(itertools.islice(unused, max(0, count - len(known))))
    roles = _roles(class_)
    # Lists with counts are fairseq's, whose classes have the special tokens by themselves.
    counted = any(name.endswith((".codes", *MODEL)) for name in roles.values())
    options = {name: value for name, value in OPTIONS.items() if name in arguments}
    with tempfile.TemporaryDirectory() as temporary:
        for role, name in roles.items():
            path = Path(temporary) / name
            options[role] = str(path)
            if name.endswith(MODEL):
                content = words.model
            elif role == "merges_file":
                count_ = " 1" if name.endswith(".codes") else ""
                lines = [f"{merge}{count_}" for merge in words.merges]
                content = "\n".join(["#version: 0.2", *lines, ""]).encode()
            elif name.endswith(".json"):
                table = {token: number for number, token in enumerate(known)}
                content = json.dumps(table, ensure_ascii=False).encode()
            else:
                plain = [token for token in known if token not in special]
                lines = [f"{token} 1" for token in plain] if counted else [*known]
                content = "\n".join([*lines, ""]).encode()
            path.write_bytes(content)
        return class_(**options)


def _unknown(made: PreTrainedTokenizerBase, texts: Sequence[str]) -> float:
    """The share of the tokens of texts that the class does not know; 1 where it cannot cut them, or
    cuts them otherwise when it has been saved and loaded."""
    cut = sample.cut(made, texts)
    with tempfile.TemporaryDirectory() as folder:
        made.save_pretrained(folder)
        if None in cut or sample.cut(type(made).from_pretrained(folder), texts) != cut:
            return 1.0
    counts = Counter(number for ids in cut for number in ids or ())
    return float(counts[made.unk_token_id] / counts.total()) if counts else 1.0


def _joined(made: PreTrainedTokenizerBase, texts: Sequence[str]) -> bool:
    """Whether most words come back as one: a class of letters finds longer tokens by themselves,
    without what stands for a space between them."""
    back = made.batch_decode([ids or [] for ids in sample.cut(made, texts)])
    return 2 * sum(len(text.split()) for text in back) < sum(len(text.split()) for text in texts)


# --- what is learned ------------------------------------------------------------------------------


def _pieces(texts: Sequence[str], count: int) -> Words:
    import sentencepiece

    made = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_writer=made,
        vocab_size=count,
        model_type="bpe",  # counts alone: the same on every machine
        character_coverage=1.0,
        hard_vocab_limit=False,
        num_threads=1,
        minloglevel=2,
    )
    model = sentencepiece.SentencePieceProcessor(model_proto=made.getvalue())
    tokens = [model.id_to_piece(number) for number in range(3, model.get_piece_size())]
    return Words(tokens=tokens, model=made.getvalue())


def _merged(texts: Sequence[str], count: int) -> Words:
    """Merges that write </w> behind a word's last letter."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    made = Tokenizer(models.BPE(end_of_word_suffix=END))
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    # Given as special tokens, letters are numbered the same every time (see train._letters).
    words = list(sample.words(texts, made))
    letters = sorted({*"".join(words), *(word[-1] + END for word in words)})
    made.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=count, special_tokens=letters, end_of_word_suffix=END, show_progress=False
        ),
    )
    model = json.loads(made.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].__getitem__)
    return Words(tokens=tokens[:count], merges=[" ".join(pair) for pair in model["merges"]])


def _continued(texts: Sequence[str], count: int) -> Words:
    """The same merges, and tokens that say where a word goes on."""
    words = _merged(texts, count)
    tokens = [t.removesuffix(END) if t.endswith(END) else t + GOES_ON for t in words.tokens]
    return Words(tokens=tokens, merges=words.merges)


def _letters(texts: Sequence[str], count: int) -> Words:
    counts = Counter(letter for text in texts for letter in text if not letter.isspace())
    return Words(tokens=sorted(counts, key=lambda letter: (-counts[letter], letter))[:count])


def _parts(texts: Sequence[str], count: int, *, lower: bool = True) -> Words:
    """Words and parts that go on with ##, as BERT's."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=lower)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    words = list(sample.words(texts, made))
    letters = sorted({*"".join(words), *("##" + letter for word in words for letter in word[1:])})
    trainer = trainers.WordPieceTrainer(
        vocab_size=count, special_tokens=letters, show_progress=False
    )
    made.train_from_iterator(texts, trainer)
    vocab: Mapping[str, int] = made.get_vocab()
    return Words(tokens=sorted(vocab, key=vocab.__getitem__)[:count])
