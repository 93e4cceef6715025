"""What the libraries of other formats read, in the process that only reads bundles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tinybuild import wire
from tinybuild.config import heads
from tinybuild.paths import Data, Json
from tinybuild.validate.reader import Question, call, digests, pack, told, unpack

if TYPE_CHECKING:
    from torch import Tensor

BATCH = "batch.safetensors"
SAID = "said.safetensors"  # what came out, in the scratch folder


def unpickled(folder: Path) -> dict[str, dict[str, str]]:
    """File -> name -> digest of each tensor in the pickles of a bundle, as torch reads them where
    they may hold nothing but tensors."""
    return wire.load(dict[str, dict[str, str]], call(f"{__name__}:unpickle", str(folder)))


def unpickle(folder: str) -> dict[str, dict[str, str]]:
    import torch

    with told(folder):
        return {
            path.name: digests(torch.load(path, map_location="cpu", weights_only=True))
            for path in sorted(Path(folder).glob("pytorch_model*.bin"))
        }


@dataclass(frozen=True, kw_only=True)
class Adapted:
    """What PEFT found in an adapter: tensors that it took, those of the file that it did not take,
    and its own that the file does not have."""

    taken: tuple[str, ...]
    unread: tuple[str, ...]
    lacking: tuple[str, ...]


def adapted(
    question: Question, batch: Mapping[str, object], paths: Sequence[str]
) -> tuple[dict[str, Adapted], dict[str, Tensor]]:
    """What PEFT finds in the adapters at some paths of a bundle, and the outputs with each, by
    PATH:NAME; those without one are :NAME."""
    from safetensors.torch import load_file

    scratch = Path(question.scratch)
    scratch.mkdir(exist_ok=True)
    asked = (wire.dump(question), pack(batch, scratch / BATCH), [*paths])
    found = wire.load(dict[str, Adapted], call(f"{__name__}:adapt", asked))
    return found, load_file(scratch / SAID)


def adapt(asked: tuple[Data, Json, Sequence[str]]) -> dict[str, Adapted]:
    import torch
    from peft import PeftModel, get_peft_model_state_dict
    from safetensors.torch import load_file, save_file

    from tinybuild.feeding.inputs import tensors

    question = wire.load(Question, asked[0])
    scratch = Path(question.scratch)
    batch = unpack(asked[1], load_file(scratch / BATCH))
    kind = heads.find(question.class_, question.model_type)
    assert isinstance(batch, Mapping)
    assert kind is not None
    found: dict[str, Adapted] = {}
    said: dict[str, Tensor] = {}
    with told(question.folder), torch.no_grad():
        for path in ("", *asked[2]):
            # In float32, which hides no small difference.
            model = kind.from_pretrained(question.folder, dtype=torch.float32).float()
            if path:
                home = Path(question.folder, path)
                model = PeftModel.from_pretrained(model, home)
                file = load_file(home / "adapter_model.safetensors")
                own = get_peft_model_state_dict(model, save_embedding_layers=False)
                same = {n for n in own if n in file and own[n].equal(file[n].to(own[n].dtype))}
                found[path] = Adapted(
                    taken=tuple(sorted(same)),
                    unread=tuple(sorted(file.keys() - same)),
                    lacking=tuple(sorted(own.keys() - file.keys())),
                )
            model.eval()
            torch.manual_seed(question.seed)
            outputs = tensors(model(**batch))
            said |= {f"{path}:{name}": o.clone().contiguous() for name, o in outputs.items()}
    save_file(said, scratch / SAID)
    return found


def embedded(folder: Path, scratch: Path, texts: Sequence[str]) -> dict[str, Tensor]:
    """By sentence-transformers: `vectors` of some texts, and the `tokens` of each, by number."""
    from safetensors.torch import load_file

    scratch.mkdir(exist_ok=True)
    call(f"{__name__}:embed", (str(folder), str(scratch), [*texts]))
    return load_file(scratch / SAID)


def embed(asked: tuple[str, str, Sequence[str]]) -> None:
    import torch
    from safetensors.torch import save_file
    from sentence_transformers import SentenceTransformer

    folder, scratch, texts = asked
    with told(folder), torch.no_grad():
        model = SentenceTransformer(folder, device="cpu", local_files_only=True)
        said = {"vectors": model.encode([*texts], batch_size=1, convert_to_tensor=True)}
        for n, text in enumerate(texts):
            said[f"tokens{n}"] = model.encode(text, output_value="token_embeddings")
        kept = {name: tensor.float().clone().contiguous() for name, tensor in said.items()}
    save_file(kept, Path(scratch) / SAID)


@dataclass(frozen=True, kw_only=True)
class Gguf:
    """What a GGUF file holds. tokens: how many. wrong: tensors with what is no number. rows: digest
    of the numbers of token_embd.weight, in float32."""

    architecture: str
    tensors: int
    tokens: int
    wrong: tuple[str, ...]
    rows: str


def gguf(folder: Path, name: str) -> Gguf:
    """What the package of llama.cpp reads in a GGUF file of a bundle."""
    return wire.load(Gguf, call(f"{__name__}:read_gguf", (str(folder), name)))


def read_gguf(asked: tuple[str, str]) -> Gguf:
    import torch
    from gguf import GGUFReader, dequantize

    folder, name = asked
    with told(folder):
        file = GGUFReader(Path(folder, name))
        found = {
            str(t.name): torch.from_numpy(dequantize(t.data, t.tensor_type).copy())
            for t in file.tensors
        }
        return Gguf(
            architecture=str(file.get_field("general.architecture").contents()),
            tensors=len(found),
            tokens=len(file.get_field("tokenizer.ggml.tokens").data),
            wrong=tuple(sorted(n for n, tensor in found.items() if not tensor.isfinite().all())),
            rows=digests({"rows": found["token_embd.weight"].float()})["rows"],
        )
