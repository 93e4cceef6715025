"""Batches of a dataset's rows, as training scripts make them for what the model's class learns."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import TYPE_CHECKING, Any, TypeAlias

from tinybuild import bundle
from tinybuild.config import heads
from tinybuild.facts import DatasetRows
from tinybuild.feeding.inputs import labels, modalities
from tinybuild.feeding.inputs.contents import contents
from tinybuild.feeding.inputs.facts import Facts
from tinybuild.feeding.processor import features, parts
from tinybuild.validate import columns, layouts, samples
from tinybuild.validate.columns import Columns, Sample
from tinybuild.validate.dataset import first_rows, shards
from tinybuild.validate.layouts import Chat, Media
from tinybuild.validate.subject import NotTried, Subject

if TYPE_CHECKING:
    import numpy
    import torch
    from numpy.typing import NDArray
    from PIL.Image import Image
    from transformers import (
        BatchEncoding,
        FeatureExtractionMixin,
        PreTrainedModel,
        PreTrainedTokenizerBase,
        ProcessorMixin,
    )

    Batch = Mapping[str, torch.Tensor]

MOST = 8  # rows of a step
LOOKED = 32  # rows among which they are looked for: some lack a text, an image or a label
TOKENS = 32  # of a text at most
SECONDS = 2  # of a sound at most
CHARACTERS = 100  # of a text beside images and sounds, whose placeholders may not be cut off
MASKED = 0.5  # part of the tokens that is masked; of 15 % of a short row there may be none
LANGUAGE = ("causal-lm", "image-text-to-text", "multimodal-lm")  # tasks: the next token is learned
CLASSES = ("sequence-classification", "image-classification", "audio-classification")
SQUARE = "the outputs' mean square is learned"
UNKNOWN = "the rows have nothing that is known to be what the class learns"
UNTOLD = "there is no chat template: the texts of the messages are joined"


@dataclass(frozen=True, kw_only=True)
class Batches:
    """What a step is made from.

    parts: the arguments of forward, given one after the other; their gradients add up. worse: those
    of answers that are to become less likely than these; by the scores that the class gives them
    if `scored`. rows: how many rows that is. inputs: what of them went in (text, image, audio,
    label ...), and told: in the words of training scripts, with the columns. pad: the id that the
    tokenizer pads with, which a classifier of the last token wants to be told by its config.
    """

    parts: tuple[Batch, ...]
    worse: tuple[Batch, ...] = ()
    scored: bool = False
    rows: int
    inputs: tuple[str, ...]
    told: str = ""
    note: str = ""
    pad: int | None = None


class Unfit(Exception):
    """The rows and the model do not belong together."""

    def __init__(self, measured: str, wanted: str, hint: str = ""):
        super().__init__(measured)
        self.measured, self.wanted, self.hint = measured, wanted, hint


def is_learned(part: Batch) -> bool:
    """Whether a class computes a loss of its own from these arguments."""
    return "labels" in part or "return_loss" in part


# --- what of the rows the model takes -------------------------------------------------------------


def batches(subject: Subject, config: str) -> Batches | None:
    """A config's rows as the model takes them; None where they do not fit. Raises Unfit,
    NotTried."""
    work = _work(subject, config)
    model, there = subject.exact, work.columns.modalities
    takes = {sense for sense in modalities(model) if sense != "video" or sense in there}
    placed = bool(samples.placeholders(model.config))
    reads = "input_ids" in work.facts.takes
    if reads and "tokenizer" not in subject.facts:
        return None
    if not reads:
        takes -= {"text"}  # which it is taught, if anything
    if not takes or not ({"text"} if placed and reads else takes) <= {*there}:
        return None
    media = tuple(sense for sense in ("image", "audio") if sense in takes and sense in there)
    note = ""
    if media and not bundle.has_processor_file(subject.folder):
        if not placed or not reads:
            return None
        media, note = (), f"there is no processor for {', '.join(media)}: text alone"
    elif not media and placed and reads:
        other = " or ".join(sense for sense in samples.MEDIA if sense in takes)
        note = f"the rows have no {other}: text alone" if other else ""
    if not reads:
        made = _sensed(work, media[0])
    elif media:
        made = _mixed(work, media[0], placed)
    else:
        made = _texts(work)
    if made is None:
        return None
    if not (placed and reads) and _lacks(subject, (*made.parts, *made.worse)[0]):
        return None
    used = work.columns.used(made.inputs)
    unused = [name for name in work.columns.features if name not in used]
    left = f"not trained on: {', '.join(unused)}" if unused else ""
    notes = "; ".join(filter(None, (made.note or note, left)))
    return replace(made, note=notes, told=work.columns.told(made.inputs))


def _lacks(subject: Subject, part: Batch) -> list[str]:
    """What the model is given by rule and no row has: boxes of words, a series, many choices."""
    begun = {"decoder_input_ids", "decoder_inputs_embeds"}
    return [
        name
        for name in contents(subject.batch)
        if name not in begun and (name not in part or part[name].dim() != subject.batch[name].dim())
    ]


def _task(model: PreTrainedModel) -> str:
    """The first of heads.TASKS that the model's class is for; "" for one without a head. (Some
    language models that hear are listed as seq2seq-lm, and have no encoder of text.)"""
    name, config = type(model).__name__, model.config
    tasks = heads.of_type(config.model_type)
    task = next((task for task, names in tasks.items() if name in names), "")
    return "multimodal-lm" if task == "seq2seq-lm" and not config.is_encoder_decoder else task


def _work(subject: Subject, config: str) -> _Work:
    """A config's first rows (of its training split), and the model that is to learn them."""
    from datasets import Features
    from pyarrow import parquet

    splits = subject.read("dataset", DatasetRows).configs[config]
    split = "train" if "train" in splits else next(iter(splits))
    file = shards(subject.folder / "dataset", config, split)[0]
    rows = first_rows(file, LOOKED)
    there = Columns(Features.from_arrow_schema(parquet.read_schema(file)), rows)
    return _Work(
        subject=subject,
        facts=Facts(subject.exact),
        columns=there,
        task=_task(subject.model),
        rows=[there.sample(row) for row in rows],
    )


