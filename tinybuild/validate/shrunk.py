"""Checks of a shrunken tokenizer: it does what its source does, as far as its tokens reach."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinybuild import corpus
from tinybuild.facts import TokenizerShown
from tinybuild.paths import Json
from tinybuild.tokenizer import sample, tokenizer_json
from tinybuild.tokenizer.living import chats
from tinybuild.tokenizer.segmenter import BYTES
from tinybuild.tokenizer.shrink import VOCAB_MAP
from tinybuild.tokenizer.upstream import Upstream, format_of, read
from tinybuild.validate.check import Result, Value, check
from tinybuild.validate.subject import Subject
from tinybuild.validate.tokenizer import unknowns

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PIPELINE = (
    *("normalizer", "pre_tokenizer", "decoder", "post_processor"),
    *("padding", "truncation"),
)
SET_BY_CALLS = PIPELINE[4:]  # a loaded tokenizer holds those of the last call
RANDOM_TEXTS, SURFACES = 200, 400
# Ranges that random characters are drawn from: ASCII and controls, Latin to CJK, all of Unicode.
RANGES = ((0, 0x80), (0x80, 0x250), (0x250, 0x3100), (0x3100, 0xD800), (0xE000, 0x110000))


def _map(subject: Subject) -> dict[int, int]:
    return subject.once(_read_map)


def _read_map(subject: Subject) -> dict[int, int]:
    data = json.loads((subject.folder / VOCAB_MAP).read_text(encoding="utf-8"))
    return {int(old): new for old, new in data["old_to_new"].items()}


@check("shrunk")
def vocabulary_mapped(subject: Subject) -> Result:
    """vocab_map.json leads from ids of the source to 0 .. N-1, in order, token for token."""
    mapped = _map(subject)
    source = {number: token for token, number in subject.source.get_vocab().items()}
    made = subject.tokenizer.get_vocab()
    bad = [
        f"{old} ({source.get(old)!r}) became {new}"
        for old, new in mapped.items()
        if made.get(source.get(old)) != new
    ]
    if [mapped[old] for old in sorted(mapped)] != list(range(len(subject.tokenizer))):
        bad.append("the new ids are not 0 to N-1 in the order of the old ones")
    bad += [
        f"{source.get(old)!r} has another surface"
        for old, new in sorted(mapped.items())
        if subject.source.decode([old]) != subject.tokenizer.decode([new])
    ]
    return _result(
        bad, f"{len(mapped):,} of {len(source):,} tokens", tokens=len(mapped), source=len(source)
    )


def _result(bad: Sequence[str], measured: str, **values: Value) -> Result:
    more = f", and {len(bad) - 1} more" if len(bad) > 1 else ""
    told = bad[0] + more if bad else measured
    return Result.of(
        not bad, measured=told, wanted="as in the source", values={**values, "faults": len(bad)}
    )


@check("shrunk")
def same_pipeline(subject: Subject) -> Result | None:
    """Normaliser, pre-tokenizer, decoder, post-processor, padding and truncation are the source's,
    after AutoTokenizer and in the file itself."""
    if not subject.tokenizer.is_fast:
        return None
    mapped, bad, compared = _map(subject), [], 0
    views = [(subject.source.backend_tokenizer, subject.tokenizer.backend_tokenizer, "loaded")]
    name, made = tokenizer_json.NAME, subject.read("tokenizer", TokenizerShown).shrunk
    if (subject.upstream / name).is_file() and made and name not in made.disagreed:
        file = tokenizer_json.loaded(subject.folder / name)
        views.append((tokenizer_json.loaded(subject.upstream / name), file, name))
    for old, new, where in views:
        before, after = _parts(old), _parts(new)
        for part in PIPELINE:
            if part in SET_BY_CALLS and where == "loaded":
                continue
            compared += 1
            if _renumbered(before[part], mapped) != after[part]:
                bad.append(f"{where}: another {part}")
    return _result(bad, f"{compared} parts equal", parts=compared)


def _parts(backend: sample.Backend) -> dict[str, Json]:
    """A pipeline's parts as JSON, without the vocabulary."""
    made: dict[str, Json] = {name: getattr(backend, name) for name in SET_BY_CALLS}
    for name in PIPELINE[:4]:
        part = getattr(backend, name)
        made[name] = None if part is None else json.loads(part.__getstate__())
    return made


