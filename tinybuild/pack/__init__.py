"""A folder becomes a bundle: the card, the checksums and the archive."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import tinybuild
from tinybuild import bundle
from tinybuild.errors import BuildFault
from tinybuild.files import archive, copy, digest, pretty, tree
from tinybuild.progress import count, size
from tinybuild.workers import Job

PARTS = {
    "image_processor": "ImageProcessor",
    "video_processor": "VideoProcessor",
    "feature_extractor": "FeatureExtractor",
}


def make(job: Job) -> dict[str, Any]:
    """The pack stage: NAME/ (what from_pretrained and load_dataset load) and NAME.tar.gz.

    Settings: name, summary, recipe (the digest of its text), local (slot -> {wish, credit} of a
    source that was read where it is). Inputs: recipe (the file), validate,
    and fetch, dataset, tokenizer and model as far as the recipe has them.
    Facts: bytes (of the folder), tar (sha256 of the uncompressed archive).
    """
    name, facts = job.settings["name"], job.facts
    folder = job.out / name
    folder.mkdir()
    bundle.lay(job.inputs, folder)
    copy(job.inputs["validate"] / "report.json", folder / "report.json")
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    text = job.inputs["recipe"].read_bytes().decode("utf-8-sig")
    if digest(text) != job.settings["recipe"]:
        raise BuildFault.of("the recipe was edited while it was built", hint="run doit again")
    homes = [folder, *([folder / bundle.DATASET] if "dataset" in facts else [])]
    for home in homes:  # a dataset may be taken away by itself
        (home / "recipe.yaml").write_text(text, encoding="utf-8", newline="")
    pins = _pins(job.settings, facts)
    (folder / "recipe.lock.json").write_text(pretty({"version": 1, "pins": pins}), encoding="utf-8")
    content = bundle.size(folder)
    (folder / "README.md").write_text(
        card({**job.settings, "text": text, "checks": report["checks"]}, facts, content),
        encoding="utf-8",
    )
    sums = "".join(f"{entry['sha256']}  {path}\n" for path, entry in tree(folder).items())
    (folder / "SHA256SUMS").write_text(sums, encoding="utf-8")
    tar = archive(folder, job.out / f"{name}.tar.gz", name)
    return {"bytes": bundle.size(folder), "tar": tar}


def _pins(
    settings: Mapping[str, Any], facts: Mapping[str, Mapping[str, Any]]
) -> dict[str, Mapping[str, Any]]:
    """slot -> what it was made from: what was fetched, and what was read where it is."""
    pins = dict(facts.get("fetch", {}).get("pins", {}))
    for slot, local in settings["local"].items():
        pins[slot] = {"wish": local["wish"], "files": facts[slot]["source"]["files"]}
    return pins


def _credits(
    settings: Mapping[str, Any], facts: Mapping[str, Mapping[str, Any]]
) -> dict[str, Mapping[str, str]]:
    """slot -> what its kind of source says of it: words, and the repo of the Hub that it is."""
    found = dict(facts.get("fetch", {}).get("credits", {}))
    return found | {slot: local["credit"] for slot, local in settings["local"].items()}


def card(settings: Mapping[str, Any], facts: Mapping[str, Mapping[str, Any]], content: int) -> str:
    """The README.md of a bundle: YAML front matter for the Hub, then text for people."""
    name, credits = settings["name"], _credits(settings, facts)
    model, tokenizer, dataset = (facts.get(k) for k in ("model", "tokenizer", "dataset"))
    front = ["---"]
    if model or tokenizer:
        front.append("library_name: transformers")
    hub = {slot: credit["repo"] for slot, credit in credits.items() if "repo" in credit}
    bases = sorted({repo for slot, repo in hub.items() if slot != "dataset"})
    if bases:
        front += ["base_model:", *(f"- {base}" for base in bases)]
    if "dataset" in hub:
        front += ["datasets:", f"- {hub['dataset']}"]
    if dataset and not model and not tokenizer and "license" in dataset["source"]["about"]:
        front.append(f"license: {json.dumps(dataset['source']['about']['license'])}")
    front += ["tags:", "- tinybuild", "- tiny", *(["- random-weights"] if model else []), "---"]
    parts = ["\n".join(front), f"# {name}", settings["summary"]]
    if model:
        parts.append("The weights are random: this is for testing machinery, not for what it says.")
    parts.append("## Made from\n\n" + _origins(credits, model, tokenizer, dataset))
    parts.append("## Sizes\n\n" + _sizes(model, tokenizer, dataset, content))
    parts.append("## Load it\n\n```python\n" + _loading(name, model, tokenizer, dataset) + "\n```")
    parts.append("## Checks\n\n" + _checks(settings["checks"]))
    parts.append(
        f"## Make it again\n\nBuilt by tinybuild {tinybuild.__version__} from this recipe "
        "(`recipe.yaml`; upstream files with their sha256 are in `recipe.lock.json`):\n\n"
        + _fenced(settings["text"])
    )
    return "\n\n".join(parts) + "\n"


def _checks(results: Sequence[Mapping[str, Any]]) -> str:
    """How many checks passed, and which were not tried and why; none of a bundle's has failed."""
    untried = [result for result in results if result["state"] == "not tried"]
    passed = len(results) - len(untried)
    text = f"{passed} passed, {len(untried)} not tried" if untried else f"{passed} passed"
    whys = [f"- `{result['name']}` was not tried: {result['note']}" for result in untried]
    return "\n".join([f"{text}; `report.json` says what each measured.", *whys])


