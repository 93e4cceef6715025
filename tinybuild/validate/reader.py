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
import resource
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tinybuild import network, wire
from tinybuild.config import heads
from tinybuild.errors import BuildFault
from tinybuild.paths import Json
from tinybuild.workers import bound

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

# What a loading report may name.
KEYS = ("missing_keys", "unexpected_keys", "mismatched_keys")


@dataclass(frozen=True, kw_only=True)
class Question:
    """The folder of a bundle, its class and model type. scratch: an empty folder, or none yet."""

    folder: str
    class_: str
    model_type: str
    seed: int
    scratch: str


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a plain reader finds. weights: name -> digest. tied: names that share memory."""

    weights: Mapping[str, str]
    tied: tuple[tuple[str, ...], ...]
    missing_keys: tuple[str, ...]
    unexpected_keys: tuple[str, ...]
    mismatched_keys: tuple[str, ...]


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
        self, question: Question, batch: Mapping[str, object]
    ) -> tuple[Answer, dict[str, Tensor]]:
        """Load a bundle there and run one batch: what was found, and the floating-point outputs.

        Raises BuildFault with what the other process raised, and MemoryError.
        """
        from safetensors.torch import load_file

        scratch = Path(question.scratch)
        scratch.mkdir(exist_ok=True)
        memory, _ = resource.getrlimit(resource.RLIMIT_DATA)  # of the recipe; it changes with each
        shape = pack(batch, scratch / "batch.safetensors")
        asked = {"question": wire.dump(question), "batch": shape, "memory": memory}
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps(asked) + "\n")
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
            error = str(answer["error"]).replace(question.folder, "the bundle")
            if error.startswith("MemoryError") or "DefaultCPUAllocator" in error:
                raise MemoryError(error)
            raise BuildFault.of(error)
        return wire.load(Answer, answer), load_file(scratch / "outputs.safetensors")


@functools.cache
def reader() -> Reader:
    """This process's reader."""
    return Reader()


def pack(value: object, path: Path) -> Json:
    """A batch's shape as JSON data, its tensors in a file; `unpack` puts them together again."""
    import torch
    from safetensors.torch import save_file

    tensors = dict[str, "Tensor"]()

    def walk(item: object) -> Json:
        if isinstance(item, torch.Tensor):
            name = str(len(tensors))
            tensors[name] = item.detach().clone().contiguous()
            return {"tensor": name}
        if isinstance(item, Mapping):
            return {"mapping": {key: walk(inner) for key, inner in item.items()}}
        if isinstance(item, list | tuple):
            return {"list": [walk(inner) for inner in item]}
        assert item is None or isinstance(item, bool | int | float | str)
        return {"value": item}

    shape = walk(value)
    save_file(tensors, path)
    return shape


def unpack(shape: Json, tensors: Mapping[str, Tensor]) -> object:
    """The batch that `pack` took apart."""
    assert isinstance(shape, Mapping)
    ((sort, item),) = shape.items()
    if sort == "tensor":
        return tensors[str(item)]
    if isinstance(item, Mapping):
        return {key: unpack(inner, tensors) for key, inner in item.items()}
    if isinstance(item, list):
        return [unpack(inner, tensors) for inner in item]
    return item


def digests(model: PreTrainedModel) -> dict[str, str]:
    """Name -> digest of dtype, shape and bytes of every tensor that a model saves."""
    import torch

    weights = {}
    for name, tensor in model.state_dict().items():
        flat = tensor.detach().contiguous().reshape(-1)
        raw = flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""
        head = f"{tensor.dtype} {tuple(tensor.shape)} ".encode()
        weights[name] = hashlib.blake2b(head + raw, digest_size=16).hexdigest()
    return weights


def tied(model: PreTrainedModel) -> tuple[tuple[str, ...], ...]:
    """Groups of parameter names that are one tensor, sorted."""
    groups: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        groups.setdefault(id(parameter), []).append(name)
    return tuple(sorted(tuple(sorted(names)) for names in groups.values() if len(names) > 1))


def serve() -> None:
    """The reader's life: a question a line, an answer a line, until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the worker's end decides
    network.shut()
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print is not an answer
    importlib.import_module("transformers.modeling_utils")  # while the first checks run
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            bound(asked["memory"])
            answer = wire.dump(_read(wire.load(Question, asked["question"]), asked["batch"]))
        except Exception as error:  # noqa: BLE001 - a bundle that does not load is the answer
            lines = [text.strip() for text in str(error).splitlines() if text.strip()]
            answer = {"error": f"{type(error).__name__}: {lines[0] if lines else ''}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _read(question: Question, shape: Json) -> Answer:
    import torch
    from safetensors.torch import load_file, save_file

    from tinybuild.feeding.inputs import tensors

    scratch = Path(question.scratch)
    kind = heads.find(question.class_, question.model_type)
    assert kind is not None
    model, info = kind.from_pretrained(question.folder, dtype="auto", output_loading_info=True)
    model.eval()
    batch = unpack(shape, load_file(scratch / "batch.safetensors"))
    assert isinstance(batch, Mapping)
    with torch.no_grad():
        torch.manual_seed(question.seed)
        outputs = tensors(model(**batch))
    contiguous = {name: tensor.clone().contiguous() for name, tensor in outputs.items()}
    save_file(contiguous, scratch / "outputs.safetensors")
    report = {name: tuple(sorted(str(key) for key in info.get(name) or ())) for name in KEYS}
    return Answer(weights=digests(model), tied=tied(model), **report)
