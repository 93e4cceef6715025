"""What a schema cannot say: keys and sections that need one another, or exclude one another."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from tinybuild.config import heads
from tinybuild.dataset.parts import AMOUNT, Part, parts
from tinybuild.errors import Finding, did_you_mean
from tinybuild.paths import Data, Json
from tinybuild.recipe.marked import Key, named
from tinybuild.recipe.words import either, missing
from tinybuild.recipe.zoofile import useless
from tinybuild.sections import Dataset, Model, Sections, Tokenizer
from tinybuild.source import KINDS
from tinybuild.tokenizer import chat
from tinybuild.tokenizer.methods import METHODS

MOST_ROWS = 10_000_000  # by number; they are held in memory
_SOURCE = "add source: {transformers: ...}, or another"


def methods(section: Json, source: Json = None) -> Iterator[Finding]:
    """The keys that the method of a tokenizer section needs and does not take; nothing where the
    schema has a finding of its own: no mapping, or no known method. source: the recipe's."""
    if not isinstance(section, Mapping):
        return
    name = section.get("method", unnamed(section, source))
    if name is None and "method" not in section:
        yield Finding(key=("tokenizer",), what="the tokenizer has no source", hint=_SOURCE)
    method = METHODS.get(name) if isinstance(name, str) else None
    if method is None:
        return
    for key in section:
        of = [name for name, other in METHODS.items() if key in other.keys]
        if of and key not in method.keys:
            what = f"tokenizer.{key} is only for method: {either(of)}"
            yield Finding(key=("tokenizer", key), what=what, hint=f"delete {key}")
    for key in method.needs:
        if key not in section:
            yield missing(("tokenizer",), "tokenizer", key)
    yield from _text(section, str(name))


def unnamed(section: Data, source: Json) -> str | None:
    """The method of a tokenizer section that names none: a source without a vocabulary is trained,
    of any other the tokens that text uses are kept. None where there is no source."""
    wish = section.get("source", source)
    if not isinstance(wish, Mapping):
        return None
    return "train" if any(KINDS[kind].blank for kind in KINDS if kind in wish) else "corpus"


def _text(section: Data, name: str) -> Iterator[Finding]:
    """Which words `text` may be beside the method, and beside weighted."""
    method = METHODS[name]
    if "text" not in method.keys:
        return
    key, text = ("tokenizer", "text"), section.get("text")
    if "weighted" in section and "weighted" in method.keys:
        hint = "weighted counts the source's own tokens: write text: vocabulary, or delete weighted"
        if "text" not in section:
            yield Finding(key=key[:1], what="tokenizer has no text", hint=hint)
        elif text != "vocabulary":
            what = f"tokenizer.text must be vocabulary, not {named(text)}"
            yield Finding(key=key, what=what, hint=hint)
    elif isinstance(text, str) and text in {
        word for other in METHODS.values() for word in other.texts
    }.difference(method.texts):
        what = f"tokenizer.text cannot be {text} with method: {name}"
        hint = f"write {either([*method.texts, 'a list of texts'])}"
        yield Finding(key=key, what=what, hint=hint)


def agree(data: Sections) -> Iterator[Finding]:
    """What is wrong with data that is as the schema says, defaults filled in."""
    if not any(section in data for section in ("dataset", "tokenizer", "model")):
        yield Finding(what="nothing to build", hint="add a dataset, a tokenizer or a model section")
    if "model" in data:
        yield from _model(data["model"], data)
    if "tokenizer" in data:
        yield from _tokenizer(data["tokenizer"], data)
    if "dataset" in data:
        yield from _dataset(data["dataset"])
    yield from useless(data)


def _model(model: Model, data: Sections) -> Iterator[Finding]:
    task = model["architecture"]
    if task != heads.AUTO and not task[0].isupper() and task not in heads.TASKS:
        what = f"model.architecture: there is no task {task}"
        yield Finding(key=("model", "architecture"), what=what, hint=heads.meant(task))
    for name in ("sentence_transformer", "gguf"):
        if name in model and "tokenizer" not in data:
            what = f"model.{name} needs a tokenizer"
            yield Finding(key=("model", name), what=what, hint="add a tokenizer section")
    if "source" not in data:
        yield Finding(key=("model",), what="the model has no source", hint=_SOURCE)


def _tokenizer(tokenizer: Tokenizer, data: Sections) -> Iterator[Finding]:
    method = tokenizer["method"]
    if "source" not in tokenizer and "source" not in data:
        if METHODS[method].source:
            yield Finding(key=("tokenizer",), what=f"method: {method} needs a source", hint=_SOURCE)
        elif "class" not in tokenizer:
            what = f"method: {method} needs a class or a source"
            yield Finding(key=("tokenizer",), what=what, hint="add class: ...")
    wish = tokenizer.get("source", data.get("source", {}))
    blank = next((kind for kind in KINDS if kind in wish and KINDS[kind].blank), None)
    if blank and METHODS[method].shrinks:
        what = f"method: {method} keeps tokens of a vocabulary, and a {blank} source has none"
        hint = "write method: train, or give the tokenizer another source"
        yield Finding(key=("tokenizer", "method"), what=what, hint=hint)
    template, known = tokenizer.get("chat_template"), [*chat.shipped(), chat.NONE]
    if isinstance(template, str) and "{" not in template and template not in known:
        what = f"tokenizer.chat_template: there is no template {template}"
        hint = did_you_mean(template, known)
        yield Finding(key=("tokenizer", "chat_template"), what=what, hint=hint)
    if tokenizer.get("text") == "dataset" and "dataset" not in data:
        what = "there is no dataset to learn from"
        hint = "add a dataset section, or write text: plain"
        yield Finding(key=("tokenizer", "text"), what=what, hint=hint)


def _dataset(dataset: Dataset) -> Iterator[Finding]:
    """Each part of a dataset has one way to choose its rows."""
    if "records" in dataset and "source" in dataset:
        what = "dataset.records and dataset.source are both there"
        yield Finding(key=("dataset", "records"), what=what, hint="keep one of them")
    if "expand" in dataset and "configs" in dataset:
        what = "dataset.expand makes configs of its own beside dataset.configs"
        yield Finding(key=("dataset", "expand"), what=what, hint="keep one of them")
    for part in parts(dataset):
        if "rows" in part.wish:
            yield from _numbers(part)
            for key in [key for key in AMOUNT if key in part.wish]:
                path = part.keys[key]
                what = f"{'.'.join(path)} has no meaning beside rows"
                yield Finding(key=path, what=what, hint=f"delete {key}, or rows")
        elif "samples" not in part.wish and "records" not in dataset:
            inside: Key = ("dataset",)
            if part.split:
                inside = part.keys["split"]
            elif "configs" in dataset:
                inside = ("dataset", "configs", part.config)
            yield missing(inside, ".".join(map(str, inside)), "samples")


def _numbers(part: Part) -> Iterator[Finding]:
    """Rows by number: ranges that run forwards, and not too many."""
    key, wanted = part.keys["rows"], 0
    name = ".".join(key)
    for first, last in re.findall(r"(\d+)(?: *- *(\d+))?", str(part.wish["rows"])):
        wanted += int(last or first) - int(first) + 1
        if last and int(first) > int(last):
            what = f"{name}: the range {first}-{last} runs backwards"
            yield Finding(key=key, what=what, hint=f"write {last}-{first}")
            return
    if wanted > MOST_ROWS:
        what = f"{name} asks for {wanted:,} rows; at most {MOST_ROWS:,} are taken by number"
        yield Finding(key=key, what=what, hint="samples takes any number of them")
