"""The README.md of a bundle: YAML front matter for the Hub, then text for people."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

import tinybuild
from tinybuild.bundle import DATASET, DRAWING, EXPECTED
from tinybuild.facts import TokenizerShown
from tinybuild.pack.front import front
from tinybuild.pack.told import Changed, Checked, Told
from tinybuild.paths import Json
from tinybuild.progress import count, size

PARTS = {
    "image_processor": "ImageProcessor",
    "video_processor": "VideoProcessor",
    "feature_extractor": "FeatureExtractor",
}

# What loads a form of a model; nothing where the class does.
LOADERS = {
    "shards": "",
    "pickle": "torch.load(..., weights_only=True)",
    "adapter": 'peft.PeftModel.from_pretrained(model, "{bundle}/{path}")',
    "modules": 'sentence_transformers.SentenceTransformer("{bundle}")',
    "gguf": "llama-cli -m {bundle}/{path}",
}
# The same from a repository of the Hub.
THERE = {
    **LOADERS,
    "adapter": 'peft.PeftModel.from_pretrained(model, "{bundle}", subfolder="{path}")',
    "gguf": "llama-cli --hf-repo {bundle} --hf-file {path}",
}


def card(told: Told) -> str:
    forms = "\n".join(_forms(told))
    rows = "\n".join(f"| {name} | {value} |" for name, value in _sizes(told))
    differs = _differs(told.changed)
    parts = [
        front(told),
        f"# {told.name}",
        told.summary,
        _paragraph(told),
        "## Load it\n\n```python\n" + _loading(told) + "\n```",
        *([f"## Other forms\n\n{forms}"] if forms else []),
        "## Made from\n\n" + ("\n".join(_origins(told)) or "Nothing but the recipe."),
        *([f"## Architecture\n\n{_drawing(told)}"] if told.drawn else []),
        f"## Sizes\n\n| | |\n| --- | --- |\n{rows}",
        *([f"## What differs from the source\n\n{differs}"] if differs else []),
        "## Checks\n\n" + _checks(told.checks),
        *([f"## What a port must give\n\n{_expected(told)}"] if told.expected else []),
        f"## Make it again\n\nBuilt by tinybuild {tinybuild.__version__} from this recipe "
        "(`recipe.yaml`; upstream files with their sha256 are in `recipe.lock.json`):\n\n"
        + _fenced(told.recipe),
    ]
    return "\n\n".join(parts) + "\n"


def _paragraph(told: Told) -> str:
    """What it is and what it is not for, in two sentences."""
    model, tokenizer, dataset = told.model, told.tokenizer, told.dataset
    has = [f"a `{model.class_}` with {count(model.parameters)} parameters"] if model else []
    has += [f"a tokenizer with {count(tokenizer.vocab_size)} tokens"] if tokenizer else []
    has += [f"a dataset with {_number(dataset.rows, 'row')}"] if dataset else []
    *most, last = has
    whole = f"{', '.join(most)} and {last}" if most else last
    text = f"{whole[0].upper()}{whole[1:]}, made by tinybuild to test machinery: training loops, "
    text += "parallelism, export, serving."
    if model:
        text += " The weights are random: this is not for what it says."
    return text


def _drawing(told: Told) -> str:
    """The Hub shows pictures that are files beside the card; it takes an SVG out of its text."""
    name = told.model.class_ if told.model else told.name
    return f"![The modules of {name}, layers that are alike drawn once]({DRAWING})"


def _number(number: int, noun: str) -> str:
    return f"{count(number)} {noun}{'s' * (number != 1)}"


MOST = 40  # changes that a card lists; config_changes.json has them all


def _differs(changes: Sequence[Changed]) -> str:
    """The keys of the config that are not as in the source, with the reason of each."""
    rows = [
        f"| {_code(one.key)} | {_code(one.before)} | {_code(one.after)} | {_plain(one.reason)} |"
        for one in changes[:MOST]
    ]
    if not rows:
        return ""
    more = len(changes) - MOST
    rest = f"\n\n{_number(more, 'more change')} in `config_changes.json`." if more > 0 else ""
    return "\n".join(["| key | source | here | why |", "| --- | --- | --- | --- |", *rows]) + rest


LONGEST = 60  # characters of a value in a table


def _code(value: Json) -> str:
    """A value as a cell of a table has it."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = " ".join(text.split())
    text = text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
    ticks = "``" if "`" in text else "`"
    return f"{ticks}{text.replace('|', '¦')}{ticks}" if text else ""


def _plain(text: str) -> str:
    return " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|")


def _checks(checks: Sequence[Checked]) -> str:
    """How many checks passed, and which were not tried and why."""
    untried = [check for check in checks if check.state == "not tried"]
    passed = len(checks) - len(untried)
    text = f"{passed} passed, {len(untried)} not tried" if untried else f"{passed} passed"
    whys = [f"- `{check.name}` was not tried: {check.note}" for check in untried]
    return "\n".join([f"{text}; `report.json` says what each measured.", *whys])


def _expected(told: Told) -> str:
    fetched = 'huggingface_hub.snapshot_download("{}")' if told.places.repo else '"{}"'
    place = fetched.format(told.home)
    lines = [*(["import huggingface_hub"] if told.places.repo else []), "import tinybuild", ""]
    lines += [f"tinybuild.assert_matches_expected(port, {place})"]
    return (
        f"`{EXPECTED}/` holds sample inputs and what this model gives for them. A module, an "
        "export or a function of arrays is held to that, layer by layer:\n\n```python\n"
        + "\n".join(lines)
        + "\n```"
    )


