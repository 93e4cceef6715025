"""A model without memory: what its class makes of a config, and how many parameters that has."""

from __future__ import annotations

import functools
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from tinybuild.config import heads, overrides, reads
from tinybuild.errors import BuildFault, Fault, Finding
from tinybuild.paths import Data, get, leaves

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig, PreTrainedModel

T = TypeVar("T")
Shapes: TypeAlias = Mapping[str, tuple[int, ...]]  # the parameters of a model by name
SHOWN = 8  # of the largest tensors
REFUSALS = (
    *(ValueError, TypeError, AssertionError, KeyError, ZeroDivisionError),
    *(RuntimeError, AttributeError, IndexError, ImportError),
)


def refusable(
    build: Callable[[], T],
    model_class: type[PreTrainedModel],
    config: PreTrainedConfig | None = None,
) -> T:
    """What a model class makes; what it refuses becomes a fault, which names the key of the config
    whose word the class does not know."""
    try:
        return build()
    except REFUSALS as error:
        raise _refused(model_class, error, config) from None


def _refused(
    model_class: type[PreTrainedModel], error: Exception, config: PreTrainedConfig | None
) -> Fault:
    if isinstance(error, ImportError):
        return heads.absent(model_class.__name__, error)
    word = error.args[0] if isinstance(error, KeyError) and error.args else None
    tree = config.to_dict() if config is not None and isinstance(word, str) else {}
    at = [".".join(path) for path, value in leaves(tree) if value == word]
    if at:
        return BuildFault.of(
            f"{model_class.__name__} cannot be made from this config: it does not know {word}, "
            f"which {' and '.join(at)} says",
            key=("model", "config"),
            hint=f"give {at[0]} another value in model.config",
        )
    return BuildFault.of(
        f"{model_class.__name__} cannot be made from this config: "
        f"{type(error).__name__}: {overrides.reason(error)}",
        key=("model", "config"),
        hint="sizes that depend on one another may disagree (width, heads, layers, ids)",
    )


def tensors(
    model_class: type[PreTrainedModel], config: PreTrainedConfig
) -> dict[str, torch.Tensor]:
    """The parameters of a model by name, without memory. Raises BuildFault for a config that makes
    none."""
    return dict(on_meta(model_class, config).named_parameters())


def shapes(model_class: type[PreTrainedModel], config: PreTrainedConfig) -> Shapes:
    """Their shapes. What is looked for in sizes asks for the same model again and again: one that
    was made lately is not made anew."""
    return _shapes(Asked.of(model_class, config))


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A model that is made to be looked at, known by its class and by what its config says."""

    model_class: type[PreTrainedModel]
    config: PreTrainedConfig = field(compare=False)
    text: str

    @classmethod
    def of(cls, model_class: type[PreTrainedModel], config: PreTrainedConfig) -> Asked:
        text = config.to_json_string(use_diff=False)
        return cls(model_class=model_class, config=config, text=text)


@functools.lru_cache(maxsize=64)
def _shapes(asked: Asked) -> Shapes:
    found = tensors(asked.model_class, asked.config)
    return {name: tuple(tensor.shape) for name, tensor in found.items()}


def on_meta(model_class: type[PreTrainedModel], config: PreTrainedConfig) -> PreTrainedModel:
    import torch
    from transformers.initialization import no_init_weights

    with torch.device("meta"), no_init_weights():
        model = refusable(lambda: model_class(config), model_class, config)
        model.tie_weights()  # no_init_weights leaves it out, and would count them twice
    return model


def count(
    model_class: type[PreTrainedModel],
    config: PreTrainedConfig,
    most: int,
    source: PreTrainedConfig,
    wishes: Data,
) -> int:
    """The number of parameters, counted before any memory is taken.

    Raises BuildFault with a table of the largest tensors when there are more than `most`, and with
    the sizes among the wishes (on `source`) that were not read on the way: one may be mistyped.
    """
    with reads.recording() as seen:
        model = on_meta(model_class, config)
    named = dict(model.named_parameters())
    number = int(sum(tensor.numel() for tensor in named.values()))
    if number > most:
        large = Finding(
            what=f"the model would have {number:,} parameters; at most {most:,} are allowed\n"
            + table(named, number),
            key=("model",),
            hint="make the keys smaller that these tensors come from (model.config), "
            "or raise checks.max_parameters",
        )
        sizes = [
            finding
            for finding in reads.findings(model, source, wishes, seen)
            if isinstance(get(wishes, tuple(map(str, finding.key[2:]))), int)
        ]
        raise BuildFault([large, *sizes])
    return number


def table(named: Mapping[str, torch.Tensor], number: int) -> str:
    """The largest tensors of `number` parameters, those of repeated layers in one line."""
    groups = Counter(
        (re.sub(r"\.\d+(?=\.|$)", ".*", name), tuple(tensor.shape))
        for name, tensor in named.items()
    )
    sizes = {(name, shape): math.prod(shape) * groups[name, shape] for name, shape in groups}
    lines = []
    for (name, shape), size in sorted(sizes.items(), key=lambda item: (-item[1], item[0]))[:SHOWN]:
        times = f"{groups[name, shape]} x " if groups[name, shape] > 1 else ""
        lines.append(f"    {size:>18,}  {100 * size / number:4.1f} %  {name}  {times}{list(shape)}")
    return "\n".join(lines)