def _renumbered(part: Json, mapped: Mapping[int, int]) -> Json:
    """Part of a pipeline with the ids that its tokens have now. (Not as the stage does it, which is
    what is checked here.)"""
    if isinstance(part, list):
        return [_renumbered(item, mapped) for item in part]
    if not isinstance(part, dict):
        return part
    made: dict[str, Any] = {name: _renumbered(value, mapped) for name, value in part.items()}
    if "ids" in made:
        made["ids"] = [mapped.get(number) for number in made["ids"]]
    if "pad_id" in made:
        made["pad_id"] = mapped.get(made["pad_id"])
    for name in made.keys() & {"sep", "cls"}:
        made[name] = [made[name][0], mapped.get(made[name][1])]
    return made


def texts(subject: Subject) -> list[str]:
    """Texts in many scripts, code, emoji, random characters, and the tokens' own surfaces."""
    drawn = random.Random(subject.seed)
    tried = list(corpus.texts())
    for _ in range(RANDOM_TEXTS):
        low, high = RANGES[drawn.randrange(len(RANGES))]
        length = drawn.randrange(1, 20)
        tried.append("".join(chr(drawn.randrange(low, high)) for _ in range(length)))
    kept = sorted(_map(subject))
    surfaces = [subject.source.decode([number]) for number in kept]
    plain = [
        surface for surface in surfaces if surface and "\N{REPLACEMENT CHARACTER}" not in surface
    ]
    for _ in range(SURFACES if plain else 0):
        tried.append("".join(drawn.choices(plain, k=drawn.randrange(1, 8))))
    return tried


@dataclass(frozen=True, kw_only=True)
class Tried:
    """A text, and its ids in the source and in the shrunken tokenizer; None where it cannot be
    cut."""

    text: str
    before: list[int] | None
    after: list[int] | None


def _tried(subject: Subject) -> list[Tried]:
    """`texts`, cut once for all checks."""
    tried = texts(subject)
    before, after = (sample.cut(each, tried) for each in (subject.source, subject.tokenizer))
    return [
        Tried(text=text, before=old, after=new)
        for text, old, new in zip(tried, before, after, strict=True)
    ]


def _ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int] | None:
    return sample.cut(tokenizer, [text])[0]


@check("shrunk")
def segmentation(subject: Subject) -> Result:
    """Text whose source tokens were all kept is cut as the source cuts it; other text into tokens
    of the source all the same, and it comes back as it comes back from the source.

    Text with characters that only the source has tokens for is counted as lost.
    """
    mapped, source, made = _map(subject), subject.source, subject.tokenizer
    # Where tokens were kept that may mislead, words that the source gives up are left out.
    misled, unknown, losses = _misled(subject), unknowns(source), _Losses(source, made)
    cut = back = lost = 0
    bad: list[str] = []
    for tried in subject.once(_tried):
        if tried.before is None:
            continue
        text, before, after = tried.text, tried.before, tried.after
        given_up = misled and not unknown.isdisjoint(before)
        if all(number in mapped for number in before) and not given_up:
            cut += 1
            if after is None or [mapped[number] for number in before] != after:
                bad.append(f"{text[:40]!r} is cut otherwise")
        elif after is None or losses.in_(text, before, after):
            lost += 1
        elif not given_up:
            back += 1
            wanted, now = _back(source, before), _back(made, after)
            if wanted != now:
                both = enumerate(zip(wanted, now, strict=False))
                first = next((n for n, (a, b) in both if a != b), min(len(wanted), len(now)))
                at = max(0, first - 20)
                shown = f"comes back with {now[at : at + 40]!r}, not {wanted[at : at + 40]!r}"
                bad.append(f"{text[:40]!r} {shown}")
    measured = (
        f"{cut} texts of kept tokens cut alike, {back} came back alike, {lost} with new unknowns"
    )
    if not cut:
        bad.append("no text has only kept tokens")
    return _result(bad, measured, cut_alike=cut, came_back_alike=back, with_unknowns=lost)


