"""The tokenizer stage: a method's tokenizer, its files, and what a model must know of it."""

from __future__ import annotations

import json
from typing import Any

from tinybuild.files import pretty
from tinybuild.tokenizer import METHODS, upstream, vocabulary
from tinybuild.tokenizer.loading import load
from tinybuild.tokenizer.work import Made, Source, Work
from tinybuild.workers import Job

# Keys of tokenizer_config.json that tell how the tokenizer was loaded, not what it is.
TRANSIENT = (
    *("is_local", "local_files_only", "name_or_path", "files_loaded"),
    *("special_tokens_map_file", "tokenizer_file"),
)


def keep(work: Work) -> Made:
    """method: keep. The source's tokenizer as it is."""
    return Made(loaded=work.origin.loaded)


def make(job: Job) -> dict[str, Any]:
    """The tokenizer stage.

    Settings: tokenizer (the recipe's section), slot (whose fetched folder to use, or none), blank
    (whether the source's ids mean nothing), related (whether config and tokenizer share a source).
    Inputs: fetch, dataset. Facts: class; method; vocab_size; rows of the embedding it wants; ids,
    what a model must know; shrunk, what truncate and corpus kept; bytes of the files. Raises Fault.
    """
    section, slot = job.settings["tokenizer"], job.settings["slot"]
    method = METHODS[section["method"]]
    folder, source = job.inputs["fetch"] / slot if slot else job.out, None
    if method.source:
        files = upstream.read(folder)
        loaded = load(folder, section.get("class"), job.settings["kind"])
        source = Source(loaded=loaded, files=files)
    work = Work(section=section, source=source, folder=folder, inputs=job.inputs, out=job.out)
    made: Made = method.function(work)
    if made.shrunk is None:
        made.loaded.save_pretrained(job.out)
    config = job.out / "tokenizer_config.json"
    data = json.loads(config.read_text())
    config.write_text(pretty({k: v for k, v in data.items() if k not in TRANSIENT}))
    related = job.settings["related"] and not job.settings["blank"]
    known = vocabulary.facts(
        made.loaded, source.loaded if source and related else None, folder, section
    )
    return {
        "class": type(made.loaded).__name__,
        "method": section["method"],
        "vocab_size": len(made.loaded),
        "rows": known["sizes"]["vocab_size"],
        "ids": known,
        "shrunk": made.shrunk,
        "bytes": sum(path.stat().st_size for path in job.out.rglob("*") if path.is_file()),
    }
