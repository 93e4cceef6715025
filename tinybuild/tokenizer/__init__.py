"""A smaller tokenizer: the tokenizer stage, and its table of methods."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tinybuild.files import pretty
from tinybuild.tokenizer import upstream, vocabulary
from tinybuild.tokenizer.loading import load
from tinybuild.tokenizer.scratch import scratch
from tinybuild.tokenizer.shrink import shrink
from tinybuild.tokenizer.train import train
from tinybuild.workers import Job

Method = Callable[
    [Mapping[str, Any], Any, Mapping[str, Path], Path], tuple[Any, dict[str, Any] | None]
]

# Keys of tokenizer_config.json that tell how the tokenizer was loaded, not what it is.
TRANSIENT = (
    *("is_local", "local_files_only", "name_or_path", "files_loaded"),
    *("special_tokens_map_file", "tokenizer_file"),
)


def keep(settings: Mapping[str, Any], source: Any, inputs: Any) -> Any:
    """method: keep. The source's tokenizer as it is."""
    return source


def _saved(make: Callable[[Mapping[str, Any], Any, Any], Any]) -> Method:
    """A method that gives a tokenizer, as one that leaves its files in a folder."""

    def method(
        settings: Mapping[str, Any], source: Any, inputs: Mapping[str, Path], out: Path
    ) -> tuple[Any, None]:
        made = make(settings, source, inputs)
        made.save_pretrained(out)
        return made, None

    return method


# (settings, source, input folders, folder to write) -> the tokenizer, and facts for the card.
METHODS: dict[str, Method] = {
    "keep": _saved(keep),
    "truncate": shrink,
    "corpus": shrink,
    "train": _saved(train),
    "scratch": _saved(scratch),
}


def make(job: Job) -> dict[str, Any]:
    """The tokenizer stage.

    Settings: tokenizer (the recipe's section), slot (whose fetched folder to use, or none), blank
    (whether the source's ids mean nothing), related (whether config and tokenizer share a source).
    Inputs: fetch, dataset. Facts: class; method; vocab_size; rows of the embedding it wants; ids,
    what a model must know; shrunk, what truncate and corpus kept; bytes of the files. Raises Fault.
    """
    section, slot = job.settings["tokenizer"], job.settings["slot"]
    folder = job.inputs["fetch"] / slot if slot else job.out
    settings, source = {**section, "folder": folder}, None
    if section["method"] != "scratch":
        settings["files"] = upstream.read(folder)
        source = load(folder, section.get("class"), job.settings["kind"])
    made, shrunk = METHODS[section["method"]](settings, source, job.inputs, job.out)
    config = job.out / "tokenizer_config.json"
    data = json.loads(config.read_text())
    config.write_text(pretty({k: v for k, v in data.items() if k not in TRANSIENT}))
    related = source if job.settings["related"] and not job.settings["blank"] else None
    known = vocabulary.facts(made, related, folder, section)
    return {
        "class": type(made).__name__,
        "method": section["method"],
        "vocab_size": len(made),
        "rows": known["sizes"]["vocab_size"],
        "ids": known,
        "shrunk": shrunk,
        "bytes": sum(path.stat().st_size for path in job.out.rglob("*") if path.is_file()),
    }
