"""Checks of the forms that other people's code takes a model in, each by its own loader."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tinybuild import corpus
from tinybuild.errors import PackageFault, require
from tinybuild.paths import Data
from tinybuild.validate import foreign
from tinybuild.validate.check import Result, check, listed
from tinybuild.validate.loaded import TOLERANCE, distance
from tinybuild.validate.reader import digests
from tinybuild.validate.subject import NotTried, Subject

if TYPE_CHECKING:
    from torch import Tensor

NEAR = 1e-3  # outputs within it, of the largest, are alike: an adapter moves them by far more


def _paths(subject: Subject, kind: str) -> list[str]:
    """The forms of a kind that the model stage wrote."""
    return [form.path for form in subject.made.forms if form.kind == kind]


def _loader(what: str, module: str) -> None:
    """Raises NotTried where what loads a format is not installed."""
    try:
        require(what, module)
    except PackageFault as fault:
        finding = fault.findings[0]
        raise NotTried(f"{finding.what} ({finding.hint})") from None


def _tensors(folder: Path) -> dict[str, dict[str, Tensor]]:
    """File -> its tensors, of the safetensors of a bundle."""
    from safetensors.torch import load_file

    return {path.name: load_file(path) for path in sorted(folder.glob("model*.safetensors"))}


@check("model")
def shards(subject: Subject) -> Result | None:
    """The index names for each tensor the file that holds it, and how large all of them are."""
    if not _paths(subject, "shards"):
        return None
    index, there = subject.file("model.safetensors.index.json"), _tensors(subject.folder)
    places = {name: file for file, tensors in there.items() for name in tensors}
    size = sum(t.numel() * t.element_size() for part in there.values() for t in part.values())
    wanted = {f"model-{n:05}-of-{len(there):05}.safetensors" for n in range(1, len(there) + 1)}
    faults = _differing(index, places)
    faults += [f"files are {listed(sorted(there))}"] if there.keys() != wanted else []
    told = index.get("metadata")
    faults += [f"metadata says {told}"] if not _says(told, size) else []
    return Result.of(
        not faults,
        measured="; ".join(faults) or f"{len(places)} tensors in {len(there)} files, {size} bytes",
        wanted="an index that holds, of files numbered from 1",
        values={"files": len(there), "tensors": len(places), "bytes": size, "faults": len(faults)},
    )


def _says(told: object, size: int) -> bool:
    return isinstance(told, Mapping) and told.get("total_size") == size


def _differing(index: Data, places: Mapping[str, str]) -> list[str]:
    """Where an index and the files differ."""
    told = index.get("weight_map")
    if not isinstance(told, Mapping):
        return ["no weight_map"]
    wrong = sorted(n for n in {*told, *places} if told.get(n) != places.get(n))
    return [f"other places for {listed(wrong)}"] if wrong else []


@check("model")
def pickled(subject: Subject) -> Result | None:
    """torch.load reads pytorch_model.bin where it may hold nothing but tensors, and finds the same
    bits as in the safetensors, in as many files."""
    if not _paths(subject, "pickle"):
        return None
    here = {file: digests(tensors) for file, tensors in _tensors(subject.folder).items()}
    twin = {f"pytorch_{name.replace('.safetensors', '.bin')}": one for name, one in here.items()}
    there = foreign.unpickled(subject.folder)
    wrong = sorted(name for name in {*twin, *there} if twin.get(name) != there.get(name))
    tensors = sum(map(len, there.values()))
    return Result.of(
        not wrong,
        measured=f"other tensors in {listed(wrong)}" if wrong else f"{tensors} tensors",
        wanted=f"the {sum(map(len, here.values()))} tensors of {listed(sorted(here))}",
        values={"files": len(there), "tensors": tensors, "wrong_files": len(wrong)},
    )


@check("model")
def adapters(subject: Subject) -> Result | None:
    """PEFT loads each adapter whole; with each the outputs are others than without, and than with
    any other."""
    paths = _paths(subject, "adapter")
    if not paths:
        return None
    _loader("the check", "peft")
    question = subject.question(subject.scratch / "adapters")
    found, said = foreign.adapted(question, subject.exact_batch(0), paths)
    faults = [
        f"{path}: {words} {listed(names)}"
        for path, one in found.items()
        for words, names in (("not taken:", one.unread), ("lacking:", one.lacking))
        if names
    ]
    alike = list(_alike(said, ["", *paths]))
    faults += [f"{one or 'no adapter'} and {other} give the same" for one, other in alike]
    tensors = sum(len(one.taken) for one in found.values())
    return Result.of(
        not faults,
        measured="; ".join(faults) or f"{len(found)} adapters of {tensors} tensors",
        wanted="every tensor taken, and outputs that differ",
        values={"adapters": len(found), "tensors": tensors, "faults": len(faults)},
    )


def _alike(said: Mapping[str, Tensor], paths: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The pairs of adapters with which all outputs are the same."""
    names = {name.partition(":")[2] for name in said}
    for one, other in itertools.combinations(paths, 2):
        if all(distance(said[f"{one}:{n}"], said[f"{other}:{n}"]) <= NEAR for n in names):
            yield one, other


