"""A bundle as its user has it: what the Auto classes make of its folder, and what works with that.

It runs in the process that only reads bundles (`tinybuild.validate.reader`), and knows nothing but
the folder and the model that from_pretrained made of it.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinybuild import bundle
from tinybuild.errors import first_line
from tinybuild.feeding.inputs import beside, labels, tensors
from tinybuild.feeding.inputs.attempt import attempt
from tinybuild.feeding.inputs.continued import plain, staged
from tinybuild.feeding.inputs.draw import ROWS, Draw
from tinybuild.feeding.inputs.facts import Facts
from tinybuild.feeding.processor import features, parts
from tinybuild.tokenizer import sample
from tinybuild.validate import pipelines, samples

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    Inputs = Mapping[str, Any]
    Data = Mapping[str, Any]

TEXT = "This is a test of what a small model reads."
WORD = " word"
BOUNDED = 10_000  # a larger model_max_length bounds nothing
FREE = 200  # tokens of a long text where nothing is bounded
NEW = 4  # tokens to generate
MOST_LABELS = 20
LANGUAGE = "en"
CHAT = (
    {"role": "user", "content": TEXT},
    {"role": "assistant", "content": "It is."},
    {"role": "user", "content": "And this?"},
)


# What a class raises for a way to ask that it does not take.
UNTAKEN = (ValueError, TypeError, RuntimeError, IndexError, AttributeError, UnboundLocalError)


class Unusable(Exception):
    """What a client would be surprised by, though nothing was raised."""


@dataclass(frozen=True, kw_only=True)
class Client:
    """folder: of the bundle. model: what from_pretrained makes of it, in float32. learns: whether
    its class has a loss. batch: inputs that the model takes, by rule. given: those that it took
    last, by what they are of."""

    folder: Path
    model: PreTrainedModel
    seed: int
    learns: bool
    batch: Inputs = field(default_factory=dict)
    given: dict[str, Inputs] = field(default_factory=dict)

    @functools.cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase | None:
        from transformers import AutoTokenizer

        there = (self.folder / "tokenizer_config.json").is_file()
        return AutoTokenizer.from_pretrained(self.folder) if there else None

    @functools.cached_property
    def processor(self) -> Any:
        """What AutoProcessor makes of the folder, or the Auto class of a part where that wants a
        tokenizer and there is none, or gives nothing else; None without a processor's files."""
        from transformers import AutoFeatureExtractor, AutoImageProcessor, AutoProcessor

        if not bundle.has_processor(self.folder):
            return None
        try:
            made = AutoProcessor.from_pretrained(self.folder)
            if not hasattr(made, "convert_tokens_to_ids"):
                return made
            raise ValueError(f"AutoProcessor gives {type(made).__name__} alone")
        except (OSError, ValueError, TypeError, AttributeError) as error:
            alone = self.tokenizer is None or "alone" in str(error)
            for auto in (AutoImageProcessor, AutoFeatureExtractor) if alone else ():
                with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
                    return auto.from_pretrained(self.folder)
            absent = parts.lacking(self.folder)
            if absent:
                raise ImportError(absent) from None
            raise

    @property
    def whole(self) -> bool:
        """Whether the processor takes texts as well."""
        return hasattr(self.processor, "tokenizer")

    @functools.cached_property
    def takes(self) -> frozenset[str]:
        return frozenset(Facts(self.model).takes)

    @functools.cached_property
    def reads(self) -> PreTrainedTokenizerBase | None:
        """The tokenizer, where there is one and the model reads text: ids, of one kind."""
        ids = self.batch.get("input_ids")
        plain = ids is None or ids.dim() == 2
        return self.tokenizer if "input_ids" in self.takes and plain else None

    @property
    def bounded(self) -> bool:
        """Whether the tokenizer bounds the length of a text."""
        return self.reads is not None and self.reads.model_max_length < BOUNDED

    # --- forward ----------------------------------------------------------------------------------

    def run(self, what: str, given: Mapping[str, Any]) -> None:
        """Forward, with a decoder's start where the model has one."""
        import torch

        rows = max((len(value) for value in given.values() if hasattr(value, "shape")), default=1)
        given = {**samples.measured(self.model, self.batch, rows), **given}
        complete = samples.complete(self.model, given, {}, rows)
        with torch.no_grad():
            try:
                made = tensors(self.model(**complete))
            except RuntimeError:  # a decoder of codes starts by itself
                if complete.keys() <= given.keys():
                    raise
                complete = {name: complete[name] for name in complete if name in given}
                made = tensors(self.model(**complete))
        if not made or any(bool(tensor.isnan().any()) for tensor in made.values()):
            raise Unusable("forward gives no number" if made else "forward gives nothing")
        self.given[what] = complete

    def read(self, what: str, texts: list[str], **options: Any) -> None:
        """Texts through tokenizer and model: by themselves, as features of text where the model
        compares them with something else, or with what they are read beside."""
        assert self.reads is not None
        texts = _written(self.reads, texts)
        coded = self.coded(self.reads, texts, return_tensors="pt", **options)
        if not coded["input_ids"].numel():
            raise Unusable(f"a text of {len(texts[0])} characters has no tokens")
        unknown = self.reads.unk_token_id
        plain = {*coded["input_ids"].flatten().tolist()} - {*self.reads.all_special_ids}
        if unknown is not None and not plain:
            raise Unusable("a text in English has no known tokens")
        self.any_way(what, coded, texts, **options)

    def coded(self, words: PreTrainedTokenizerBase, texts: list[str], **options: Any) -> Any:
        """Token ids; of words with a place each on a page, where tokenizer or model wants them."""
        if sample.wants_boxes(words):
            pages = [text.split() for text in texts]
            return words(pages, boxes=[[[0, 0, 10, 10]] * len(page) for page in pages], **options)
        made = words(texts, **options)
        if "bbox" in self.takes and "bbox" not in made:
            made["bbox"] = made["input_ids"].unsqueeze(-1).expand(-1, -1, 4) * 0
            if not hasattr(self.model.config, "max_2d_position_embeddings"):  # parts of a page
                made["bbox"] = made["bbox"].to(self.model.dtype)
        return made

    def any_way(self, what: str, coded: Data, texts: list[str], **options: Any) -> None:
        """Forward of texts, by the first way that it takes them."""
        refused: Exception | None = None
        for way in (self._alone, self._compared, self._beside, self._drawn, self._along):
            try:
                return way(what, dict(coded), texts, options)
            except (ValueError, TypeError, KeyError, AttributeError, RuntimeError) as error:
                refused = refused or error
        assert refused is not None
        raise refused

    def _alone(self, what: str, coded: Inputs, texts: list[str], options: Data) -> None:
        self.run(what, coded)

    def _compared(self, what: str, coded: Inputs, texts: list[str], options: Data) -> None:
        import torch

        with torch.no_grad():
            made = self.model.get_text_features(**coded)
        if not tensors({"features": made}):
            raise Unusable("get_text_features gives nothing")

    @property
    def senses(self) -> tuple[str, ...]:
        """The media of the processor that the model takes."""
        return samples.senses(self.processor, self.model.config)

    def _beside(self, what: str, coded: Inputs, texts: list[str], options: Data) -> None:
        named = samples.places(self.processor)
        one = {
            named[medium]: samples.sample(self.model.config, self.processor, medium, self.seed)
            for medium in self.senses
        }
        many = {name: made * len(texts) for name, made in one.items()}
        each = {name: [made] * len(texts) for name, made in one.items()}  # a list for each
        limit = self.processor.tokenizer.model_max_length
        if options.get("truncation"):  # a processor may take some of it for what it puts in
            options = {**options, "max_length": limit}
        made = self._written_by(texts, many, each, options)
        try:
            self.run(what, made)
        except IndexError:  # it puts in more than it leaves room for: less text, then
            over = made["input_ids"].shape[-1] - limit
            if not options.get("truncation") or over <= 0:
                raise
            options = {**options, "max_length": limit - over}
            self.run(what, self._written_by(texts, many, each, options))

    def _written_by(self, texts: list[str], many: Data, each: Data, options: Data) -> Inputs:
        """What the processor makes of texts beside media, in the first way that it takes: what cuts
        texts is not for the sounds beside them."""
        refused: Exception | None = None
        for more in ({**many, **options}, {**many, "text_kwargs": options}, {**each, **options}):
            try:
                return dict(self.processor(text=texts, **more, return_tensors="pt"))
            except (ValueError, TypeError) as error:
                refused = error
        assert refused is not None
        raise refused

    def _drawn(self, what: str, coded: Inputs, texts: list[str], options: Data) -> None:
        """Beside what no class of transformers makes (the features of LXMERT's regions)."""
        if self.processor is not None:
            raise ValueError("the processor makes what the model takes beside a text")
        known = {*coded} | {name for name in self.batch if name.startswith(("input", "attention"))}
        others = features.cast(self.model, self.batch)
        drawn = {name: value[: len(texts)] for name, value in others.items() if name not in known}
        self.run(what, {**coded, **drawn})

    def _along(self, what: str, coded: Inputs, texts: list[str], options: Data) -> None:
        """Token by token with a sound that no class of the bundle makes (Voxtral's realtime models,
        whose processor wants mistral-common's tokenizer): as many tokens as that has."""
        sounds = {name: value for name, value in self.batch.items() if name in beside.SOUNDS}
        if self.processor is not None or not sounds:
            raise ValueError("no sound goes with the text that the processor does not make")
        count = self.batch["input_ids"].shape[1]
        cut = {name: beside.repeated(value, count, 1) for name, value in coded.items()}
        sounds = {name: value[: len(texts)] for name, value in sounds.items()}
        self.run(what, {**cut, **features.cast(self.model, sounds)})


