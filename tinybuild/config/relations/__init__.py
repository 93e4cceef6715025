"""What the numbers of a config must be to one another, and the nearest values that work."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from tinybuild import paths
from tinybuild.config import overrides
from tinybuild.config.relations.clash import NOBODY, Clash, Wish, clashes, names
from tinybuild.errors import BuildFault, Finding
from tinybuild.keys import PLAIN, configs, depths, is_depth
from tinybuild.paths import Data, Path, whole

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


def broken(
    tree: Data, wishes: Data, key: overrides.Key, called: Mapping[Path, Path] | None = None
) -> list[Finding]:
    """The relations that a config tree breaks, in the order of its configs and of the table.

    `wishes` are the recipe's overrides as it writes them, below `key` in it; a finding's key is
    that of the first override in the relation, or `key` where there is none. `called`: the recipe's
    path of each key that it calls by another name than the class.
    """
    present = list(clashes(tree, Wish(wishes=wishes, key=key, names=called or {})))
    return [clash.finding(present) for clash in present]


def override(
    source: PreTrainedConfig, wishes: Data, implied: Data, key: overrides.Key
) -> PreTrainedConfig:
    """`overrides.override`, with all relations that the recipe's overrides break told at once.

    What the source's own config breaks is not a relation of its class. Where the class refuses the
    overrides itself, the relations say why, if they know. Raises BuildFault.
    """
    source = overrides.substituted(source, wishes, key)
    wish = Wish(wishes=wishes, key=key, names=dict(names(source, wishes)))
    try:
        made = overrides.override(source, wishes, implied, key)
    except BuildFault as fault:
        # A class that speaks of heads may want more of them than others do.
        strict = any("heads" in finding.what for finding in fault.findings)
        tree = _asked(source, overrides.requested(source, wishes, implied))
        told = list(_told(tree, dataclasses.replace(wish, strict=strict), source))
        if not told:
            raise
        # What the class says of other keys, or of none by name, is another matter or the same.
        places = {(*key, *wish.called(path)) for clash, _ in told for path in clash.paths}
        others = [f for f in fault.findings if f.key != key and f.key not in places]
        raise BuildFault([*others, *(finding for _, finding in told)]) from None
    findings = [finding for _, finding in _told(made.to_dict(), wish, source)]
    if findings:
        raise BuildFault(findings)
    return made


def possible(source: PreTrainedConfig, wishes: Data, key: overrides.Key) -> None:
    """Raises BuildFault for overrides that cannot be, whatever all other keys become: unknown ones,
    and those that contradict one another."""
    source = overrides.substituted(source, wishes, key)
    findings = list(overrides.unknown(source, wishes, key))
    tree = paths.merge(source.to_dict(), overrides.canonical(source, wishes))
    wish = Wish(wishes=wishes, key=key, names=dict(names(source, wishes)), alone=True)
    findings += [finding for _, finding in _told(tree, wish, source)]
    if findings:
        raise BuildFault(findings)


def layers(least: int | None, source: Data, wishes: Data, key: overrides.Key) -> None:
    """Raises BuildFault for a depth among the overrides (under the class's own names) below
    `least`, the recipe's `layers` below `key`: that is the least depth of every stack. And where no
    stack of the source is as deep."""
    deepest = max((deep for _, node in configs(source) for deep in depths(node)), default=0)
    if least is not None and 0 < deepest < least:
        raise BuildFault.of(
            f"layers ({least}) cannot be had: the source has {deepest}",
            key=(*key, "layers"),
            hint=f"layers: {deepest}; or, instead of layers, a depth in model.config",
        )
    findings = [
        Finding(
            what=f"layers ({least}) must be at most {'.'.join(path)} ({value}): it is the least "
            "depth of every stack",
            key=(*key, "layers"),
            hint=f"layers: {value}, or {'.'.join(path)}: {least}",
        )
        for path, value in paths.leaves(wishes, lambda name, _: name not in PLAIN)
        if least is not None and whole(value) and is_depth(path[-1], value) and value < least
    ]
    if findings:
        raise BuildFault(findings)


@contextlib.contextmanager
def explained(
    source: PreTrainedConfig, config: PreTrainedConfig, wishes: Data, key: overrides.Key
) -> Iterator[None]:
    """Where the model class refuses the heads of a config, the relation and what works are told."""
    try:
        yield
    except BuildFault as fault:
        if not any(REFUSED.search(finding.what) for finding in fault.findings):
            raise
        source = overrides.substituted(source, wishes, key)
        wish = Wish(wishes=wishes, key=key, names=dict(names(source, wishes)), strict=True)
        told = list(_told(config.to_dict(), wish, source))
        if not told:
            raise
        raise BuildFault(finding for _, finding in told) from None


REFUSED = re.compile(r"cannot be made from this config.*(heads|divisib|multiple)", re.DOTALL)


def _told(tree: Data, wish: Wish, source: PreTrainedConfig) -> Iterator[tuple[Clash, Finding]]:
    """What breaks a relation in which overrides are, and which the source's own config keeps."""
    before = {clash.name for clash in clashes(source.to_dict(), NOBODY)}
    present = list(clashes(tree, wish))
    for clash in present:
        if any(map(wish.has, clash.paths)) and clash.name not in before:
            yield clash, clash.finding(present)


def _asked(source: PreTrainedConfig, tree: Data) -> Data:
    """What is asked of a class that refuses: its plain defaults too, not what it derives."""
    made = dict(tree)
    plain = {
        field.name
        for field in dataclasses.fields(source)
        if field.default is not None and field.default is not dataclasses.MISSING
    }
    for name, value in source.to_dict().items():
        inner, asked = overrides.sub_config(source, name), made.get(name)
        if name not in made and (name in plain or isinstance(value, Mapping)):
            made[name] = value
        elif inner is not None and isinstance(asked, Mapping):
            made[name] = _asked(inner, asked)
    return made


__all__ = ["broken", "explained", "layers", "override", "possible"]
