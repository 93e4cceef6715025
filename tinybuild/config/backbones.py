"""Backbones that a config only names: transformers' own of the same kind instead."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from tinybuild.config.overrides import parts
from tinybuild.keys import configs
from tinybuild.named import TIMM
from tinybuild.paths import Data, Json, Path, mapping, whole

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

# timm counts the map of their stem among the maps that can be taken, as transformers does; with
# the others its first is that of the first stage.
STEMMED = ("resnet", "rt_detr_resnet", "bit")
DEEP = 50  # layers from which ResNet's blocks are bottlenecks


def described(data: Data) -> dict[str, Json]:
    """A config (JSON data) that describes, as timm's, each backbone that it only names.

    transformers would ask the Hub whether the name is a repository's. Left as it is where the class
    describes it by itself, and where the name is a repository's (`found` reads what fetch has of
    that).
    """
    made: dict[str, Json] = {
        n: described(v) if isinstance(v, Mapping) else v for n, v in data.items()
    }
    name, more = data.get("backbone"), data.get("backbone_kwargs")
    if not isinstance(name, str) or data.get("backbone_config") or data.get("model_type") == TIMM:
        return made
    usual = _usual(data.get("model_type"))
    if "/" in name or (usual and not more and data.get("use_timm_backbone", True)):
        return made
    given = {"model_type": TIMM, "backbone": name, **(more if isinstance(more, Mapping) else {})}
    made["backbone_config"] = {**usual, **given}
    return {n: v for n, v in made.items() if n not in ("backbone", "backbone_kwargs")}


def _usual(model_type: Json) -> Data:
    """How a type's own class describes timm's backbone to itself; empty where it does not."""
    from transformers import CONFIG_MAPPING

    if not isinstance(model_type, str) or model_type not in CONFIG_MAPPING:
        return {}
    try:
        usual = mapping(CONFIG_MAPPING[model_type]().to_dict(), ("backbone_config",))
    except (TypeError, ValueError):  # a class without a complete default
        return {}
    return usual if usual.get("model_type") == TIMM else {}


def own(config: PreTrainedConfig, wishes: Data) -> tuple[PreTrainedConfig, dict[Path, str]]:
    """The config with transformers' own backbone wherever it names one of timm's whose kind
    transformers has, and why, by path.

    It takes the maps that the source takes; its sizes are the kind's usual ones. What the recipe
    gives a type itself stays, and so does a name of another kind.
    """
    changed: dict[str, PreTrainedConfig] = {}
    reasons: dict[Path, str] = {}
    for name, sub in parts(config):
        asked = mapping(wishes, (name,))
        if "model_type" in asked:
            continue
        if sub.model_type == TIMM:
            new = _same(sub)
            inner: dict[Path, str] = {(): f"rule backbone: transformers' own of {sub.backbone}"}
        else:
            new, inner = own(sub, asked)
        if new is not None and inner:
            changed[name] = new
            reasons |= {(name, *path): reason for path, reason in inner.items()}
    if not changed:
        return config, {}
    left = {n: v for n, v in config.to_dict().items() if n not in ("model_type", *changed)}
    return type(config)(**left, **{n: new.to_dict() for n, new in changed.items()}), reasons


def repositories(config: PreTrainedConfig) -> Iterator[tuple[Path, str]]:
    """The backbones that are of a repository, each with the key of config.json that names it."""
    for path, node in configs(config.to_dict()):
        name = node.get("backbone")
        if node.get("model_type") == TIMM and isinstance(name, str) and "/" in name:
            yield (*path[:-1], "backbone"), name


def _same(named: PreTrainedConfig) -> PreTrainedConfig | None:
    """The default config of the kind that a timm_backbone names; None where transformers has no
    backbone of that kind, or not as many stages."""
    from transformers import CONFIG_MAPPING

    data = named.to_dict()
    name = str(data.get("backbone"))
    kind = _kind(name)
    if kind is None:
        return None
    deep = re.search(r"resnet[-_]?(\d+)", name.lower())
    more = {"layer_type": "basic"} if deep and kind == "resnet" and int(deep[1]) < DEEP else {}
    made = CONFIG_MAPPING[kind](num_channels=data.get("in_chans", named.num_channels), **more)
    stages, taken = data.get("out_features"), data.get("out_indices")
    shift = 0 if kind in STEMMED else 1
    try:
        if stages:
            made.out_features = stages
        elif taken:
            made.out_indices = [n + shift if whole(n) and n >= 0 else n for n in taken]
    except (ValueError, IndexError):
        return None
    return made


def _kind(name: str) -> str | None:
    """The model type of transformers whose backbone a name speaks of: swin of
    swin_tiny_patch4_window7_224."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_BACKBONE_MAPPING_NAMES as KNOWN

    last = name.lower()
    patterns = {kind: re.sub("[-_]", "[-_]?", kind) for kind in KNOWN}
    kinds = [k for k, p in patterns.items() if k != TIMM and re.match(rf"{p}(?![a-z])", last)]
    return max(kinds, key=len, default=None)