# --- what a client does ---------------------------------------------------------------------------
# A step of each name: False where it does not apply.


def _text(client: Client) -> bool:
    if client.tokenizer is None:
        return False
    if client.reads is None:
        ids = client.tokenizer(TEXT)["input_ids"]
        if not ids or not client.tokenizer.decode(ids):
            raise Unusable("a text has no tokens")
        return True
    client.read("text", [TEXT], truncation=client.bounded)
    return True


def _long(client: Client) -> bool:
    """A text longer than the model takes, cut by the tokenizer."""
    if client.reads is None:
        return False
    if client.bounded:
        client.read("long", [WORD * client.reads.model_max_length * 2], truncation=True)
    else:
        client.read("long", [WORD * FREE])
    return True


def _padded(client: Client) -> bool:
    """Two texts of different lengths; where no token pads, the last one does, as in scripts. Not of
    a tokenizer that names neither, like a tokenizer.json alone, nor of a class that takes one row
    at a time (TVP's places of pixels are of one)."""
    if client.reads is None or len(client.batch.get("input_ids", (0, 0))) == 1:
        return False
    if client.reads.pad_token is None:
        client.reads.pad_token = client.reads.eos_token
    if client.reads.pad_token is None:
        return False
    client.read("texts", [TEXT, TEXT[:9]], padding=True, truncation=client.bounded)
    return True


