"""Which keys of a config the model class reads, so that an override that nothing reads is found."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from types import FrameType
from typing import TYPE_CHECKING, TypeAlias

from tinybuild import files
from tinybuild.config import overrides
from tinybuild.errors import BuildFault, Finding
from tinybuild.keys import NAMES, is_id, says
from tinybuild.paths import Data, Json, Path, differences, texts, without

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

Reads: TypeAlias = dict[type, set[str]]  # config class -> the names that model code asked of it


@contextlib.contextmanager
def recording() -> Iterator[Reads]:
    """Record what is read of every config object while a model is built, forwards or generates.

    Reads through `attribute_map` are recorded under both names. What a config's own code reads
    counts only where model code asked for it (a property, get_text_config), not where an object is
    made, checked, compared or written out: storing a key is not reading it.
    """
    from transformers import PreTrainedConfig

    seen: Reads = {}
    original = PreTrainedConfig.__getattribute__

    def read(self: PreTrainedConfig, name: str) -> object:
        if name[0] != "_" and _by_model(sys._getframe(1)):
            known = seen.setdefault(type(self), set())
            known.add(name)
            known.add(type(self).attribute_map.get(name, name))
        return original(self, name)

    PreTrainedConfig.__getattribute__ = read
    try:
        yield seen
    finally:
        PreTrainedConfig.__getattribute__ = original


_OURS = str(files.__file__).removesuffix("files.py")
_KEEPING = frozenset(
    (
        *("__init__", "__post_init__", "__setattr__", "__eq__", "__repr__", "__deepcopy__"),
        *("to_dict", "to_diff_dict", "to_json_string", "from_dict", "save_pretrained", "validate"),
        *("from_model_config", "get_generation_parameters", "_get_generation_parameters"),
    )
)


def _by_model(frame: FrameType | None) -> bool:
    """Whether model code stands behind a read: no config's own bookkeeping in between, not ours."""
    while frame is not None:
        code = frame.f_code
        if code.co_filename == __file__:
            frame = frame.f_back  # the recording of a property's own read
            continue
        name = PurePath(code.co_filename).name
        if "huggingface_hub" in code.co_filename or name == "dataclasses.py":
            return False  # the validators of a strict data class
        if code.co_filename.startswith(_OURS):
            return False
        if not name.startswith("configuration_"):
            return True
        if code.co_name in _KEEPING or code.co_name.startswith("validate"):
            return False
        frame = frame.f_back
    return False


def unread(
    config: PreTrainedConfig, source: PreTrainedConfig, wishes: Data, reads: Reads
) -> list[Path]:
    """The paths of the wishes that no model code read, in the recipe's order.

    `config` is the built one, `source` the one that the wishes change: a key from which the class
    derives another one that is read (first_k_dense_replace, mlp_layer_types) has been read, which
    is found by making the config with the key and without. Ids, and what every config of
    transformers carries (labels, dtype), are for others than the model class.
    """
    nodes = dict(overrides.nodes(config))
    classes = {type(node) for node in nodes.values()}
    # Some models make a config of their own from another's values, and read that.
    others = (names for config_class, names in reads.items() if config_class not in classes)
    elsewhere = set().union(*others)
    common = _common()

    def is_read(path: Path) -> bool:
        node = nodes.get(path[:-1])
        name = path[-1]
        if node is None:  # inside a plain mapping: the mapping is what is read
            return is_read(path[:-1])
        name = type(node).attribute_map.get(name, name)
        return name in reads.get(type(node), ()) or name in elsewhere

    left = [
        path
        for path, value in _leaves(config, wishes)
        if not (is_id(path[-1]) or path[-1] in common or texts(value) or is_read(path))
    ]
    if not left:
        return []
    whole = _made(source, wishes)

    def decides(path: Path) -> bool:
        """Whether a key that is read is another one without this."""
        other = _made(source, without(wishes, path))
        if whole is None or other is None:
            return False
        changed = {place for place, _, _ in differences(whole.to_dict(), other.to_dict())}
        return any(map(is_read, changed - {_named(nodes, path)}))

    return [path for path in left if not decides(path)]


def offers(config: PreTrainedConfig, path: Path, reads: Reads) -> list[str]:
    """The keys of the same config that are read and most likely meant, best first."""
    node = dict(overrides.nodes(config)).get(path[:-1])
    if node is None:
        return []
    common = _common()
    known = {
        name
        for name in reads.get(type(node), ())
        if name in node.to_dict() and name not in common and not is_id(name)
    }
    return overrides.alike(path[-1], known)


def findings(
    model: PreTrainedModel, source: PreTrainedConfig, wishes: Data, reads: Reads
) -> list[Finding]:
    """A finding for each wish that no code of a model read, with what was likely meant."""
    return [
        Finding(
            what=f"{type(model).__name__} does not read {'.'.join(path)}",
            key=("model", "config", *path),
            hint=_expertless(model.config, path) or _meant(offers(model.config, path, reads)),
        )
        for path in unread(model.config, source, wishes, reads)
    ]


def _meant(names: Sequence[str]) -> str:
    return f"did you mean {' or '.join(names)}?" if names else "leave it out"


def _expertless(config: PreTrainedConfig, path: Path) -> str:
    """A hint where a key is one of experts, and they start past the last layer; else nothing."""
    node = dict(overrides.nodes(config)).get(path[:-1])
    depth = getattr(node, "num_hidden_layers", None)
    if not says(path[-1], "routing") or depth is None:
        return ""
    for name in NAMES["dense layers"]:
        first = getattr(node, name, None)
        if isinstance(first, int) and first >= depth:
            return f"no layer has experts: {name} is {first}, num_hidden_layers {depth}"
    return ""


def _common() -> set[str]:
    from transformers import PreTrainedConfig

    return {*PreTrainedConfig().to_dict(), "num_labels", "attn_implementation", *overrides.BASE}


def _leaves(
    config: PreTrainedConfig | None, wishes: Data, path: Path = ()
) -> Iterator[tuple[Path, Json]]:
    for name, value in wishes.items():
        sub = getattr(config, name, None) if config is not None else None
        if isinstance(value, Mapping) and hasattr(sub, "sub_configs"):
            yield from _leaves(sub, value, (*path, name))
        else:
            yield (*path, name), value


def _named(nodes: Mapping[Path, PreTrainedConfig], path: Path) -> Path:
    node = nodes.get(path[:-1])
    name = type(node).attribute_map.get(path[-1], path[-1]) if node is not None else path[-1]
    return (*path[:-1], name)


def _made(source: PreTrainedConfig, wishes: Data) -> PreTrainedConfig | None:
    """The source's config with these wishes; None where there is none."""
    try:
        return overrides.override(source, wishes, {}, ())
    except BuildFault:
        return None