class _Losses:
    """Which texts have characters that a source has tokens for, and the shrunken one has none."""

    def __init__(self, source: PreTrainedTokenizerBase, made: PreTrainedTokenizerBase):
        self.source, self.made = source, made
        self.letters = _letters(source) - _letters(made) if made.is_fast else set()

    def in_(self, text: str, before: Sequence[int], after: Sequence[int]) -> bool:
        """Whether the text is one; before, after: its ids in both.

        Slow classes do not tell where a token stands in the text: there any unknown token counts,
        also of the source, which may lack a piece that its own model makes (SMaLL-100's).
        """
        if not self.made.is_fast:
            return not (
                unknowns(self.made).isdisjoint(after) and unknowns(self.source).isdisjoint(before)
            )
        if self.letters:
            words = sample.split(text, self.source.backend_tokenizer)
            if not self.letters.isdisjoint("".join(words)):
                return True
        return _known(self.made, after) < _known(self.source, before)


def _known(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> int:
    """How many letters known tokens spell, as the normaliser left them: one letter of a text may
    become three (¼ is 1⁄4), of which a tokenizer knows two."""
    unknown, model = unknowns(tokenizer), tokenizer.backend_tokenizer.model
    prefix = getattr(model, "continuing_subword_prefix", None) or ""
    suffix = getattr(model, "end_of_word_suffix", None) or ""
    tokens = tokenizer.convert_ids_to_tokens([one for one in ids if one not in unknown])
    return sum(len(token.removeprefix(prefix).removesuffix(suffix)) for token in tokens)


def _letters(tokenizer: PreTrainedTokenizerBase) -> set[str]:
    """The letters that are tokens in every form a word has them in, at its start, inside and at its
    end; none where bytes spell a letter that is not there."""
    vocabulary, model = tokenizer.get_vocab(), tokenizer.backend_tokenizer.model
    if BYTES[0] in vocabulary:
        return set()
    prefix = getattr(model, "continuing_subword_prefix", None) or ""
    suffix = getattr(model, "end_of_word_suffix", None) or ""
    return {t for t in vocabulary if len(t) == 1 and {prefix + t, t + suffix} <= vocabulary.keys()}


def _back(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    """The text of ids; where nothing says how tokens join (no decoder), the tokens themselves."""
    if not tokenizer.is_fast or tokenizer.backend_tokenizer.decoder is not None:
        return str(tokenizer.decode(ids))
    prefix = getattr(tokenizer.backend_tokenizer.model, "continuing_subword_prefix", None) or ""
    tokens = [token.removeprefix(prefix) for token in tokenizer.convert_ids_to_tokens(ids)]
    spelled = (bytes([BYTES.index(t)]) if t in BYTES else t.encode() for t in tokens)
    return b"".join(spelled).decode("utf-8", "replace")


def _misled(subject: Subject) -> bool:
    """Whether a token was kept, of those that had a choice, that `misleads`."""
    made = subject.tokenizer
    if not made.is_fast or type(made.backend_tokenizer.model).__name__ != "WordPiece":
        return False
    origin = Upstream(files=read(subject.upstream), loaded=subject.source)
    (space,) = origin.spaces
    free = made.get_vocab().keys() - space.atoms
    return any(segmenter.misleads(token) for segmenter in space.segmenters for token in free)


@check("shrunk")
def special_strings(subject: Subject) -> Result:
    """The text of each special and added token, alone and between words, gives the ids it gave."""
    mapped, source, made = _map(subject), subject.source, subject.tokenizer
    kept = made.get_vocab()
    tokens = list({**made.get_added_vocab(), **dict.fromkeys(made.all_special_tokens)})
    bad = []
    for token in tokens:
        before = _ids(source, token)
        if before == [source.convert_tokens_to_ids(token)] and _ids(made, token) != [kept[token]]:
            bad.append(f"{token!r} gives {_ids(made, token)}, not {[kept[token]]}")
        for text in (f"a{token}a", f" {token} {token}"):
            expected = [mapped.get(number) for number in _ids(source, text) or ()]
            if expected and None not in expected and _ids(made, text) != expected:
                bad.append(f"{text!r} gives {_ids(made, text)}, not {expected}")
    return _result(bad, f"{len(tokens)} tokens", tokens=len(tokens))


@check("shrunk")
def chat_template(subject: Subject) -> Result | None:
    """What the chat templates write around messages gives the source's ids, through the map."""
    if not subject.source.chat_template:
        return None
    mapped, bad = _map(subject), []
    written = list(chats(subject.source))
    if written != list(chats(subject.tokenizer)):
        bad.append("the template writes other text")
    for text in written:
        before, after = _ids(subject.source, text), _ids(subject.tokenizer, text)
        if before is None or [mapped.get(number) for number in before] != after:
            bad.append(f"{text[:40]!r} gives other ids")
    return _result(bad, f"{len(written)} rendered chats", chats=len(written))


@check("shrunk")
def batches(subject: Subject) -> Result:
    """Offsets, pairs, padding and truncation are the source's, on texts of kept tokens."""
    mapped, source, made = _map(subject), subject.source, subject.tokenizer
    whole = [
        tried.text
        for tried in subject.once(_tried)
        if tried.text.strip() and tried.before is not None and mapped.keys() >= {*tried.before}
    ][:50]
    bad = []
    calls: list[tuple[str, dict[str, Any]]] = [
        ("alone", {}),
        ("truncated", {"truncation": True, "max_length": 4}),
    ]
    if source.pad_token is not None and source.pad_token_id in mapped:
        calls.append(("padded", {"padding": "max_length", "truncation": True, "max_length": 12}))
    for name, options in calls:
        if made.is_fast:
            options["return_offsets_mapping"] = True
        for text in whole:
            before, after = source(text, **options), made(text, **options)
            before["input_ids"] = [mapped.get(number) for number in before["input_ids"]]
            if dict(before) != dict(after):
                bad.append(f"{name}: {text[:30]!r} gives {dict(after)}"[:160])
    for first, second in itertools.pairwise(whole):
        expected = [mapped.get(number) for number in source(first, second)["input_ids"]]
        if expected != made(first, second)["input_ids"]:
            bad.append(f"as a pair {first[:20]!r} and {second[:20]!r} differ")
    if not whole:
        bad.append("no text has only kept tokens")
    names = ", ".join(name for name, _ in calls)
    return _result(bad, f"{len(whole)} texts {names} and in pairs", texts=len(whole))


@check("shrunk")
def formats_agree(subject: Subject) -> Result | None:
    """Each vocabulary file of the bundle, read by its format's own library, cuts text like the
    source's does, and agrees with AutoTokenizer wherever the source's did. (One that was given the
    pipeline of a class cuts like the source's AutoTokenizer.)"""
    source, made = subject.source, subject.tokenizer
    shown = subject.read("tokenizer", TokenizerShown).shrunk
    given = shown.disagreed if shown else {}
    readers = []
    for path in sorted(filter(Path.is_file, subject.upstream.iterdir())):
        own, format_ = subject.folder / path.name, format_of(path)
        if format_ is not None and own.is_file():
            readers.append((path.name, format_.library(path, source), format_.library(own, made)))
    bad, agreed, read, tried = [], 0, [], subject.once(_tried)
    mapped, names = _map(subject), {number: token for token, number in source.get_vocab().items()}
    kept = {names[number] for number in mapped}
    for name, old, new in readers:
        if old is None or new is None:
            continue
        read.append(name)
        for each in tried:
            text = each.text
            asked = None if each.before is None else [names[number] for number in each.before]
            before = asked if asked is None or name in given else old(text)
            if before is None or not kept.issuperset(before):
                continue
            after = new(text)
            if before != after:
                bad.append(f"{name}: {text[:40]!r} is cut otherwise")
            if before == asked:
                agreed += 1
                if each.after is None or after != made.convert_ids_to_tokens(each.after):
                    bad.append(f"{name}: {text[:40]!r} is cut otherwise than by AutoTokenizer")
    if not read:
        return None
    return _result(bad, f"{', '.join(read)}: {agreed} texts", files=len(read), texts=agreed)
