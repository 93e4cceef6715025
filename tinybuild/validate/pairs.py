"""Check of a dataset with a model: the recipe's own rows train it, as a training script would."""

from __future__ import annotations

import contextlib
import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tinybuild.config import heads
from tinybuild.facts import DatasetRows
from tinybuild.feeding.inputs import labels, modalities
from tinybuild.feeding.inputs.contents import contents
from tinybuild.feeding.inputs.facts import Facts
from tinybuild.feeding.processor import features, parts
from tinybuild.keys import PROCESSORS
from tinybuild.validate import alive, columns, processor
from tinybuild.validate.check import Result, check, listed
from tinybuild.validate.columns import Columns, Sample
from tinybuild.validate.dataset import shards
from tinybuild.validate.subject import NotTried, Subject

MOST = 8  # rows of a step
LOOKED = 32  # rows among which they are looked for: some lack a text, an image or a label
TOKENS = 32  # of a text at most
SECONDS = 2  # of a sound at most
CHARACTERS = 100  # of a text beside images and sounds, whose placeholders may not be cut off
MASKED = 0.5  # part of the tokens that is masked; of 15 % of a short row there may be none
RATE = 1e-3  # of the step; Adam moves each number that has a gradient by about that much
LANGUAGE = ("causal-lm", "image-text-to-text", "multimodal-lm")  # tasks: the next token is learned
CLASSES = ("sequence-classification", "image-classification", "audio-classification")
SQUARE = "the outputs' mean square is learned"
UNKNOWN = "the rows have nothing that is known to be what the class learns"
WANTED = "a finite loss, finite gradients, changed parameters"


@dataclass(frozen=True, kw_only=True)
class Batches:
    """What a step is made from.

    parts: the arguments of forward, given one after the other; their gradients add up. rows: how
    many rows that is, of which `kinds` went in (text, image, audio, label ...). pad: the id that
    the tokenizer pads with, which a classifier of the last token wants to be told by its config.
    """

    parts: tuple[Mapping[str, Any], ...]
    rows: int
    kinds: tuple[str, ...]
    note: str = ""
    pad: int | None = None


class Unfit(Exception):
    """The rows and the model do not belong together: what was measured, what was wanted, a hint."""


@check("model", "dataset")
def rows_train(subject: Subject) -> Result | None:
    """The first rows go through tokenizer or processor and collator into one step of Adam.

    Texts are cut as training scripts do: to the tokenizer's model_max_length and to the positions
    that the config has (and to TOKENS). What is learned follows the class's task: the next token,
    masked tokens, the second text, the classes of the rows; the outputs' mean square where the rows
    have nothing to learn for it, which the note says. The rows are of the first config that has
    what the model reads (`default` first). None where none has, or where there is no tokenizer or
    processor to make it of them.
    """
    try:
        names = sorted(
            subject.read("dataset", DatasetRows).configs, key=lambda name: name != "default"
        )
        made = next((made for name in names if (made := _batches(subject, name))), None)
    except Unfit as fault:
        measured, wanted, hint = fault.args
        return Result.of(False, measured=measured, wanted=wanted, values={}, note=hint)
    return None if made is None else _step(subject, made)


def _step(subject: Subject, made: Batches) -> Result:
    """Gradients of all parts, one step, and what it changed; the model is as before afterwards."""
    import torch

    model, losses, unlearned = subject.exact, list[float](), False
    config = heads.text_part(model.config)
    with alive.kept(model), _padding(config, made.pad):
        for part in made.parts:
            found = alive.outputs(model, part, subject.seed)
            unlearned = unlearned or (_learned(part) and "loss" not in found)
            loss = alive.minimised(found)
            (loss / len(made.parts)).backward()
            losses.append(loss.item())
        named = {name: p for name, p in model.named_parameters() if p.requires_grad}
        given = {name: p for name, p in named.items() if p.grad is not None}
        bad = [name for name, p in given.items() if not p.grad.isfinite().all()]
        before = {name: p.detach().clone() for name, p in named.items()}
        torch.optim.Adam(given.values(), lr=RATE).step()
        changed = [name for name, p in named.items() if not torch.equal(p, before[name])]
        after = [name for name in changed if not named[name].isfinite().all()]
    loss = sum(losses) / len(losses)
    finite = abs(loss) < float("inf")  # false for NaN, too
    noun = "row" if made.rows == 1 else "rows"
    told = f"{made.rows} {noun} of {', '.join(made.kinds)}: loss {loss:.4g}"
    if unlearned:
        told += ", which is not the class's own"
    told += f", {len(changed)} of {len(named)} parameters changed"
    if bad or after:
        told += f", not finite: {listed(bad or after)}"
    return Result.of(
        finite and not bad and not after and bool(changed) and not unlearned,
        measured=told,
        wanted=WANTED,
        values={
            "loss": loss,
            "rows": made.rows,
            "parameters": len(named),
            "changed": len(changed),
            "not_finite": len(bad or after),
        },
        note=made.note,
    )


