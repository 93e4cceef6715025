"""A process that only reads bundles: what it finds was on disk, not in the builder's memory.

The process that validates a model may be the one that built it: what the build left in memory (a
buffer that is not saved, a class's registry or default that was changed) would go unseen there.
So the process beside each worker is its reader: it never builds a model, never imports what builds
them, and is told nothing but a folder, a class and a batch. It was forked from a process that has
imported torch and transformers and nothing else, so a model costs about what loading it costs. What
earlier models left behind in it came from `from_pretrained` alone, as in any user's process.

What is asked and answered is JSON data; tensors travel as safetensors files.
"""

from __future__ import annotations

import contextlib
import hashlib
import resource
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from tinybuild import wire
from tinybuild.config import heads
from tinybuild.errors import BuildFault, Fault, first_line
from tinybuild.feeding import inputs
from tinybuild.paths import Data, Json
from tinybuild.portable.arithmetic import of_dtype, products
from tinybuild.validate import client, vectors
from tinybuild.workers import Limits, beside, out_of_memory

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

# What a loading report may name.
KEYS = ("missing_keys", "unexpected_keys", "mismatched_keys")


@dataclass(frozen=True, kw_only=True)
class Question:
    """The folder of a bundle, its class and model type. scratch: an empty folder, or none yet: what
    a port is held to is left there."""

    folder: str
    class_: str
    model_type: str
    seed: int
    scratch: str


@dataclass(frozen=True, kw_only=True)
class Batches:
    """What a model is given. first, second: the same arguments with other contents. alone: modality
    -> a batch that holds it, where the first cannot."""

    first: Mapping[str, object]
    second: Mapping[str, object]
    alone: Mapping[str, Mapping[str, object]]


@dataclass(frozen=True, kw_only=True)
class Went:
    """Greedy continuations of two batches. parts: of how many there are tokens and logits. refused:
    what the class raised; lacking: the package that it wants."""

    parts: int
    refused: str = ""
    lacking: str = ""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a plain reader finds. weights: name -> digest. tied: names that share memory. loss: of
    the first batch, the same on every machine. used: what became of what a client does."""

    weights: Mapping[str, str]
    tied: tuple[tuple[str, ...], ...]
    missing_keys: tuple[str, ...]
    unexpected_keys: tuple[str, ...]
    mismatched_keys: tuple[str, ...]
    loss: float
    went: Went
    used: client.Used


@dataclass(frozen=True)
class Found:
    """An answer with its tensors: the floating-point outputs of the first batch, and the new tokens
    and logits of each continuation."""

    answer: Answer
    outputs: Mapping[str, Tensor]
    continued: tuple[tuple[Tensor, Tensor], ...]


def ask(question: Question, batches: Batches) -> Found:
    """Load a bundle in the other process and run batches: what was found. Raises BuildFault, also
    with what the other process raised."""
    from safetensors.torch import load_file

    scratch = Path(question.scratch)
    scratch.mkdir(exist_ok=True)
    shape = pack(vars(batches), scratch / "batches.safetensors")
    answer = wire.load(Answer, call(f"{__name__}:read", (wire.dump(question), shape)))
    outputs = load_file(scratch / "outputs.safetensors")
    went = load_file(scratch / "continued.safetensors")
    parts = tuple((went[f"{n}/new"], went[f"{n}/logits"]) for n in range(answer.went.parts))
    return Found(answer, outputs, parts)


def call(function: str, argument: object) -> object:
    """Call "module:name" in the other process, within the recipe's memory."""
    memory, _ = resource.getrlimit(resource.RLIMIT_DATA)  # it changes with each recipe
    return beside().call(function, argument, Limits(seconds=None, memory=memory))


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


