"""A smaller tokenizer: the tokenizer stage, and its table of methods."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tinybuild.errors import BuildFault, Fault, did_you_mean
from tinybuild.files import pretty
from tinybuild.tokenizer import ids
from tinybuild.tokenizer.scratch import scratch
from tinybuild.tokenizer.train import train
from tinybuild.workers import Job

# Keys of tokenizer_config.json that tell how the tokenizer was loaded, not what it is.
TRANSIENT = ("is_local", "local_files_only", "name_or_path", "files_loaded")


def keep(settings: Mapping[str, Any], source: Any, texts: Any) -> Any:
    """method: keep. The source's tokenizer as it is."""
    return source


METHODS: dict[str, Callable[[Mapping[str, Any], Any, Any], Any]] = {
    "keep": keep,
    "train": train,
    "scratch": scratch,
}


def make(job: Job) -> dict[str, Any]:
    """The tokenizer stage.

    Settings: tokenizer (the recipe's section), slot (whose fetched folder to use, or none), blank
    (whether the source's ids mean nothing), related (whether config and tokenizer share a source).
    Inputs: fetch, dataset. Facts: class; method; vocab_size; ids, what a model must know.
    Raises Fault.
    """
    section, slot = job.settings["tokenizer"], job.settings["slot"]
    folder = job.inputs["fetch"] / slot if slot else job.out
    source = None
    if section["method"] != "scratch":
        source = load(folder, section.get("class"), job.settings["kind"])
    made = METHODS[section["method"]]({**section, "folder": folder}, source, job.inputs)
    made.save_pretrained(job.out)
    config = job.out / "tokenizer_config.json"
    data = json.loads(config.read_text())
    config.write_text(pretty({k: v for k, v in data.items() if k not in TRANSIENT}))
    related = source if job.settings["related"] and not job.settings["blank"] else None
    return {
        "class": type(made).__name__,
        "method": section["method"],
        "vocab_size": len(made),
        "ids": ids.facts(made, related, folder, section["method"]),
    }


def load(folder: Path, name: str | None, kind: str) -> Any:
    """The tokenizer of a fetched folder, of class `name` or the one the folder names."""
    import transformers

    files = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if set(files) <= {"config.json", "generation_config.json"}:
        what, hint = "the source has no tokenizer", "give tokenizer.source another one"
        if kind == "transformers":
            what = "this model type has no blank tokenizer of its own"
            hint = "take another family's: tokenizer: {source: {transformers: gpt2}, ...}"
        raise BuildFault.of(what, key=("tokenizer",), hint=hint)
    loader: Any = transformers.AutoTokenizer
    if name is not None:
        loader = tokenizer_class(name)
    try:
        return loader.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError, ImportError, AttributeError) as error:
        raise _unloadable(error, folder, files, name) from None
    except Exception as error:
        if type(error).__module__ == "builtins":  # tokenizers raises bare Exception for bad files
            raise _unloadable(error, folder, files, name) from None
        raise


def _unloadable(error: Exception, folder: Path, files: list[str], name: str | None) -> Fault:
    lines = [line for line in str(error).splitlines() if line.strip()]
    # A single line says what is wrong; many are a lecture on how transformers looks for files.
    told = f": {lines[0].replace(f'{folder}/', '')}" if len(lines) == 1 else ""
    hint = f"the source holds {', '.join(files)}"
    if name is None:
        hint += "; name the class if they do not: tokenizer.class"
    return BuildFault.of(
        f"transformers cannot load the source's tokenizer{told}",
        key=("tokenizer",),
        hint=hint,
    )


def tokenizer_class(name: str) -> Any:
    """The tokenizer class of transformers with that name; raises BuildFault."""
    import transformers
    from transformers import PreTrainedTokenizerBase

    found = getattr(transformers, name, None)
    if not isinstance(found, type) or not issubclass(found, PreTrainedTokenizerBase):
        known = [n for n in dir(transformers) if n.endswith(("Tokenizer", "TokenizerFast"))]
        raise BuildFault.of(
            f"transformers has no tokenizer class {name}",
            key=("tokenizer", "class"),
            hint=did_you_mean(name, known) if len(name) > 3 else "",
        )
    return found