@dataclass(frozen=True, kw_only=True)
class _Work:
    """What the rules look at: what forward takes, the rows and their columns, the class's task."""

    subject: Subject
    facts: Facts
    columns: Columns
    task: str
    rows: Sequence[Sample]

    def some(self, fits: Callable[[Sample], bool]) -> list[Sample]:
        """The first rows that have what is needed."""
        return [row for row in self.rows if fits(row)][:MOST]

    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The bundle's, with a token to pad with: scripts take the last one of a text for it."""
        made = self.subject.load_tokenizer()
        if made.pad_token is None:
            made.pad_token = made.eos_token or made.convert_ids_to_tokens(0)
        return made

    @property
    def cut(self) -> dict[str, int | bool]:
        """How texts are cut: to what the tokenizer lets through."""
        length = min(TOKENS, self.subject.tokenizer.model_max_length)
        return {"truncation": True, "max_length": int(length)}

    def taken(self, batch: Mapping[str, torch.Tensor | None]) -> Batch:
        """What forward takes of a batch, in its dtype; checked against the embedding's rows. A
        decoder's start where nothing is learned."""
        model, rows = self.facts.model, self.subject.rows
        given = {
            name: value
            for name, value in batch.items()
            if name in self.facts.takes and value is not None
        }
        if not is_learned(given):
            count = next(len(value) for value in given.values() if hasattr(value, "shape"))
            given = samples.complete(model, given, self.subject.batch, count)
        if rows is not None and "input_ids" in given:
            most = int(given["input_ids"].max())
            if most >= rows:
                raise Unfit(
                    f"the tokenizer gives id {most}, the embedding has {rows} rows",
                    f"ids 0 to {rows - 1}",
                )
        return features.cast(model, given)


# --- texts ----------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Coded:
    """Rows as a tokenizer codes them, and the collator that makes one batch of them."""

    rows: Sequence[Mapping[str, Any]]
    collate: Callable[[Sequence[Mapping[str, Any]]], BatchEncoding]
    inputs: tuple[str, ...] = ("text",)
    note: str = ""


Code: TypeAlias = "Callable[[_Work, PreTrainedTokenizerBase, list[Sample]], _Coded]"