@check("model", "tokenizer")
def sentence_transformer(subject: Subject) -> Result | None:
    """sentence-transformers gives a vector for each text: of the width that is told, pooled as the
    recipe says, and other vectors for other texts."""
    if not _paths(subject, "modules"):
        return None
    _loader("the check", "sentence_transformers")
    wish = subject.wish.sentence_transformer
    texts = list(itertools.islice(corpus.texts("en"), 3))
    said = foreign.embedded(subject.folder, subject.scratch / "sentences", texts)
    vectors, tolerance = said["vectors"], TOLERANCE[subject.made.dtype]
    wanted = [_pooled(said[f"tokens{n}"], wish) for n in range(len(texts))]
    width = json.loads((subject.folder / "1_Pooling" / "config.json").read_text())
    shape = (len(texts), width["word_embedding_dimension"])
    faults = [f"vectors of shape {tuple(vectors.shape)}"] if vectors.shape != shape else []
    if not faults:
        pairs = zip(vectors, wanted, strict=True)
        off = sum(distance(ours, vector) > tolerance for vector, ours in pairs)
        faults += [f"{off} vectors are pooled otherwise"] if off else []
        alike = sum(distance(a, b) <= NEAR for a, b in itertools.combinations(vectors, 2))
        faults += [f"{alike} pairs of texts have one vector"] if alike else []
    return Result.of(
        not faults,
        measured="; ".join(faults) or f"{shape[0]} vectors of {shape[1]} numbers",
        wanted=f"{wish.get('pooling')} pooling, normalize {wish.get('normalize')}",
        values={"vectors": shape[0], "width": shape[1], "faults": len(faults)},
    )


def _pooled(tokens: Tensor, wish: Mapping[str, object]) -> Tensor:
    """One vector of a text's, as the recipe's section says."""
    pooled = {
        "mean": tokens.mean(0),
        "cls": tokens[0],
        "max": tokens.max(0).values,
        "lasttoken": tokens[-1],
    }[str(wish["pooling"])]
    return pooled / pooled.norm() if wish["normalize"] else pooled


@check("model", "tokenizer")
def gguf(subject: Subject) -> Result | None:
    """llama.cpp's package reads model.gguf: finite numbers, a token for each row of the embedding,
    and the embedding's own bits."""
    paths = _paths(subject, "gguf")
    if not paths:
        return None
    _loader("the check", "gguf")
    found = foreign.gguf(subject.folder, paths[0])
    weight = subject.model.get_input_embeddings().weight.detach().float()
    faults = [f"no numbers in {listed(found.wrong)}"] if found.wrong else []
    faults += [f"{found.tokens} tokens"] if found.tokens != subject.rows else []
    own = digests({"rows": weight})["rows"]
    faults += ["another embedding"] if found.rows != own else []
    return Result.of(
        not faults,
        measured="; ".join(faults) or f"{found.architecture}: {found.tensors} tensors",
        wanted=f"{subject.rows} tokens, finite numbers, the embedding",
        values={"tensors": found.tensors, "tokens": found.tokens, "faults": len(faults)},
    )
