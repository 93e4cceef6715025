"""Which dtype a config says, and which tensors of a model keep float32 whatever it says."""

from __future__ import annotations

import copy
import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from tinybuild.config.meta import Asked
from tinybuild.config.overrides import nodes
from tinybuild.keys import NAMES, PLAIN
from tinybuild.paths import Data, mapping

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig, PreTrainedModel

Dtype: TypeAlias = Literal["float32", "float16", "bfloat16"]
WRITTEN: Sequence[Dtype] = get_args(Dtype)
DTYPES = ("dtype", "torch_dtype")


def own_dtype(data: Data) -> Dtype:
    """The type of a checkpoint's weights as its config says it, that of the text part where the
    whole says none; float32 where nobody does, or one that is not written here."""
    parts = (mapping(data, (name,)) for name in NAMES["text part"])
    for node in (data, *parts):
        for name in DTYPES:
            said = str(node.get(name)).removeprefix("torch.")
            known = next((dtype for dtype in WRITTEN if dtype == said), None)
            if known is not None:
                return known
    return WRITTEN[0]


def tell(config: PreTrainedConfig, dtype: torch.dtype, parts: torch.dtype | None) -> None:
    """Say, in place, what a config's weights are (`dtype`), and those of its parts (`parts`).

    Of a part that says a dtype its class makes the weights in it, whatever those of the whole are:
    while a model is made, no part says one. In a bundle all say the same.
    """
    for _, node in nodes(config):
        node.dtype = parts
        for name, value in vars(node).items():
            if isinstance(value, dict) and name not in PLAIN:
                _tell_plain(value, parts)
    config.dtype = dtype


def _tell_plain(data: dict[str, Any], dtype: torch.dtype | None) -> None:
    """The same in what is a config, and of no class of its own."""
    import torch

    for name, value in data.items():
        if isinstance(value, dict):
            _tell_plain(value, dtype)
        elif name in DTYPES and (value is None or hasattr(torch, str(value))):
            data[name] = None if dtype is None else str(dtype).removeprefix("torch.")


def keeps(
    model_class: type[PreTrainedModel], config: PreTrainedConfig, dtype: torch.dtype
) -> frozenset[str]:
    """The names of a class's tensors that from_pretrained makes float32 in a model of `dtype`.

    They are those that the class names (`_keep_in_fp32_modules` for float16 only,
    `_keep_in_fp32_modules_strict` for bfloat16, too) and those that it makes in float32 whatever
    the default is (router biases, A_log). Found on the meta device; empty for float32.
    """
    import torch

    if dtype == torch.float32:
        return frozenset()
    return _kept(Asked.of(model_class, config), dtype)


@functools.lru_cache(maxsize=8)
def _kept(asked: Asked, dtype: torch.dtype) -> frozenset[str]:
    import torch
    from transformers.core_model_loading import build_glob_alternation
    from transformers.initialization import no_init_weights

    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device("meta"), no_init_weights():
            model = asked.model_class(copy.deepcopy(asked.config))
    finally:
        torch.set_default_dtype(before)
    plan = model._get_dtype_plan(dtype)
    named = build_glob_alternation(list(plan))[0] if plan else None
    return frozenset(
        name
        for name, tensor in model.state_dict().items()
        if tensor.is_floating_point()
        and ((named is not None and named.search(name)) or tensor.dtype == torch.float32)
    )


def cast(model: PreTrainedModel, dtype: torch.dtype, kept: frozenset[str]) -> None:
    """Give a model's tensors their dtype, in place: `dtype`, or float32 for those `kept`."""
    import torch

    saved = model.state_dict().keys()
    for name, parameter in model.named_parameters():
        if parameter.is_floating_point():
            parameter.data = parameter.data.to(torch.float32 if name in kept else dtype)
    for name, module in model.named_modules():
        for key, buffer in module.named_buffers(recurse=False):
            full = f"{name}.{key}" if name else key
            # What is not saved is computed again on loading, by the class's own rule.
            if buffer.is_floating_point() and full in saved:
                module._buffers[key] = buffer.to(torch.float32 if full in kept else dtype)