def _texts(work: _Work) -> Batches | None:
    """Rows of text, through the tokenizer and the collator of the class's task."""
    tokenizer, rows = work.tokenizer(), work.some(lambda row: bool(row.text))
    code: Code = _classified
    if work.task == "token-classification" and work.columns.tags:
        code, rows = _tagged, work.some(lambda row: 0 < len(row.words) == len(row.tags))
    elif work.task == "seq2seq-lm":
        code = _translated
    elif work.task in LANGUAGE:
        code = _continued
    elif work.task == "masked-lm":
        code = _masked
    scored = work.task == "sequence-classification" and work.facts.config.num_labels == 1
    good, bad = _sides(work, rows, scored) if scored or code in ANSWERING else (rows, [])
    if scored and bad:
        code = _scored
    made = [code(work, tokenizer, side) for side in (good, bad)]
    sides = [_collated(work, coded) for coded in made]
    if not any(sides):
        return None
    paired = work.columns.layout is not None and work.columns.layout.worse
    first = made[0] if sides[0] else made[1]
    return Batches(
        parts=sides[0],
        worse=sides[1],
        scored=code is _scored,
        rows=len(first.rows) if paired else sum(len(coded.rows) for coded in made),
        inputs=first.inputs if not bad else (*first.inputs, "worse", "wanted"),
        note=first.note,
        pad=tokenizer.pad_token_id,
    )


def _sides(work: _Work, rows: list[Sample], scored: bool) -> tuple[list[Sample], list[Sample]]:
    """Rows whose answers are to become likelier, and those that are to become less likely."""
    bad = [row.worse for row in rows if row.worse is not None and row.worse.text]
    if scored and not bad:
        return rows, []
    bad += [row for row in rows if row.wanted is False]
    return [row for row in rows if row.wanted is not False], bad


def _collated(work: _Work, coded: _Coded) -> tuple[Batch, ...]:
    if not coded.rows:
        return ()
    batch = dict(coded.collate(coded.rows))
    if "labels" in batch and batch["labels"].is_floating_point():
        batch["labels"] = batch["labels"].to(work.facts.model.dtype)
    return (work.taken(batch),)


def _translated(work: _Work, tokenizer: PreTrainedTokenizerBase, rows: list[Sample]) -> _Coded:
    """The second text of a row from its first, the answer from its prompt."""
    import transformers as hf

    paired = all(row.pair is not None for row in rows)
    pairs = [row.pair if row.pair and paired else (row.text, row.text) for row in rows]
    return _Coded(
        rows=[dict(tokenizer(one, text_target=other, **work.cut)) for one, other in pairs],
        collate=hf.DataCollatorForSeq2Seq(tokenizer, model=work.facts.model),
        inputs=("text", "target") if paired else ("text",),
        note="" if paired else "the rows have one text: it is its own target",
    )


def _continued(work: _Work, tokenizer: PreTrainedTokenizerBase, rows: list[Sample]) -> _Coded:
    """Each token from those before it: of an answer, of a chat, or of a text."""
    import transformers as hf

    answers = work.columns.layout is not None
    joined = any(row.messages for row in rows) and not tokenizer.chat_template
    note = UNTOLD if joined else ""
    if answers:
        coded = [_answered(tokenizer, row, work.cut["max_length"]) for row in rows]
        learned = [one for one in coded if {*one["labels"][1:]} > {labels.IGNORED}]
        return _Coded(rows=learned, collate=hf.DataCollatorForSeq2Seq(tokenizer), note=note)
    coded = [_said(tokenizer, row, work.cut) for row in rows]
    return _Coded(
        rows=[one for one in coded if len(one["input_ids"]) > 1],  # of one, none is the next
        collate=hf.DataCollatorForLanguageModeling(tokenizer, mlm=False),
        note=note,
    )


def _said(
    tokenizer: PreTrainedTokenizerBase, row: Sample, cut: Mapping[str, int | bool]
) -> dict[str, list[int]]:
    """A row's ids: of its messages as the chat template writes them, or of its text."""
    if row.messages and tokenizer.chat_template:
        text = _written(tokenizer, row, row.messages)
        return dict(tokenizer(text, add_special_tokens=False, **cut))
    return dict(tokenizer(row.text, **cut))


def _written(tokenizer: PreTrainedTokenizerBase, row: Sample, said: Chat, **more: bool) -> str:
    """Messages as the chat template writes them."""
    tools = [*row.tools] or None
    return str(
        tokenizer.apply_chat_template(layouts.flat(said), tools=tools, tokenize=False, **more)
    )


