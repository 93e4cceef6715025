"""The files of the weights: several with an index, and pickles beside them."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Sequence

from tinybuild.errors import BuildFault
from tinybuild.facts import Form
from tinybuild.files import pretty
from tinybuild.model.formats.work import Work

WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"


def split(work: Work) -> Iterator[Form]:
    """model.safetensors becomes as many files as the recipe wants, and their index.

    transformers cuts by size, which gives no number of files that could be asked for. The tensors
    stay in the order of their names, with layers by number, so that a layer may lie in two files,
    as those of large models do.
    """
    from safetensors.torch import load_file, save_file

    number, tensors = work.section["shards"], load_file(work.folder / WHOLE)
    names = sorted(tensors, key=_counted)
    if number > len(names):
        raise BuildFault.of(
            f"the model has {len(names)} tensors, which do not fill {number} files",
            key=("model", "shards"),
            hint=f"shards: {len(names)} is the most",
        )
    sizes = [tensors[name].numel() * tensors[name].element_size() for name in names]
    places: dict[str, str] = {}
    ends = [*cut(sizes, number), len(names)]
    for n, (start, end) in enumerate(itertools.pairwise([0, *ends]), 1):
        file = f"model-{n:05}-of-{number:05}.safetensors"
        part = {name: tensors[name] for name in names[start:end]}
        save_file(part, work.folder / file, metadata={"format": "pt"})
        places |= dict.fromkeys(part, file)
    (work.folder / WHOLE).unlink()
    parameters = sum(tensor.numel() for tensor in tensors.values())
    index = {
        "metadata": {"total_parameters": parameters, "total_size": sum(sizes)},
        "weight_map": places,
    }
    (work.folder / INDEX).write_text(pretty(index), encoding="utf-8")
    yield Form(kind="shards", path=INDEX, words=f"the weights lie in {number} files")


def _counted(name: str) -> str:
    """A name as it sorts: layer 2 before layer 10."""
    return re.sub(r"\d+", lambda digits: digits[0].zfill(6), name)


def cut(sizes: Sequence[int], number: int) -> list[int]:
    """The places at which a list is cut into `number` parts of nearly the same size, none empty."""
    places: list[int] = []
    rest, part = sum(sizes), 0
    for n, size in enumerate(sizes, 1):
        part += size
        left = number - len(places) - 1  # cuts to come
        if left and (part * (left + 1) >= rest or len(sizes) - n == left):
            places.append(n)
            rest, part = rest - part, 0
    return places


def pickled(work: Work) -> Iterator[Form]:
    """The same tensors in pytorch_model.bin, or in as many such files as there are others. Nobody
    of this house but the check of it ever reads one."""
    import torch
    from safetensors.torch import load_file

    if work.section["format"] != "bin":
        return
    for path in sorted(work.folder.glob("model*.safetensors")):
        # Of their own memory: a tensor that is a part of a file's is pickled with all of that.
        tensors = {name: tensor.clone() for name, tensor in sorted(load_file(path).items())}
        torch.save(tensors, work.folder / _bin(path.name))
    index = work.folder / INDEX
    if index.is_file():
        data = json.loads(index.read_text(encoding="utf-8"))
        data["weight_map"] = {name: _bin(file) for name, file in data["weight_map"].items()}
        (work.folder / _bin(INDEX)).write_text(pretty(data), encoding="utf-8")
    yield Form(
        kind="pickle",
        path=_bin(INDEX if index.is_file() else WHOLE),
        words="the same weights as a pickle, which can run code where it is not loaded with care; "
        "transformers takes the safetensors, which are what was checked",
    )


def _bin(name: str) -> str:
    return f"pytorch_{name.replace('.safetensors', '.bin')}"