def _fenced(text: str) -> str:
    """A code block whose fence is longer than any in the text."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}yaml\n{text.rstrip()}\n{fence}"


def _origins(credits: Mapping[str, Any], model: Any, tokenizer: Any, dataset: Any) -> str:
    lines = []
    scratch = bool(tokenizer) and tokenizer["method"] == "scratch"
    fed = [*(["config"] if model else []), *(["tokenizer"] if tokenizer and not scratch else [])]
    if "tokenizer" in credits and "tokenizer" in fed:
        fed.remove("tokenizer")
    what = {"source": " and ".join(fed), "tokenizer": "tokenizer", "dataset": "dataset"}
    for slot, credit in credits.items():
        if what.get(slot):
            lines.append(f"- {what[slot]}: {credit['words']}")
    if scratch:
        lines.append("- tokenizer: the vocabulary in the recipe")
    if dataset and "dataset" not in credits:
        lines.append("- dataset: the corpus that ships with tinybuild")
    return "\n".join(lines) or "Nothing but the recipe."


def _sizes(model: Any, tokenizer: Any, dataset: Any, content: int) -> str:
    rows = []
    if model:
        rows.append(("class", f"`{model['class']}`"))
        rows.append(("parameters", f"{count(model['parameters'])} ({model['dtype']})"))
        if model["processor"]:
            rows.append(("processor", ", ".join(f"`{name}`" for name in model["processor"])))
    if tokenizer:
        rows.append(("tokens", f"{count(tokenizer['vocab_size'])} (`{tokenizer['class']}`)"))
        rows += _shrunk(tokenizer)
    if dataset:
        columns = ", ".join(name for name, _ in dataset["columns"])
        rows.append(("rows", f"{count(dataset['rows'])} ({columns})"))
        if len(dataset["configs"]) > 1:
            rows.append(("configs", ", ".join(f"`{name}`" for name in dataset["configs"])))
    rows.append(("bytes", size(content)))
    return "| | |\n| --- | --- |\n" + "\n".join(f"| {k} | {v} |" for k, v in rows)


def _shrunk(tokenizer: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What became of a vocabulary of which a part was kept; nothing for other methods."""
    rows, tokens, shrunk = list[tuple[str, str]](), tokenizer["vocab_size"], tokenizer["shrunk"]
    if tokenizer["rows"] != tokens:
        rows.append(("rows of the embedding", count(tokenizer["rows"])))
    if not shrunk:
        return rows
    dead, per = shrunk["unreachable"], shrunk["characters_per_token"]
    rows.append(("kept of the source", f"{count(tokens)} of {count(shrunk['source_size'])}"))
    rows.append(
        ("kept because of", ", ".join(f"{why} {count(n)}" for why, n in shrunk["kept"].items()))
    )
    if shrunk["trimmed"]:
        gone = ", ".join(f"`{shape}` {count(n)}" for shape, n in shrunk["trimmed"].items())
        rows.append(("no room for", gone))
    unreachable = f"{count(dead['tokens'])} (in the source {count(dead['in_source'])})"
    rows.append(("tokens that no text gives", unreachable))
    rows.append(("characters per token", f"{per['tiny']} (source {per['source']})"))
    rows.append(("coverage of the sample", f"{shrunk['coverage']:.1%}"))
    return rows


def _loading(name: str, model: Any, tokenizer: Any, dataset: Any) -> str:
    lines = []
    imports = [model["class"]] if model else []
    imports += ["AutoTokenizer"] if tokenizer else []
    loaders = _loaders(model["processor"], tokenizer) if model else {}
    imports += loaders.values()
    if imports:
        lines.append(f"from transformers import {', '.join(sorted(imports))}")
    if dataset:
        lines.insert(0, "from datasets import load_dataset")
    lines.append("")
    if model:
        lines.append(f'model = {model["class"]}.from_pretrained("dist/{name}")')
    if tokenizer:
        lines.append(f'tokenizer = AutoTokenizer.from_pretrained("dist/{name}")')
    for part, loader in loaders.items():
        lines.append(f'{part} = {loader}.from_pretrained("dist/{name}")')
    if dataset:
        configs = list(dataset["configs"])
        config = f', "{configs[0]}"' if len(configs) > 1 else ""
        lines.append(f'dataset = load_dataset("dist/{name}/dataset"{config})')
    return "\n".join(lines)


def _loaders(names: Sequence[str], tokenizer: Any) -> dict[str, str]:
    """{variable: class} that load a processor: whole where there is a tokenizer, else its parts."""
    found = {
        part: f"Auto{suffix}"
        for part, suffix in PARTS.items()
        if any(name.endswith((suffix, f"{suffix}Fast")) for name in names)
    }
    if tokenizer and any(not name.endswith((*PARTS.values(), "Fast")) for name in names):
        return {"processor": "AutoProcessor"}
    return found