def _answered(tokenizer: PreTrainedTokenizerBase, row: Sample, length: int) -> dict[str, list[int]]:
    """A prompt and its answer, of which the answer is learned.

    Of a long row the end of the prompt and the beginning of the answer stay, half the room for it.
    """
    given, whole = layouts.text(row.prompt), row.text
    chat = row.messages if tokenizer.chat_template else ()
    if chat:
        asked = row.messages[: len(row.prompt)]
        whole = _written(tokenizer, row, chat)
        given = _written(tokenizer, row, asked, add_generation_prompt=True) if asked else ""
    ids = tokenizer(whole, add_special_tokens=not chat)["input_ids"]
    begun = tokenizer(given, add_special_tokens=not chat)["input_ids"] if given else []
    start = len([*takewhile(lambda pair: pair[0] == pair[1], zip(ids, begun, strict=False))])
    answer = ids[start:][: max(length - start, length // 2)]
    prompt = ids[max(0, start + len(answer) - length) : start]
    return {"input_ids": prompt + answer, "labels": [labels.IGNORED] * len(prompt) + answer}


def _scored(work: _Work, tokenizer: PreTrainedTokenizerBase, rows: list[Sample]) -> _Coded:
    """A score for a prompt with its answer."""
    import transformers as hf

    coded = [_answered(tokenizer, row, work.cut["max_length"]) for row in rows]
    return _Coded(
        rows=[{"input_ids": one["input_ids"]} for one in coded if one["input_ids"]],
        collate=hf.DataCollatorWithPadding(tokenizer),
    )


def _masked(work: _Work, tokenizer: PreTrainedTokenizerBase, rows: list[Sample]) -> _Coded:
    """Tokens that are masked, from the others."""
    import transformers as hf

    coded = [dict(tokenizer(row.text, return_special_tokens_mask=True, **work.cut)) for row in rows]
    collate = hf.DataCollatorForLanguageModeling(
        tokenizer, mlm_probability=MASKED, seed=work.subject.seed
    )
    return _Coded(rows=[one for one in coded if 0 in one["special_tokens_mask"]], collate=collate)


def _classified(work: _Work, tokenizer: PreTrainedTokenizerBase, rows: list[Sample]) -> _Coded:
    """The class of a text, where it is what the model's class learns."""
    import transformers as hf

    rows, given, note = _classes(work, rows)
    coded = [dict(tokenizer(row.text, **work.cut)) for row in rows]
    collate = hf.DataCollatorWithPadding(tokenizer)
    if given is None:
        return _Coded(rows=coded, collate=collate, note=note)
    coded = [{**one, "labels": label} for one, label in zip(coded, given, strict=True)]
    return _Coded(rows=coded, collate=collate, inputs=("text", "label"), note=note)


def _tagged(work: _Work, tokenizer: PreTrainedTokenizerBase, rows: list[Sample]) -> _Coded:
    """Words with a class each: it is that of a word's first token, the others are not learned."""
    import transformers as hf

    _enough(work, work.columns.tag_classes)
    coded = []
    for row in rows:
        ids: list[int] = []
        tags: list[int] = []
        for word, tag in zip(row.words, row.tags, strict=True):
            own = tokenizer(f" {word}" if ids else word, add_special_tokens=False)["input_ids"]
            ids += own
            first = labels.IGNORED if tag is None else tag
            tags += [first, *[labels.IGNORED] * (len(own) - 1)][: len(own)]
        length = work.cut["max_length"]
        coded.append({"input_ids": ids[:length], "labels": tags[:length]})
    collate = hf.DataCollatorForTokenClassification(tokenizer)
    return _Coded(rows=coded, collate=collate, inputs=("words", "tags"))


ANSWERING: tuple[Code, ...] = (_translated, _continued)  # what learns answers, and unlearns others


# --- classes --------------------------------------------------------------------------------------


def _classes(
    work: _Work, rows: list[Sample]
) -> tuple[list[Sample], list[int] | list[float] | list[list[float]] | None, str]:
    """The rows that have a label, and their labels, as the class's loss takes them; of other
    tasks, and without labels, all rows, None and why."""
    if work.task not in CLASSES:
        return rows, None, f"{SQUARE}: {UNKNOWN}"
    labelled = work.some(lambda row: row.label is not None and row in rows)
    if not work.columns.labels or not labelled:
        return rows, None, f"{SQUARE}: the rows have no labels"
    _enough(work, work.columns.classes)
    count = work.facts.config.num_labels
    values = [float(row.label or 0) for row in labelled]
    if count == 1:
        return labelled, values, ""
    if any(value % 1 for value in values):
        return rows, None, f"{SQUARE}: the labels are not classes"
    numbers = [int(value) for value in values]
    if min(numbers) < 0:
        raise Unfit(f"labels below 0: {min(numbers)}", f"labels 0 to {count - 1}")
    _enough(work, max(numbers) + 1)
    if work.facts.config.problem_type == "multi_label_classification":
        return labelled, [[float(n == number) for n in range(count)] for number in numbers], ""
    return labelled, numbers, ""


def _enough(work: _Work, classes: int | None) -> None:
    """Raises Unfit where the rows have more classes than the model."""
    count = work.facts.config.num_labels
    if classes is not None and classes > count and count > 1:
        raise Unfit(
            f"labels of {classes} classes, the model has {count}",
            f"at least {classes} classes",
            f"model: {{config: {{num_labels: {classes}}}}}",
        )


# --- images and sounds ----------------------------------------------------------------------------


def _sensed(work: _Work, sense: str) -> Batches | None:
    """Images or sounds through their part of the processor, with classes or texts to learn."""
    subject, model = work.subject, work.facts.model
    loaded, why = parts.load(subject.folder, whole="tokenizer" in subject.facts)
    part = next(
        (p for name in samples.ATTRIBUTES[sense] if (p := getattr(loaded, name, None))), None
    )
    if part is None:
        if why:
            raise NotTried(why)
        return None
    media = work.some(lambda row: bool(row.media(sense)))
    rows, given, note = _classes(work, media)
    spoken = work.task == "ctc" or "decoder_input_ids" in work.facts.takes
    if spoken and "tokenizer" in subject.facts and any(row.text for row in media):
        rows, given, note = [row for row in media if row.text], None, ""
    elif work.task == "ctc":
        spoken, note = False, f"{note} (texts and a tokenizer)"
    else:
        spoken = False
    if not rows:
        return None
    first = [_decoded(work, loaded, sense, row.media(sense)[0]) for row in rows]
    if sense == "image":
        batch = dict(part(first, return_tensors="pt"))
    else:
        batch = dict(_heard(part, first, samples.sampling_rate(loaded)))
    inputs = [sense]
    if spoken:
        batch["labels"] = _spoken(work, rows)
        inputs.append("text")
    elif given is not None:
        import torch

        values = torch.tensor(given)
        batch["labels"] = values.to(model.dtype) if values.is_floating_point() else values
        inputs.append("label")
    return Batches(parts=(work.taken(batch),), rows=len(rows), inputs=tuple(inputs), note=note)


def _spoken(work: _Work, rows: Sequence[Sample]) -> torch.Tensor:
    """Texts as labels, without padding; for CTC few tokens: fewer than a sound has frames."""
    cut = work.cut
    if work.task == "ctc":
        cut["max_length"] = min(cut["max_length"], labels.CTC)
    coded = work.tokenizer()([row.text for row in rows], padding=True, return_tensors="pt", **cut)
    return coded["input_ids"].masked_fill(coded["attention_mask"] == 0, labels.IGNORED)


def _mixed(work: _Work, sense: str, placed: bool) -> Batches | None:
    """Texts with images or sounds through the whole processor: one row after the other where they
    have placeholders in the text (processors differ in how they want several), else together."""
    loaded, why = parts.load(work.subject.folder, whole=True)
    if loaded is None or not hasattr(loaded, "tokenizer"):
        raise NotTried(why)
    if loaded.tokenizer.pad_token is None:
        loaded.tokenizer.pad_token = work.tokenizer().pad_token
    rows = work.some(lambda row: bool(row.text) and bool(row.media(sense)))
    if not rows:
        return None
    good, bad = _sides(work, rows, False) if placed and work.task in LANGUAGE else (rows, [])
    if placed:
        made, worse = ([_row(work, loaded, sense, row) for row in side] for side in (good, bad))
    else:
        media = [_decoded(work, loaded, sense, row.media(sense)[0]) for row in rows]
        given = {"text": [row.text for row in rows], samples.SAMPLES[sense]: media}
        text = {"padding": True, **work.cut}
        made, worse = [samples.asked(loaded, {}, [given], given, text_kwargs=text)], []
    taught, untaught = (tuple(_taught(work, one) for one in side) for side in (made, worse))
    note = "" if is_learned((*taught, *untaught)[0]) else f"{SQUARE}: {UNKNOWN}"
    if placed and any(row.messages for row in rows) and not _template(loaded):
        note = note or UNTOLD
    inputs = ("text", sense, *(("worse", "wanted") if bad else ()))
    return Batches(parts=taught, worse=untaught, rows=len(rows), inputs=inputs, note=note)


def _template(loaded: ProcessorMixin) -> str:
    """The chat template of a processor; "" where it has none."""
    return getattr(loaded, "chat_template", None) or ""


def _row(
    work: _Work, loaded: ProcessorMixin, sense: str, row: Sample
) -> Mapping[str, torch.Tensor]:
    """One row through a processor whose texts have placeholders."""
    token = samples.mark(loaded, sense)
    number = samples.placeholder_id(work.facts.config, sense)
    ids = {sense: number} if token and number is not None else {}
    mark = samples.between(work.facts.config, loaded, sense, token)
    own = row.media(sense)
    marked, plain = list[str](), list[str]()
    for piece in row.shortened(CHARACTERS):
        if isinstance(piece, str):
            marked.append(piece)
            plain.append(piece)
        elif any(piece is value for value in own):
            marked.append(mark)
    media = {samples.SAMPLES[sense]: [_decoded(work, loaded, sense, value) for value in own]}
    if row.messages and _template(loaded):
        said = layouts.shortened(row.messages, CHARACTERS)
        text = loaded.apply_chat_template(said, tools=[*row.tools] or None, tokenize=False)
        given = {"text": [text], **media}
        return samples.asked(loaded, ids, (given,), given)
    with_marks = {"text": ["".join(marked)], **media}
    without = {"text": [" ".join(plain)], **media}
    attempts = (without, with_marks) if ids else (with_marks, without)
    return samples.asked(loaded, ids, attempts, with_marks)


def _taught(work: _Work, batch: Mapping[str, torch.Tensor]) -> Batch:
    """A processor's output with what is learned of it: the texts' own tokens, or which text
    belongs to which image."""
    given: dict[str, Any] = {name: value for name, value in batch.items() if name != "labels"}
    if "return_loss" in work.facts.takes:
        given["return_loss"] = True
    elif work.task in LANGUAGE and "labels" in work.facts.takes:
        rows = work.subject.rows or int(given["input_ids"].max()) + 1
        learned = labels.of_text(work.facts, given["input_ids"], rows)
        if "attention_mask" in given:
            learned = learned.masked_fill(given["attention_mask"] == 0, labels.IGNORED)
        given["labels"] = learned
    return work.taken(given)


def _decoded(
    work: _Work, loaded: ProcessorMixin, sense: str, value: Media
) -> Image | NDArray[numpy.float32]:
    """An image in the mode that training scripts give it, colours, unless the model has one
    channel; the first seconds of a sound, as many samples a second as the processor takes."""
    if sense == "image":
        grey = getattr(work.facts.config, "num_channels", 3) == 1
        return columns.image(value).convert("L" if grey else "RGB")
    import soxr

    rate = samples.sampling_rate(loaded)
    waves, own = columns.sound(value)
    waves = waves[: SECONDS * own]
    return waves if own == rate else soxr.resample(waves, own, rate)


def _heard(
    extractor: FeatureExtractionMixin, sounds: Sequence[object], rate: int
) -> Mapping[str, torch.Tensor]:
    """Sounds through a feature extractor, padded to the longest where it does not pad by itself."""
    pads = inspect.signature(extractor.__call__).parameters.get("padding")
    more = {"padding": True} if pads is not None and not pads.default else {}
    made: Mapping[str, torch.Tensor] = extractor(
        sounds, sampling_rate=rate, return_tensors="pt", **more
    )
    return made
