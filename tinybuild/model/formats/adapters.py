"""LoRA adapters in PEFT's layout: none is identity, and no two are alike."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from tinybuild.config import heads
from tinybuild.errors import BuildFault, did_you_mean
from tinybuild.facts import Form
from tinybuild.files import pretty
from tinybuild.model.formats.work import Work
from tinybuild.portable import chance

if TYPE_CHECKING:
    import torch
    from torch.nn import Module
    from transformers import PreTrainedModel

FOLDER = "adapters"  # in a bundle: a folder of it for each adapter
RANK, SCALE = 4, 2  # alpha is twice the rank, so that a loader that forgets it is seen
# Where experts are fused, PEFT takes these names for parts of them, dense layers' own included.
EXPERTS = ("gate_proj", "up_proj", "down_proj")
# PEFT's words for tasks, whose models it wraps in classes of their own, and the ends of the names
# of a head's modules, whose weights such a class wants in each adapter.
TASKS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "causal-lm": ("CAUSAL_LM", ()),
    "seq2seq-lm": ("SEQ_2_SEQ_LM", ()),
    "sequence-classification": ("SEQ_CLS", ("classifier", "score")),
    "token-classification": ("TOKEN_CLS", ("classifier", "score")),
    "question-answering": ("QUESTION_ANS", ("qa_outputs",)),
}


def write(work: Work) -> Iterator[Form]:
    """adapters/NAME/adapter_config.json and adapter_model.safetensors for each of the recipe's."""
    from safetensors.torch import save_file

    for name, wish in work.section["adapters"].items():
        rank = wish.get("rank", RANK)
        alpha = wish.get("alpha", SCALE * rank)
        modules = chosen(work.model, wish.get("modules"), ("model", "adapters", name, "modules"))
        wanted = targets(work.model, modules)
        use, head = _use(work.model, modules)
        config = {
            **PLAIN,
            "r": rank,
            "lora_alpha": alpha,
            "target_modules": wanted,
            "fan_in_fan_out": all(_turned(module) for module in modules.values()),
            **use,
        }
        folder = work.folder / FOLDER / name
        folder.mkdir(parents=True)
        (folder / "adapter_config.json").write_text(pretty(config), encoding="utf-8")
        tensors: dict[str, torch.Tensor] = {}
        for path, module in sorted(modules.items()):
            tensors |= _drawn(module, path, rank, alpha, (work.seed, FOLDER, name))
        for path, module in sorted(head.items()):
            tensors |= _moved(module, path, (work.seed, FOLDER, name))
        save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
        last = sorted({path.rpartition(".")[2] for path in modules})
        yield Form(
            kind="adapter",
            path=f"{FOLDER}/{name}",
            words=f"LoRA of rank {rank} (alpha {alpha}) on {', '.join(last)}",
        )


# What an adapter_config.json says beside the recipe's. It names no base model: that is the bundle
# around it, wherever that lies.
PLAIN: Mapping[str, object] = {
    "peft_type": "LORA",
    "base_model_name_or_path": None,
    "bias": "none",
    "inference_mode": True,
    "init_lora_weights": True,
    "lora_dropout": 0.0,
    "rank_pattern": {},
    "alpha_pattern": {},
    "use_dora": False,
    "use_rslora": False,
}


def _drawn(
    module: Module, path: str, rank: int, alpha: int, key: tuple[object, ...]
) -> dict[str, torch.Tensor]:
    """Two matrices for one layer, their numbers by name. What they add is about as large as what
    comes in, whatever rank and alpha are."""
    import torch

    weight = module.weight
    assert isinstance(weight, torch.Tensor)
    out, into = reversed(weight.shape) if _turned(module) else weight.shape
    spreads = {
        "lora_A": ((rank, into), 1 / math.sqrt(into)),
        "lora_B": ((out, rank), math.sqrt(rank) / alpha),
    }
    made = {}
    for part, (shape, spread) in spreads.items():
        name = f"base_model.model.{path}.{part}.weight"
        numbers = spread * chance.normal(math.prod(shape), *key, name)
        made[name] = torch.from_numpy(numbers.reshape(shape)).to(weight.dtype)
    return made