def _fenced(text: str) -> str:
    """A code block whose fence is longer than any in the text."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}yaml\n{text.rstrip()}\n{fence}"


def _origins(told: Told) -> Iterator[str]:
    """A line for each source: what was made from it, in the words of its kind."""
    fed = ["config"] if told.model else []
    if told.tokenizer and not told.given and "tokenizer" not in told.credits:
        fed.append("tokenizer")
    made = {"source": " and ".join(fed), "tokenizer": "tokenizer", "dataset": "dataset"}
    for slot, credit in told.credits.items():
        what = made.get(slot) or slot.partition(".")[2]  # of a part that the config names, its key
        if what:
            yield f"- {what}: {credit['words']}"
    if told.tokenizer and told.given:
        yield "- tokenizer: the vocabulary in the recipe"
    if told.dataset and "dataset" not in told.credits:
        yield "- dataset: the corpus that ships with tinybuild"


def _sizes(told: Told) -> Iterator[tuple[str, str]]:
    model, tokenizer, dataset = told.model, told.tokenizer, told.dataset
    if model:
        yield "class", f"`{model.class_}`"
        yield "parameters", f"{count(model.parameters)} ({model.dtype})"
        if model.tensor_parallel > 1:
            yield "tensor parallel", f"up to {model.tensor_parallel}"
        if model.processor:
            yield "processor", _listed(model.processor)
        if model.without:
            yield "processor without", ", ".join(model.without)
    if tokenizer:
        yield "tokens", f"{count(tokenizer.vocab_size)} (`{tokenizer.class_}`)"
        if tokenizer.rows != tokenizer.vocab_size:
            yield "rows of the embedding", count(tokenizer.rows)
        if tokenizer.unused:
            yield "unused tokens", f"{count(tokenizer.unused)} (the text gave no more)"
        yield from _shrunk(tokenizer)
    if dataset:
        yield "rows", f"{count(dataset.rows)} ({', '.join(name for name, _ in dataset.columns)})"
        if len(dataset.configs) > 1:
            yield "configs", _listed(dataset.configs)
    if told.versions:
        yield "transformers", told.versions
    yield "bytes", size(told.bytes)


def _listed(names: Sequence[str] | Mapping[str, object]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _shrunk(tokenizer: TokenizerShown) -> Iterator[tuple[str, str]]:
    """What became of a vocabulary of which a part was kept; nothing for other methods."""
    shrunk = tokenizer.shrunk
    if shrunk is None:
        return
    yield "kept of the source", f"{count(tokenizer.vocab_size)} of {count(shrunk.source_size)}"
    yield "kept because of", ", ".join(f"{why} {count(n)}" for why, n in shrunk.kept.items())
    if shrunk.trimmed:
        gone = ", ".join(f"`{shape}` {count(n)}" for shape, n in shrunk.trimmed.items())
        yield "no room for", gone
    dead, per = shrunk.unreachable, shrunk.characters_per_token
    yield (
        "tokens that no text gives",
        f"{count(dead.tokens)} (in the source {count(dead.in_source)})",
    )
    yield "characters per token", f"{per.tiny} (source {per.source})"
    yield "coverage of the sample", f"{shrunk.coverage:.1%}"
    for name, what in shrunk.disagreed.items():
        yield f"`{name}`", what.replace("|", "\\|")


def _loading(told: Told) -> str:
    """The code that loads each part from where it is."""
    model, tokenizer, dataset = told.model, told.tokenizer, told.dataset
    loaders = {"model": model.class_} if model else {}
    if tokenizer:
        loaders["tokenizer"] = "AutoTokenizer"
    if model:
        loaders |= _processor(model.processor, tokenizer is not None)
    lines = ["from datasets import load_dataset"] if dataset else []
    if dataset and not told.rows:
        lines.append("from huggingface_hub import snapshot_download")
    if loaders:
        lines.append(f"from transformers import {', '.join(sorted({*loaders.values()}))}")
    lines.append("")
    for part, loader in loaders.items():
        lines.append(f'{part} = {loader}.from_pretrained("{told.home}")')
    if dataset:
        names = list(dataset.configs)
        config = f', "{names[0]}"' if len(names) > 1 else ""
        place = f'"{told.rows}"'
        if not told.rows:
            place = f'snapshot_download("{told.home}") + "/{DATASET}"'
        lines.append(f"dataset = load_dataset({place}{config})")
    return "\n".join(lines)


def _forms(told: Told) -> Iterator[str]:
    """A line for each other form of the model, with the code that loads it."""
    loaders = THERE if told.places.repo else LOADERS
    for form in told.model.forms if told.model else ():
        code = loaders[form.kind].format(bundle=told.home, path=form.path)
        yield f"- `{form.path}`: {form.words}" + (f": `{code}`" if code else "")


def _processor(names: Sequence[str], tokenizer: bool) -> dict[str, str]:
    """{variable: class} that load a processor: whole where there is a tokenizer, else its parts."""
    if tokenizer and any(not name.endswith((*PARTS.values(), "Fast")) for name in names):
        return {"processor": "AutoProcessor"}
    return {
        part: f"Auto{suffix}"
        for part, suffix in PARTS.items()
        if any(name.endswith((suffix, f"{suffix}Fast")) for name in names)
    }