def _chat(client: Client) -> bool:
    """A conversation as the template of the processor, or else of the tokenizer, writes it."""
    if client.reads is None:
        return False
    holder: Any = client.reads
    said: list[Mapping[str, Any]] = [*CHAT]
    if client.whole and getattr(client.processor, "chat_template", None):
        holder = client.processor
        said = [{**one, "content": [{"type": "text", "text": one["content"]}]} for one in CHAT]
    elif not client.reads.chat_template:
        return False
    options = {"return_dict": True, "return_tensors": "pt", "add_generation_prompt": True}
    try:
        made = holder.apply_chat_template(said, tokenize=True, **options)
    except ValueError:
        if holder is not client.processor:
            raise
        said = _with_media(client, said)  # PaliGemma takes no text without an image
        made = holder.apply_chat_template(said, tokenize=True, **options)
    text = holder.apply_chat_template(said, add_generation_prompt=True, tokenize=False)
    if not text or not made["input_ids"].numel():
        raise Unusable("the chat template writes nothing")
    client.any_way("chat", made, [text], add_special_tokens=False)
    return True


def _with_media(client: Client, said: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """A conversation that begins with a sample of each medium that the processor takes."""
    first, *others = said
    shown = [
        {
            "type": medium,
            medium: samples.sample(client.model.config, client.processor, medium, client.seed)[0],
        }
        for medium in client.senses
    ]
    return [{**first, "content": [*shown, *first["content"]]}, *others]


def _media(client: Client) -> bool:
    """A sample of each medium that the processor takes, with a text where it takes one."""
    if client.processor is None:
        return False
    if not client.whole:
        return _by_itself(client)
    media = client.senses
    if not media:
        return False
    fed = samples.whole(client.model, client.processor, client.seed)
    try:
        client.run("media", fed.inputs)
    except ValueError as error:
        if not samples.one_at_a_time(error):
            raise
        fed = samples.whole(client.model, client.processor, client.seed, fed.media[:1])
        client.run("media", fed.inputs)
    for medium in {*media} - {*fed.media}:
        alone = samples.whole(client.model, client.processor, client.seed, (medium,))
        client.run(medium, alone.inputs)
    return True


def _by_itself(client: Client) -> bool:
    """A sample through a part of a processor that is all there is, twice."""
    made, seed = client.processor, client.seed
    made = getattr(made, "image_processor", None) or made  # of a processor that takes no text
    place = next((p for p in ("image", "video") if p in type(made).__name__.lower()), "audio")
    if place == "audio":
        rate = samples.sampling_rate(made)
        given = dict(made([features.sound(rate, seed)], sampling_rate=rate, return_tensors="pt"))
    elif place == "video":
        film = samples.video(client.model.config, made, seed)
        given = dict(made(**film, return_tensors="pt"))
    else:
        axes = 5 if getattr(client.model.config, "num_frames", None) else 4
        given = samples.images(client.model.config, made, axes, seed)
    client.run("media", {name: _twice(value) for name, value in given.items()})
    return True


def _twice(value: Any) -> Any:
    """One row as ROWS equal ones."""
    if hasattr(value, "shape") and value.dim() and value.shape[0] == 1:
        return value.repeat(ROWS, *[1] * (value.dim() - 1))
    return value


def _loss(client: Client) -> bool:
    """The loss of what the model took, with labels as its class wants them."""
    import torch

    if not client.learns:
        return False
    several = [client.given[what] for what in ("texts", "media") if what in client.given]
    if several and client.processor is None:
        # What no class makes may be a part of it.
        several.append(features.cast(client.model, client.batch))
    for given in (way for one in several for way in _heard(client, one)):
        with torch.no_grad():
            made = attempt(client.model, given)
            if made.error is not None:
                raise made.error
            if made.loss is not None:
                return True
            facts, draw = Facts(client.model), Draw(client.seed, client.model.dtype)
            tried = itertools.islice(labels.labels(facts, draw, made), MOST_LABELS)
            if any(attempt(client.model, {**given, **some}).loss is not None for some in tried):
                return True
    if several and "media" not in client.given and client.senses:
        return False  # nothing could be made of media, which their own step says
    if several:
        raise Unusable("no labels make a finite loss")
    return False


def _heard(client: Client, given: Inputs) -> Iterator[Inputs]:
    """What the model took, and the same with a mask of all of a sound where it took none: classes
    that recognize speech count by it what labels are for, and LASR's processor drops it beside a
    text."""
    import torch

    yield given
    sound = given.get("input_features")
    if sound is not None and beside.MASK in client.takes - given.keys():
        yield {**given, beside.MASK: torch.ones(sound.shape[:2], dtype=torch.bool)}


def _written(reads: PreTrainedTokenizerBase, texts: list[str]) -> list[str]:
    """Texts as they are, or as many words of a vocabulary that has no small letter: proteins."""
    own = sorted({*reads.get_vocab()} - {*reads.all_special_tokens})
    if any(letter.isascii() and letter.islower() for token in own for letter in token) or not own:
        return texts
    words = itertools.cycle(own)
    return [" ".join(itertools.islice(words, len(text.split()))) for text in texts]


def _generate(client: Client) -> bool:
    import torch

    if not client.model.can_generate() or staged(client.model) or not client.given:
        return False
    takes = inspect.signature(client.model.generate).parameters
    words = {"language": LANGUAGE} if "language" in takes else {}
    options = {**words, **plain(client.model), "max_new_tokens": NEW, "do_sample": False}
    made = _generated(client, options)
    made = getattr(made, "sequences", made)
    ids = isinstance(made, torch.Tensor) and made.dim() == 2 and not made.is_floating_point()
    if ids and client.tokenizer is not None:
        client.tokenizer.batch_decode(made)
    return True


def _generated(client: Client, options: Data) -> Any:
    """What comes after the media, or else after the text: a voice goes on from nothing heard."""
    import torch

    refused: Exception | None = None
    for what in ("media", "text", "texts"):
        given = client.given.get(what, {})
        asked = {name: value for name, value in given.items() if not name.startswith("decoder_")}
        for way in _begun(client, asked) if asked else ():
            try:
                with torch.no_grad():
                    return client.model.generate(**way, **options)
            except UNTAKEN as error:
                refused = refused or error
    assert refused is not None
    raise refused


def _begun(client: Client, asked: Inputs) -> Iterator[Inputs]:
    """What is asked; the same with what a voice begins with at its end (Pocket TTS); for an answer
    by names, which some take for granted (CLVP); of twice as long a sound; and with codes to go on
    from: some decoders of them do not begin by themselves (Dia)."""
    yield asked
    start, ids = samples.spoken_from(client.model.config), asked.get("input_ids")
    if start is not None and ids is not None and ids.dim() == 2:
        yield {**asked, **_ended(asked, start)}
    yield {**asked, "return_dict_in_generate": True}
    if sounds := beside.longer(asked, 1, 2):  # as many tokens as are heard, and no more
        yield {**asked, **sounds}
    codes = client.batch.get("decoder_input_ids")
    if codes is not None and codes.dim() == 3:
        rows = max(len(value) for value in asked.values() if hasattr(value, "shape"))
        yield {**asked, "decoder_input_ids": codes[:rows]}


def _ended(asked: Inputs, token: int) -> Inputs:
    """Ids and mask with one more token."""
    import torch

    ids = asked["input_ids"]
    more = {"input_ids": token, "attention_mask": 1}
    return {
        name: torch.cat([asked[name], torch.full_like(ids[:, :1], value)], -1)
        for name, value in more.items()
        if name in asked
    }


def _pipeline(client: Client) -> bool:
    """No pipeline gives the places of words on a page, nor what only a part of a model takes."""
    task = pipelines.task(client.model)
    read = task in pipelines.READ and ("bbox" in client.takes or beside.passed(Facts(client.model)))
    if task is None or read:
        return False
    loaded = pipelines.Loaded(
        model=client.model, tokenizer=client.tokenizer, processor=client.processor, seed=client.seed
    )
    return pipelines.run(task, loaded)


STEPS: Mapping[str, Callable[[Client], bool]] = {
    "text": _text,
    "long text": _long,
    "two texts": _padded,
    "chat": _chat,
    "media": _media,
    "loss": _loss,
    "generate": _generate,
    "pipeline": _pipeline,
}


@dataclass(frozen=True, kw_only=True)
class Used:
    """What a client did. worked: the steps. failed: step -> what was raised. lacking: step -> the
    package that it wants."""

    worked: tuple[str, ...]
    failed: Mapping[str, str]
    lacking: Mapping[str, str]


def used(client: Client) -> Used:
    """Every step, whatever became of the others."""
    worked, failed, lacking = list[str](), dict[str, str](), dict[str, str]()
    for name, step in STEPS.items():
        try:
            if step(client):
                worked.append(name)
        except ImportError as error:
            lacking[name] = _said(error)
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - what a bundle raises is what was measured
            failed[name] = f"{type(error).__name__}: {_said(error)}"
    return Used(worked=tuple(worked), failed=failed, lacking=lacking)


def _said(error: Exception) -> str:
    return re.sub(r"0x[0-9a-f]{6,}", "0x...", first_line(error))
