"""A process that only reads bundles: what it finds was on disk, not in the builder's memory.

The process that validates a model may be the one that built it: what the build left in memory (a
buffer that is not saved, a class's registry or default that was changed) would go unseen there.
So each worker keeps one reader: an interpreter of its own, started the first time it is needed,
that never builds a model, never imports what builds them, and is told nothing but a folder, a class
and a batch. Importing torch and transformers costs it about 5 s once; a model then costs about what
loading it costs. What earlier models left behind in it came from `from_pretrained` alone, as in any
user's process.

Both sides speak JSON lines; tensors travel as safetensors files. The reader ends when its worker
does, for then nobody holds the other end of its standard input.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tinybuild import network
from tinybuild.config import heads
from tinybuild.errors import BuildFault

# What a loading report may name.
KEYS = ("missing_keys", "unexpected_keys", "mismatched_keys")


class Reader:
    """The worker's end: one question at a time, answered in order."""

    def __init__(self) -> None:
        root = str(Path(__file__).parents[2])
        paths = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
        self.process = subprocess.Popen(
            [sys.executable, "-c", "from tinybuild.validate.reader import serve; serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": paths},
            text=True,
            encoding="utf-8",
        )

    def ask(
        self,
        folder: Path,
        kind: str,
        model_type: str,
        batch: Mapping[str, Any],
        seed: int,
        scratch: Path,
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Load `folder` as class `kind` of a model type there and run one batch.

        Gives what was found (weights: name -> digest; tied: groups of names that share memory;
        missing, unexpected, mismatched: keys) and the floating-point outputs. `scratch` is an empty
        folder or none yet. Raises BuildFault with what the other process raised.
        """
        from safetensors.torch import load_file

        scratch.mkdir(exist_ok=True)
        shape = pack(batch, scratch / "batch.safetensors")
        question = {
            "folder": str(folder),
            "class": kind,
            "type": model_type,
            "batch": shape,
            "seed": seed,
            "scratch": str(scratch),
        }
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps(question) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            reader.cache_clear()  # the next model gets another one
            code = self.process.wait()
            raise BuildFault.of(f"the process that reads the bundle ended (exit code {code})")
        answer = json.loads(line)
        if "error" in answer:
            raise BuildFault.of(answer["error"].replace(str(folder), "the bundle"))
        return answer, load_file(scratch / "outputs.safetensors")


@functools.cache
def reader() -> Reader:
    """This process's reader."""
    return Reader()


def pack(value: Any, path: Path) -> Any:
    """A batch's shape as JSON data, its tensors in a file; `unpack` puts them together again."""
    import torch
    from safetensors.torch import save_file

    found: dict[str, Any] = {}

    def walk(item: Any) -> Any:
        if isinstance(item, torch.Tensor):
            name = str(len(found))
            found[name] = item.detach().clone().contiguous()
            return {"tensor": name}
        if isinstance(item, Mapping):
            return {"mapping": {key: walk(inner) for key, inner in item.items()}}
        if isinstance(item, list | tuple):
            return {"list": [walk(inner) for inner in item]}
        return {"value": item}

    shape = walk(value)
    save_file(found, path)
    return shape


def unpack(shape: Any, tensors: Mapping[str, Any]) -> Any:
    """The batch that `pack` took apart."""
    ((kind, item),) = shape.items()
    if kind == "tensor":
        return tensors[item]
    if kind == "mapping":
        return {key: unpack(inner, tensors) for key, inner in item.items()}
    if kind == "list":
        return [unpack(inner, tensors) for inner in item]
    return item


def digests(model: Any) -> dict[str, str]:
    """Name -> digest of dtype, shape and bytes of every tensor that a model saves."""
    import torch

    found = {}
    for name, tensor in model.state_dict().items():
        flat = tensor.detach().contiguous().reshape(-1)
        raw = flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""
        head = f"{tensor.dtype} {tuple(tensor.shape)} ".encode()
        found[name] = hashlib.blake2b(head + raw, digest_size=16).hexdigest()
    return found


def tied(model: Any) -> list[list[str]]:
    """Groups of parameter names that are one tensor, sorted."""
    groups: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        groups.setdefault(id(parameter), []).append(name)
    return sorted(sorted(group) for group in groups.values() if len(group) > 1)


def serve() -> None:
    """The reader's life: a question a line, an answer a line, until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the worker's end decides
    network.shut()
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print is no answer
    importlib.import_module("transformers.modeling_utils")  # while the first checks run
    for line in sys.stdin:
        try:
            answer = _read(json.loads(line))
        except Exception as error:  # noqa: BLE001 - a bundle that does not load is the answer
            lines = [text.strip() for text in str(error).splitlines() if text.strip()]
            answer = {"error": f"{type(error).__name__}: {lines[0] if lines else ''}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _read(question: Mapping[str, Any]) -> dict[str, Any]:
    import torch
    from safetensors.torch import load_file, save_file

    from tinybuild.feeding.inputs import tensors

    scratch = Path(question["scratch"])
    kind = heads.find(question["class"], question["type"])
    assert kind is not None
    model, info = kind.from_pretrained(question["folder"], dtype="auto", output_loading_info=True)
    model.eval()
    batch = unpack(question["batch"], load_file(scratch / "batch.safetensors"))
    with torch.no_grad():
        torch.manual_seed(question["seed"])
        found = tensors(model(**batch))
    save_file(
        {name: t.clone().contiguous() for name, t in found.items()}, scratch / "outputs.safetensors"
    )
    return {
        "weights": digests(model),
        "tied": tied(model),
        **{name: sorted(str(key) for key in info.get(name) or ()) for name in KEYS},
    }