@contextlib.contextmanager
def _padding(config: Any, pad: int | None) -> Iterator[None]:
    """A config that says which token pads, as scripts set it where the model's own does not."""
    before = getattr(config, "pad_token_id", None)
    if before is None:
        config.pad_token_id = pad
    try:
        yield
    finally:
        config.pad_token_id = before


def _learned(part: Mapping[str, Any]) -> bool:
    return "labels" in part or "return_loss" in part


# --- what of the rows the model takes -------------------------------------------------------------


def _batches(subject: Subject, config: str) -> Batches | None:
    """A config's rows as the model takes them; None where they do not fit. Raises Unfit,
    NotTried."""
    model = subject.exact
    facts = Facts(model)
    there, rows = _rows(subject, config)
    takes = {kind for kind in modalities(model) if kind != "video" or kind in there.kinds}
    placed = any(
        processor.placeholder_id(model.config, kind) is not None for kind in processor.KINDS
    )
    reads = "input_ids" in facts.takes
    if reads and "tokenizer" not in subject.facts:
        return None
    if not reads:
        takes -= {"text"}  # which it is taught, if anything
    if not takes or not ({"text"} if placed and reads else takes) <= {*there.kinds}:
        return None
    media = tuple(kind for kind in ("image", "audio") if kind in takes and kind in there.kinds)
    note = ""
    if media and not any((subject.folder / name).is_file() for name in PROCESSORS):
        if not placed or not reads:
            return None
        media, note = (), f"there is no processor for {', '.join(media)}: text alone"
    elif not media and placed and reads:
        other = " or ".join(kind for kind in processor.KINDS if kind in takes)
        note = f"the rows have no {other}: text alone" if other else ""
    work = _Work(subject=subject, facts=facts, there=there, task=_task(subject), rows=rows)
    if not reads:
        made = _sensed(work, media[0])
    elif media:
        made = _mixed(work, media, placed)
    else:
        made = _texts(work)
    if made is None or (not (placed and reads) and _lacks(subject, made.parts[0])):
        return None
    return replace(made, note=made.note or note)


def _lacks(subject: Subject, part: Mapping[str, Any]) -> list[str]:
    """What the model is given by rule and no row has: boxes of words, a series, many choices."""
    needed = contents(subject.batch)
    begun = {"decoder_input_ids", "decoder_inputs_embeds"}
    return [
        name
        for name in needed
        if name not in begun
        and "label" not in name
        and (name not in part or part[name].dim() != subject.batch[name].dim())
    ]


def _rows(subject: Subject, config: str) -> tuple[Columns, list[Sample]]:
    """The columns of a config's rows, and the first of them (of its training split)."""
    from datasets import Features
    from pyarrow import parquet

    splits = subject.read("dataset", DatasetRows).configs[config]
    split = "train" if "train" in splits else next(iter(splits))
    file = shards(subject.folder / "dataset", config, split)[0]
    with parquet.ParquetFile(file) as opened:
        there = Columns(Features.from_arrow_schema(opened.schema_arrow))
        batch = next(opened.iter_batches(LOOKED), None)
    return there, [there.sample(row) for row in ([] if batch is None else batch.to_pylist())]


def _task(subject: Subject) -> str:
    """The first of heads.TASKS that the model's class is for; "" for one without a head. (Some
    language models that hear are listed as seq2seq-lm, and have no encoder of text.)"""
    name, config = type(subject.model).__name__, subject.model.config
    tasks = heads.of_type(config.model_type)
    found = next((task for task, names in tasks.items() if name in names), "")
    return "multimodal-lm" if found == "seq2seq-lm" and not config.is_encoder_decoder else found