def chosen(
    model: PreTrainedModel, wanted: Sequence[str] | None, key: tuple[str, ...]
) -> dict[str, Module]:
    """The layers that get an adapter, by their paths: those that the recipe names, as PEFT matches
    names, or all linear ones but the head. Raises BuildFault."""
    linear = {path: module for path, module in model.named_modules() if _linear(module)}
    if wanted is None:
        inside, head = {*model.base_model.modules()}, model.get_output_embeddings()
        taken = EXPERTS if _fused(model) else ()
        found = {
            path: module
            for path, module in linear.items()
            if module in inside - {head} and path.rpartition(".")[2] not in taken
        }
        if not found:
            what = f"{type(model).__name__} has no linear layer for an adapter"
            raise BuildFault.of(what, key=key[:-1], hint="delete the adapter")
        return found
    found = {}
    for name in wanted:
        hit = {path: module for path, module in linear.items() if _hit(path, name)}
        if not hit:
            known = {path.rpartition(".")[2] for path in linear}
            what = f"{type(model).__name__} has no linear layer {name}"
            raise BuildFault.of(what, key=key, hint=did_you_mean(name, known))
        found |= hit
    return found


def _fused(model: PreTrainedModel) -> bool:
    """Whether all experts of a layer are one tensor."""
    return any(p.dim() == 3 and "experts" in name for name, p in model.named_parameters())


def _linear(module: Module) -> bool:
    import torch
    from transformers.pytorch_utils import Conv1D

    return isinstance(module, torch.nn.Linear | Conv1D)


def _turned(module: Module) -> bool:
    """Whether a layer's weight is (in, out): GPT-2's Conv1D."""
    from transformers.pytorch_utils import Conv1D

    return isinstance(module, Conv1D)


def _hit(path: str, name: str) -> bool:
    """Whether PEFT takes a layer for a name of target_modules."""
    return path == name or path.endswith(f".{name}")


def targets(model: PreTrainedModel, modules: Collection[str]) -> list[str]:
    """The names for target_modules that hit these layers and no others: the last parts of their
    paths, or else the whole ones."""
    last = {path.rpartition(".")[2] for path in modules}
    hit = {path for path, _ in model.named_modules() if path.rpartition(".")[2] in last}
    return sorted(last if hit == {*modules} else modules)


def _use(
    model: PreTrainedModel, modules: Collection[str]
) -> tuple[Mapping[str, object], Mapping[str, Module]]:
    """What a model is for, with the modules of its head that PEFT wants whole: PEFT's word, or, as
    PEFT writes where there is none, the class that it is loaded with."""
    of_type, kind = heads.of_type(model.config.model_type), type(model)
    own = next((task for task, names in of_type.items() if kind.__name__ in names), "")
    word, ends = TASKS.get(own, (None, ()))
    head = {path: part for path, part in model.named_modules() if ends and path.endswith(ends)}
    if ends and (not head or any(path.endswith(ends) for path in modules)):
        word, head = None, {}
    saved = sorted({path.rpartition(".")[2] for path in head})
    named = {"base_model_class": kind.__name__, "parent_library": kind.__module__}
    use = {
        "task_type": word,
        "auto_mapping": None if word else named,
        "modules_to_save": saved or None,
    }
    return use, head


def _moved(module: Module, path: str, key: tuple[object, ...]) -> dict[str, torch.Tensor]:
    """A copy of a module's weights, each moved by numbers of its own."""
    import torch

    made = {f"base_model.model.{path}.{name}": t for name, t in module.state_dict().items()}
    for name, weight in module.named_parameters():
        place = f"base_model.model.{path}.{name}"
        moved = chance.normal(weight.numel(), *key, place) / math.sqrt(weight.shape[-1])
        numbers = weight.detach().float() + torch.from_numpy(moved.reshape(weight.shape))
        made[place] = numbers.to(weight.dtype)
    return made
