"""method: train. The source's pipeline with a vocabulary learned from text."""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from tinybuild.errors import BuildFault, Fault
from tinybuild.paths import Json
from tinybuild.tokenizer import sample, tokenizer_json
from tinybuild.tokenizer.sample import Backend
from tinybuild.tokenizer.segmenter import BYTES, LETTERS
from tinybuild.tokenizer.tokenizer_json import Document
from tinybuild.tokenizer.work import Made, Work

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Piece = tuple[str, float]  # and its score
FALLBACK = "byte_fallback"
HEAVIEST = 100  # how often the lowest id counts when a vocabulary is weighted by rank


def train(work: Work) -> Made:
    """A tokenizer of exactly `vocab_size` tokens trained by train_new_from_iterator.

    The text is the recipe's sample (`sample.texts`), or the source's own vocabulary. Where it gives
    fewer, unused tokens fill it. Raises BuildFault when the class cannot be trained, or the
    letters of the text alone are more.
    """
    settings, source = work.section, work.origin.loaded
    wanted = settings["vocab_size"]
    if not getattr(source, "is_fast", False):
        raise BuildFault.of(
            f"{type(source).__name__} cannot be trained",
            key=("tokenizer", "method"),
            hint="its vocabulary can be given in the recipe: method: scratch",
        )
    backend = json.loads(source.backend_tokenizer.to_str())
    added = {token["content"]: token["special"] for token in backend["added_tokens"]}
    special = len({*added, *source.all_special_tokens})
    # Added tokens that are not special come on top of what is learned (except with Unigram).
    extra = sum(not is_special for is_special in added.values())
    extra = 0 if backend["model"]["type"] == "Unigram" else extra
    bytes_ = BYTES if backend["model"].get(FALLBACK) else ()

    def texts() -> Iterator[str]:
        if settings.get("text") == "vocabulary":
            return _vocabulary(source, settings.get("weighted", False))
        return sample.texts(settings, work.inputs, work.text)

    room, options = wanted - special - len(bytes_), dict[str, int | list[str]]()
    words = functools.cache(lambda: sample.words(texts(), source.backend_tokenizer))
    letters = _letters(words, backend["model"])
    if bytes_ and backend["model"]["type"] == "BPE":
        alphabet = _characters(words(), max(1, room // 2))
        options = {"initial_alphabet": alphabet, "limit_alphabet": len(alphabet)}
        alphabet = alphabet[:1]  # the others are only as many as there is room for
    elif tokenizer_json.byte_level(tokenizer_json.TokenizerJson(data=backend)):
        options, alphabet = {"initial_alphabet": [*LETTERS]}, [*LETTERS]
    else:
        alphabet = [*{*"".join(words())}] if backend["model"]["type"] != "WordLevel" else []
    least = special + len({*bytes_, *letters, *alphabet} - added.keys())
    if wanted < least:
        raise _too_small(wanted, least)
    if letters:
        options["new_special_tokens"] = letters
    # A Unigram learns added tokens once more, if the text has them; for these it gets more room.
    size, more = wanted - len(bytes_) - extra, 0
    made = _trained(source, texts(), size, options)
    while (twice := _twice(made)) > more:
        more = twice
        made = _trained(source, texts(), size + more, options)
    if letters:
        made.extra_special_tokens = source.extra_special_tokens
        made.init_kwargs.pop("extra_special_tokens", None)
        if "extra_special_tokens" in source.init_kwargs:
            made.init_kwargs["extra_special_tokens"] = source.extra_special_tokens
    unused = _repair(made, bytes_, letters, source.get_added_vocab(), wanted)
    _unknown_back(made, backend["model"])
    if len(made) > wanted:
        raise _too_small(wanted, len(made))
    return Made(loaded=made, unused=unused)


def _too_small(wanted: int, least: int) -> Fault:
    return BuildFault.of(
        f"vocab_size {wanted:,} is too small: special tokens and the text's letters alone are "
        f"{least:,}",
        key=("tokenizer", "vocab_size"),
        hint=f"ask for at least {least:,}; tokenizer.text: plain has the fewest letters",
    )


def _trained(
    source: PreTrainedTokenizerBase,
    texts: Iterator[str],
    size: int,
    options: Mapping[str, int | list[str]],
) -> PreTrainedTokenizerBase:
    try:
        with _words_apart(source.backend_tokenizer) as pre_tokenizer:
            made = source.train_new_from_iterator(
                _batches(texts), vocab_size=size, show_progress=False, **options
            )
        made.backend_tokenizer.pre_tokenizer = pre_tokenizer
    except Exception as error:  # tokenizers raises bare Exception
        if type(error).__module__ != "builtins":
            raise
        raise BuildFault.of(f"training failed: {error}", key=("tokenizer",)) from None
    return made


def _twice(made: PreTrainedTokenizerBase) -> int:
    """How many entries of a Unigram's list stand there twice."""
    vocab = json.loads(made.backend_tokenizer.to_str())["model"]["vocab"]
    return len(vocab) - len({piece for piece, _ in vocab}) if isinstance(vocab, list) else 0


@contextlib.contextmanager
def _words_apart(backend: Backend) -> Iterator[object]:
    """While a vocabulary is learned, a pipeline that hands over whole texts splits them into words.

    Llama's and Gemma's pipelines write spaces as U+2581 and leave it to the merges, which
    SentencePiece learned within words, that no token crosses a space; a trainer that sees whole
    texts learns tokens such as "o▁un". Yields the pre-tokenizer as it was, for the result.
    """
    from tokenizers import pre_tokenizers

    before = backend.pre_tokenizer
    if list(sample.words(["a b"], backend)) in (["▁a▁b"], ["a▁b"]):
        split = pre_tokenizers.Split("▁", "merged_with_next")
        chain = [split] if before is None else [before, split]
        backend.pre_tokenizer = pre_tokenizers.Sequence(chain)
    try:
        yield before
    finally:
        backend.pre_tokenizer = before


def _repair(
    made: PreTrainedTokenizerBase,
    bytes_: tuple[str, ...],
    letters: list[str],
    order: Mapping[str, int],
    wanted: int,
) -> int:
    """Put right what training leaves wrong.

    Letters (see `_letters`) are not special tokens. The scores of a Unigram differ from run to run
    (`_settled`). Byte pieces are lost: a tokenizer that falls back to bytes needs all 256 of them,
    or it drops the characters it does not know without a trace; they follow the tokens at the start
    (the special ones), as in SentencePiece models. Where the text gave fewer tokens than `wanted`,
    unused ones fill it; how many is returned. Added tokens are in another order than in the
    source (`order`: token -> id there). Ids in the post-processor are stale.
    """
    from tokenizers import Tokenizer

    backend: Document = json.loads(made.backend_tokenizer.to_str())
    plain = set(letters)
    backend["added_tokens"] = [t for t in backend["added_tokens"] if t["content"] not in plain]
    model, added = backend["model"], {token["content"] for token in backend["added_tokens"]}
    if isinstance(model["vocab"], list):
        _once(model)
        model["vocab"] = _settled(model["vocab"], added, wanted - len(added) - len(bytes_))
    tokens, scores = _listed(model)
    if bytes_:
        model[FALLBACK] = True
        start = next((i for i, token in enumerate(tokens) if token not in added), len(tokens))
        tokens[start:start] = bytes_
        if scores is not None:
            scores[start:start] = [0.0] * len(bytes_)
    count = max(0, wanted - len(added.union(tokens)))
    if scores is not None:  # the lowest score stays: an unknown character costs so much more
        scores += [min(scores)] * count
    names = (name for n in itertools.count() if (name := f"<unused{n}>") not in tokens)
    tokens += itertools.islice(names, count)
    _put(model, tokens, scores)
    places = {token: number for number, token in enumerate(tokens)}
    for token in backend["added_tokens"]:  # those that the model does not have follow them
        token["id"] = places.get(token["content"], token["id"] + len(bytes_) + count)
    _reorder(backend, order)
    post_processor = backend.pop("post_processor")
    made._tokenizer = Tokenizer.from_str(json.dumps(backend))
    # Training leaves the ids of a nested one at their old values.
    vocabulary = made.get_vocab()
    backend["post_processor"] = tokenizer_json.renumbered(
        post_processor, lambda _, token: vocabulary[token]
    )
    made._tokenizer = Tokenizer.from_str(json.dumps(backend))
    return count


def _once(model: Document) -> None:
    """Leave out the unknown piece at the start of a Unigram's list where it was learned as well:
    the trainer puts one there that is not a special token."""
    first, *others = model["vocab"]
    pieces = [piece for piece, _ in others]
    if model.get("unk_id") == 0 and first[0] in pieces:
        model["vocab"], model["unk_id"] = others, pieces.index(first[0])


def _unknown_back(made: PreTrainedTokenizerBase, source: Document) -> None:
    """Put a Unigram's unknown piece at the id that it has in the source, where it is a piece like
    any other: the class may say that id by itself (LASR's 3)."""
    from tokenizers import Tokenizer

    backend: Document = json.loads(made.backend_tokenizer.to_str())
    model, added = backend["model"], {token["content"]: token for token in backend["added_tokens"]}
    place, pieces = source.get("unk_id"), model["vocab"]
    if place is None or (unknown := pieces[model["unk_id"]])[0] in added:
        return
    pieces.remove(unknown)
    pieces.insert(place, unknown)
    model["unk_id"] = place
    for number, (piece, _) in enumerate(pieces):
        if piece in added:
            added[piece]["id"] = number
    backend["post_processor"] = tokenizer_json.renumbered(
        backend["post_processor"], lambda _, token: [p for p, _ in pieces].index(token)
    )
    made._tokenizer = Tokenizer.from_str(json.dumps(backend))


def _reorder(backend: Document, order: Mapping[str, int]) -> None:
    """Give the places that training gave to added tokens to them in the order of the source's ids.

    (Special tokens are numbered first, the other added ones behind all that was learned.)
    """
    model, added = backend["model"], backend["added_tokens"]
    ranked = sorted(token["id"] for token in added)
    names = sorted((t["content"] for t in added), key=lambda t: order.get(t, len(order)))
    places = dict(zip(names, ranked, strict=True))
    tokens, scores = _listed(model)
    unknown = model.get("unk_token")
    if model.get("unk_id") is not None:
        unknown = tokens[model["unk_id"]]
    if places.get(unknown, 0) >= len(tokens):
        tokens += [""] * len(places)  # the model itself has to hold its unknown token
        del tokens[1 + ranked[-1] :]
    for token, place in places.items():
        if place < len(tokens):
            tokens[place] = token
    _put(model, tokens, scores)
    if model.get("unk_id") is not None:
        model["unk_id"] = tokens.index(unknown)
    for token in added:
        token["id"] = places[token["content"]]
    added.sort(key=lambda token: token["id"])


def _listed(model: Document) -> tuple[list[str], list[float] | None]:
    """The tokens of a model in the order of their ids, and the scores of a Unigram's."""
    vocab = model["vocab"]
    if isinstance(vocab, list):
        return [token for token, _ in vocab], [score for _, score in vocab]
    return sorted(vocab, key=vocab.__getitem__), None


def _put(model: Document, tokens: list[str], scores: list[float] | None) -> None:
    """The opposite of `_listed`."""
    if scores is None:
        model["vocab"] = {token: number for number, token in enumerate(tokens)}
    else:
        model["vocab"] = [list(pair) for pair in zip(tokens, scores, strict=True)]


def _settled(vocab: list[Piece], added: set[str], room: int) -> list[Piece]:
    """A trained Unigram vocabulary with scores and order that do not depend on the run.

    UnigramTrainer keeps words in hash maps seeded at random: sums of floats differ in the last
    bits, pieces of equal score change places, and the characters that pruning lost (they come back
    at steps of 0.0001 above the lowest score) get their steps in any order. So scores are rounded,
    those characters get the lowest score, and equal scores go by their text. The set of pieces was
    the same in 99 of 99 trainings.

    Asked for no more than the letters, it does not stop behind them: of what it learned then, as
    many pieces stay as there is `room` for.
    """
    start = next((i for i, (piece, _) in enumerate(vocab) if piece not in added), len(vocab))
    lowest = min((score for _, score in vocab[start:]), default=0.0)

    def settled(piece: str, score: float) -> float:
        steps = (score - lowest) * 10_000
        lost = len(piece) == 1 and abs(steps - round(steps)) < 1e-6
        return round(lowest if lost else score, 3)

    learned = [item for item in vocab[start:] if item[0] not in added]
    pieces = [(piece, settled(piece, score)) for piece, score in learned]
    pieces.sort(key=lambda item: (-item[1], item[0]))
    longer = [item for item in pieces if len(item[0]) > 1]
    over = {*longer[max(0, room - len(pieces) + len(longer)) :]}
    return vocab[:start] + [item for item in pieces if item not in over]


def _letters(words: Callable[[], Iterable[str]], model: Mapping[str, Json]) -> list[str]:
    """The letters that carry a model's prefix or suffix (##a, a</w>), sorted.

    BpeTrainer, which also trains WordPiece, numbers these in the order of a hash map, another one
    in each process, and breaks ties between merges by these numbers. Given to it as special tokens
    they have the same numbers every time.
    """
    prefix = str(model.get("continuing_subword_prefix") or "")
    suffix = str(model.get("end_of_word_suffix") or "")
    if not prefix and not suffix:
        return []
    letters = set()
    for word in words():
        last = len(word) - 1
        for place, letter in enumerate(word):
            letters.add((prefix if place else "") + letter + (suffix if place == last else ""))
    return sorted(letter for letter in letters if len(letter) > 1)


def _characters(words: Mapping[str, int], most: int) -> list[str]:
    """The `most` most frequent characters of words (-> how often), sorted.

    A tokenizer that falls back to bytes spells the others in bytes (SentencePiece's
    character_coverage), so that a large alphabet leaves room for merges. Chosen here because
    BpeTrainer's limit_alphabet alone breaks ties at random.
    """
    counts: Counter[str] = Counter()
    for word, times in words.items():
        for character in word:
            counts[character] += times
    ranked = sorted(counts, key=lambda character: (-counts[character], character))
    return sorted(ranked[:most])


def _batches(texts: Iterator[str], size: int = 1000) -> Iterator[list[str]]:
    batch: list[str] = []
    for text in texts:
        batch.append(text)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _vocabulary(source: PreTrainedTokenizerBase, weighted: bool) -> Iterator[str]:
    """The surfaces of the source's tokens in the order of their ids, special tokens left out.

    Weighted, a token counts in proportion to N - id: the first of many just below HEAVIEST times
    (the tutorial's N - id repetitions would be 500 million strings for a vocabulary of 32,000; only
    the proportions matter to a trainer). Tokens that are not text by themselves (single bytes of
    longer characters) are left out.
    """
    special = set(source.all_special_tokens)
    tokens = sorted(source.get_vocab().items(), key=lambda item: item[1])
    count = 0
    for token, number in tokens:
        if token in special:
            continue
        surface = source.convert_tokens_to_string([token])
        if not surface or "\N{REPLACEMENT CHARACTER}" in surface:
            continue
        count += 1
        times = 1 + (len(tokens) - 1 - number) * (HEAVIEST - 1) // len(tokens) if weighted else 1
        for _ in range(times):
            yield surface
    if count == 0:
        raise BuildFault.of(
            "the source's tokenizer has no vocabulary to learn from",
            key=("tokenizer", "text"),
            hint="a transformers source is blank: learn from the corpus or a dataset",
        )