# --- into tensors ---------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Work:
    """What the rules look at: what forward takes, the rows' columns, the class's task."""

    subject: Subject
    facts: Facts
    there: Columns
    task: str
    rows: Sequence[Sample]

    def some(self, fits: Callable[[Sample], bool]) -> list[Sample]:
        """The first rows that have what is needed."""
        return [row for row in self.rows if fits(row)][:MOST]

    def tokenizer(self) -> Any:
        """The bundle's, with a token to pad with: scripts take the last one of a text for it."""
        made = self.subject.load_tokenizer(self.subject.folder)
        if made.pad_token is None:
            made.pad_token = made.eos_token or made.convert_ids_to_tokens(0)
        return made

    @property
    def cut(self) -> dict[str, Any]:
        """How texts are cut: to the tokenizer's length and the model's positions."""
        length = min(TOKENS, self.subject.tokenizer.model_max_length, *_positions(self.facts))
        return {"truncation": True, "max_length": int(length)}

    def taken(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """What forward takes of a batch, in its dtype; checked against the embedding's rows. A
        decoder's start where nothing is learned."""
        model = self.facts.model
        found = {name: batch[name] for name in batch if name in self.facts.takes}
        found = {name: value for name, value in found.items() if value is not None}
        if not _learned(found):
            count = next(len(value) for value in found.values() if hasattr(value, "shape"))
            found = processor.complete(model, found, self.subject.batch, count)
        ids, rows = found.get("input_ids"), self.subject.rows
        if ids is not None and rows is not None and int(ids.max()) >= rows:
            raise Unfit(
                f"the tokenizer gives id {int(ids.max())}, the embedding has {rows} rows",
                f"ids 0 to {rows - 1}",
                "",
            )
        return features.cast(model, found)


POSITIONS = re.compile(r"max_\w*position_embeddings|max_\w*positions|n_positions|n_ctx|max_seq_len")


def _positions(facts: Facts) -> Iterator[int]:
    """How long a text may be, as far as the config says and the embeddings of positions allow:
    those with a row for padding count from the next one on (RoBERTa's)."""
    for name, value in heads.text_part(facts.config).to_dict().items():
        if POSITIONS.fullmatch(name) and isinstance(value, int) and value > 0:
            yield value
    for name, module in facts.modules("Embedding"):
        if "position" in name and module.padding_idx is not None:
            yield module.num_embeddings - module.padding_idx - 1


def _texts(work: _Work) -> Batches | None:
    """Rows of text, through the tokenizer and the collator of the class's task."""
    import transformers as hf

    tokenizer, task, cut = work.tokenizer(), work.task, work.cut
    if task == "token-classification" and work.there.tags:
        return _words(work, tokenizer)
    rows = work.some(lambda row: bool(row.text))
    note, kinds = "", ["text"]
    target = [row.pair is not None for row in rows]
    if task == "seq2seq-lm":
        if rows and all(target):
            source, aim = zip(*(row.pair or ("", "") for row in rows), strict=True)
            kinds = ["text", "target"]
        else:
            source = aim = tuple(row.text for row in rows)
            note = "the rows have one text: it is its own target"
        coded = [
            dict(tokenizer(one, text_target=other, **cut))
            for one, other in zip(source, aim, strict=True)
        ]
        collate: Any = hf.DataCollatorForSeq2Seq(tokenizer, model=work.facts.model)
    elif task in LANGUAGE:
        coded = [_said(tokenizer, row, cut) for row in rows]
        coded = [one for one in coded if len(one["input_ids"]) > 1]  # of one, none is the next
        if work.there.messages:
            kinds = ["messages"]
            note = "" if tokenizer.chat_template else "there is no chat template: texts, joined"
        collate = hf.DataCollatorForLanguageModeling(tokenizer, mlm=False)
    elif task == "masked-lm":
        coded = [dict(tokenizer(row.text, return_special_tokens_mask=True, **cut)) for row in rows]
        coded = [one for one in coded if 0 in one["special_tokens_mask"]]
        collate = hf.DataCollatorForLanguageModeling(
            tokenizer, mlm_probability=MASKED, seed=work.subject.seed
        )
    else:
        rows, given, note = _classes(work, rows)
        coded = [dict(tokenizer(row.text, **cut)) for row in rows]
        collate = hf.DataCollatorWithPadding(tokenizer)
        if given is not None:
            coded = [{**one, "labels": label} for one, label in zip(coded, given, strict=True)]
            kinds.append("label")
    if not coded:
        return None
    batch = dict(collate(coded))
    if "labels" in batch and batch["labels"].is_floating_point():
        batch["labels"] = batch["labels"].to(work.facts.model.dtype)
    return Batches(
        parts=(work.taken(batch),),
        rows=len(coded),
        kinds=tuple(kinds),
        note=note,
        pad=tokenizer.pad_token_id,
    )


def _said(tokenizer: Any, row: Sample, cut: Mapping[str, Any]) -> dict[str, Any]:
    """A row's ids: of its messages as the chat template writes them, or of its text."""
    if row.messages and tokenizer.chat_template:
        text = tokenizer.apply_chat_template([*row.messages], tokenize=False)
        return dict(tokenizer(text, add_special_tokens=False, **cut))
    return dict(tokenizer(row.text, **cut))


def _words(work: _Work, tokenizer: Any) -> Batches | None:
    """Words with a class each: it is that of a word's first token, the others are not learned."""
    import transformers as hf

    _enough(work, work.there.tag_classes)
    coded = []
    for row in work.some(lambda row: 0 < len(row.words) == len(row.tags)):
        ids: list[int] = []
        tags: list[int] = []
        for word, tag in zip(row.words, row.tags, strict=True):
            own = tokenizer(f" {word}" if ids else word, add_special_tokens=False)["input_ids"]
            ids += own
            first = labels.IGNORED if tag is None else tag
            tags += [first, *[labels.IGNORED] * (len(own) - 1)][: len(own)]
        length = work.cut["max_length"]
        coded.append({"input_ids": ids[:length], "labels": tags[:length]})
    if not coded:
        return None
    batch = dict(hf.DataCollatorForTokenClassification(tokenizer)(coded))
    return Batches(parts=(work.taken(batch),), rows=len(coded), kinds=("words", "tags"))


def _classes(work: _Work, rows: list[Sample]) -> tuple[list[Sample], list[Any] | None, str]:
    """The rows that have a label, and their labels, as the class's loss takes them; of other
    tasks, and without labels, all rows, None and why."""
    if work.task not in CLASSES:
        return rows, None, f"{SQUARE}: {UNKNOWN}"
    labelled = work.some(lambda row: row.label is not None and row in rows)
    if not work.there.labels or not labelled:
        return rows, None, f"{SQUARE}: the rows have no labels"
    _enough(work, work.there.classes)
    config = work.facts.config
    count = config.num_labels
    if count == 1:
        return labelled, [float(row.label or 0) for row in labelled], ""
    if any(float(row.label or 0) % 1 for row in labelled):
        return rows, None, f"{SQUARE}: the labels are no classes"
    numbers = [int(row.label or 0) for row in labelled]
    if min(numbers) < 0:
        raise Unfit(f"labels below 0: {min(numbers)}", f"labels 0 to {count - 1}", "")
    _enough(work, max(numbers) + 1)
    if config.problem_type == "multi_label_classification":
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


def _sensed(work: _Work, kind: str) -> Batches | None:
    """Images or sounds through their part of the processor, with classes or texts to learn."""
    subject, model = work.subject, work.facts.model
    loaded, why = parts.load(subject.folder, whole="tokenizer" in subject.facts)
    part = next(
        (p for name in processor.ATTRIBUTES[kind] if (p := getattr(loaded, name, None))), None
    )
    if part is None:
        if why:
            raise NotTried(why)
        return None
    media = work.some(lambda row: bool(row.images if kind == "image" else row.sounds))
    rows, given, note = _classes(work, media)
    text = "tokenizer" in subject.facts and (
        work.task == "ctc" or "decoder_input_ids" in work.facts.takes
    )
    text = text and any(row.text for row in media)
    if not text and work.task == "ctc":
        note += " (texts and a tokenizer)"
    if text:
        rows, note = [row for row in media if row.text], ""
    if not rows:
        return None
    if kind == "image":
        batch = dict(part([_image(model, row) for row in rows], return_tensors="pt"))
    else:
        rate = processor.sampling_rate(loaded)
        batch = dict(_heard(part, [_sound(row, rate) for row in rows], rate))
    kinds = [kind]
    if text:
        batch["labels"] = _spoken(work, rows)
        kinds.append("text")
    elif given is not None:
        import torch

        values = torch.tensor(given)
        batch["labels"] = values.to(model.dtype) if values.is_floating_point() else values
        kinds.append("label")
    return Batches(parts=(work.taken(batch),), rows=len(rows), kinds=tuple(kinds), note=note)


def _spoken(work: _Work, rows: Sequence[Sample]) -> Any:
    """Texts as labels, without padding; for CTC few tokens: fewer than a sound has frames."""
    cut = work.cut
    if work.task == "ctc":
        cut["max_length"] = min(cut["max_length"], labels.CTC)
    coded = work.tokenizer()([row.text for row in rows], padding=True, return_tensors="pt", **cut)
    return coded["input_ids"].masked_fill(coded["attention_mask"] == 0, labels.IGNORED)


def _mixed(work: _Work, media: tuple[str, ...], placed: bool) -> Batches | None:
    """Texts with images or sounds through the whole processor: one row after the other where they
    have placeholders in the text (processors differ in how they want several), else together."""
    subject, model = work.subject, work.facts.model
    loaded, why = parts.load(subject.folder, whole=True)
    if loaded is None or not hasattr(loaded, "tokenizer"):
        raise NotTried(why)
    if loaded.tokenizer.pad_token is None:
        loaded.tokenizer.pad_token = work.tokenizer().pad_token
    kinds = media[:1]
    rows = work.some(
        lambda row: bool(row.text) and bool(row.images if kinds == ("image",) else row.sounds)
    )
    if not rows:
        return None
    if not placed:
        samples = {
            processor.SAMPLES[kind]: [_medium(work, loaded, kind, row) for row in rows]
            for kind in kinds
        }
        given = {"text": [row.text for row in rows], **samples}
        text = {"padding": True, **work.cut}
        batch = processor.asked(loaded, {}, [given], given, text_kwargs=text)
        found = [_taught(work, batch)]
        return Batches(
            parts=tuple(found), rows=len(rows), kinds=("text", *kinds), note=_missing(found[0])
        )
    ids = {
        kind: number
        for kind in kinds
        if (number := processor.placeholder_id(model.config, kind)) is not None
        and processor.mark(loaded, kind)
    }
    found = [_taught(work, _row(work, loaded, kinds[0], ids, row)) for row in rows]
    return Batches(
        parts=tuple(found), rows=len(rows), kinds=("text", *kinds), note=_missing(found[0])
    )


def _missing(part: Mapping[str, Any]) -> str:
    return "" if _learned(part) else f"{SQUARE}: {UNKNOWN}"


def _row(
    work: _Work, loaded: Any, kind: str, ids: Mapping[str, int], row: Sample
) -> dict[str, Any]:
    """One row through a processor whose texts have placeholders."""
    token = processor.mark(loaded, kind)
    mark = processor.between(work.facts.config, loaded, kind, token)
    own, left = row.images if kind == "image" else row.sounds, CHARACTERS
    marked, plain = [], []
    for piece in row.pieces:
        if isinstance(piece, str):
            marked.append(piece[:left])
            plain.append(piece[:left])
            left -= len(piece[:left])
        elif any(piece is value for value in own):
            marked.append(mark)
    if kind == "image":
        media = [_rgb(work.facts.model, value) for value in row.images]
    else:
        media = [_resampled(value, processor.sampling_rate(loaded)) for value in row.sounds]
    samples = {processor.SAMPLES[kind]: media}
    with_marks = {"text": ["".join(marked)], **samples}
    without = {"text": [" ".join(plain)], **samples}
    attempts = (without, with_marks) if ids else (with_marks, without)
    return processor.asked(loaded, ids, attempts, with_marks)


def _taught(work: _Work, batch: Mapping[str, Any]) -> dict[str, Any]:
    """A processor's output with what is learned of it: the texts' own tokens, or which text
    belongs to which image."""
    found = dict(batch)
    found.pop("labels", None)
    if "return_loss" in work.facts.takes:
        found["return_loss"] = True
    elif work.task in LANGUAGE and "labels" in work.facts.takes:
        rows = work.subject.rows or int(found["input_ids"].max()) + 1
        learned = labels.of_text(work.facts, found["input_ids"], rows)
        if "attention_mask" in found:
            learned = learned.masked_fill(found["attention_mask"] == 0, labels.IGNORED)
        found["labels"] = learned
    return work.taken(found)


def _medium(work: _Work, loaded: Any, kind: str, row: Sample) -> Any:
    if kind == "image":
        return _image(work.facts.model, row)
    return _sound(row, processor.sampling_rate(loaded))


def _image(model: Any, row: Sample) -> Any:
    return _rgb(model, row.images[0])


def _rgb(model: Any, value: Mapping[str, Any]) -> Any:
    """An image in the mode that training scripts give it, colours, unless the model has one
    channel."""
    grey = getattr(model.config, "num_channels", 3) == 1
    return columns.image(value).convert("L" if grey else "RGB")


def _sound(row: Sample, rate: int) -> Any:
    return _resampled(row.sounds[0], rate)


def _resampled(value: Mapping[str, Any], rate: int) -> Any:
    """The first seconds of a sound, as many samples a second as the processor takes."""
    import soxr

    samples, own = columns.sound(value)
    samples = samples[: SECONDS * own]
    return samples if own == rate else soxr.resample(samples, own, rate)


def _heard(extractor: Any, sounds: list[Any], rate: int) -> Mapping[str, Any]:
    """Sounds through a feature extractor, padded to the longest where it does not pad by itself."""
    pads = inspect.signature(extractor.__call__).parameters.get("padding")
    more = {"padding": True} if pads is not None and not pads.default else {}
    made: Mapping[str, Any] = extractor(sounds, sampling_rate=rate, return_tensors="pt", **more)
    return made