def digests(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Name -> digest of dtype, shape and bytes of every tensor."""
    import torch

    weights = {}
    for name, tensor in tensors.items():
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


def read(asked: tuple[Data, Json]) -> Answer:
    """What the other process does. Raises BuildFault for a bundle that does not load or run."""
    question = wire.load(Question, asked[0])
    with told(question.folder):
        return _read(question, asked[1])


@contextlib.contextmanager
def told(folder: str) -> Iterator[None]:
    """What a library raises of a bundle is a BuildFault, without the bundle's place."""
    try:
        yield
    except (Fault, MemoryError):
        raise
    except Exception as error:
        if out_of_memory(error):
            raise
        said = f"{type(error).__name__}: {first_line(error)}"
        raise BuildFault.of(said.replace(folder, "the bundle")) from None


def _exact(model: PreTrainedModel, kind: type[PreTrainedModel], folder: str) -> PreTrainedModel:
    """The model in float32: some CPUs take eighty times as long with bfloat16. Loaded once more
    where it holds numbers that its class computed in the dtype of its weights, which no cast makes
    finer: buffers, and tensors that are neither parameter nor buffer (Mimi's)."""
    import torch

    kept = (value for module in model.modules() for value in vars(module).values())
    tables = [value for value in (*kept, *model.buffers()) if isinstance(value, torch.Tensor)]
    if any(table.is_floating_point() and table.dtype != torch.float32 for table in tables):
        model = kind.from_pretrained(folder, dtype=torch.float32).eval()
    return model.float()


def _read(question: Question, shape: Json) -> Answer:
    import torch
    from safetensors.torch import load_file

    scratch = Path(question.scratch)
    kind = heads.find(question.class_, question.model_type)
    assert kind is not None
    model, info = kind.from_pretrained(question.folder, dtype="auto", output_loading_info=True)
    model.eval()
    batches = Batches(**cast(Any, unpack(shape, load_file(scratch / "batches.safetensors"))))
    seed = question.seed
    outputs = _plain(model, batches.first, seed)
    save(outputs, scratch / "outputs.safetensors")
    report = {name: tuple(sorted(str(key) for key in info.get(name) or ())) for name in KEYS}
    weights, ties = digests(model.state_dict()), tied(model)
    given = {"forward": batches.first, **batches.alone}
    given = {name: vectors.repeated(batch) for name, batch in given.items()}
    given = {name: of_dtype(batch, torch.float32) for name, batch in given.items()}
    exact = _exact(model, kind, question.folder)
    made = {name: vectors.forward(exact, batch, seed) for name, batch in given.items()}
    coarse = {name: vectors.rounded(exact, batch, seed) for name, batch in given.items()}
    went = inputs.continued(
        exact, [given["forward"], of_dtype(batches.second, torch.float32)], seed
    )
    kept = vectors.Vectors(question.class_, seed)
    for name, one in made.items():
        kept.add(name, exact, one, coarse[name], went if name == "forward" else None)
    kept.save(scratch)
    parts = {f"{n}/new": part[0] for n, part in enumerate(went.parts)}
    parts |= {f"{n}/logits": part[1] for n, part in enumerate(went.parts)}
    save(parts, scratch / "continued.safetensors")
    used = client.used(
        client.Client(
            folder=Path(question.folder),
            model=exact,
            seed=question.seed,
            learns="loss" in outputs,
            batch=batches.first,
        )
    )
    loss = made["forward"].outputs.get("loss")
    return Answer(
        weights=weights,
        tied=ties,
        loss=0.0 if loss is None else float(loss.float().mean()),
        went=_went(went),
        used=used,
        **report,
    )


def _plain(model: PreTrainedModel, batch: Mapping[str, Any], seed: int) -> dict[str, Tensor]:
    import torch

    with torch.no_grad(), products(model.dtype):
        torch.manual_seed(seed)
        return inputs.tensors(model(**batch))


def save(tensors: Mapping[str, Tensor], path: Path) -> None:
    from safetensors.torch import save_file

    save_file({name: tensor.clone().contiguous() for name, tensor in tensors.items()}, path)


def _went(made: inputs.Continued) -> Went:
    if made.error is None:
        return Went(parts=len(made.parts))
    first = first_line(made.error)
    if isinstance(made.error, ImportError):
        return Went(parts=0, lacking=first)
    return Went(parts=0, refused=f"{type(made.error).__name__}: {first}")
