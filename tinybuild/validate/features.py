"""Check that what a config switches on acts: switched off, it must change the outputs."""

from __future__ import annotations

import copy
import functools
import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from tinybuild.config import reads, rotation
from tinybuild.feeding.inputs import beside
from tinybuild.feeding.inputs.contents import renewed
from tinybuild.feeding.inputs.facts import Facts
from tinybuild.keys import BY_LAYER, SAYS, first, measures, says
from tinybuild.paths import Data, Json, Path, get, has, lists, mapping, put, whole, wholes
from tinybuild.validate.alive import differ
from tinybuild.validate.check import Result, check, listed
from tinybuild.validate.subject import Batch, Subject

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

FAR = 10**6  # beyond any place of a batch, and any logit
MORE, MOST = 8, 1024  # tokens beyond what a feature begins at; of a batch at most


@dataclass(frozen=True, kw_only=True)
class Off:
    """A feature switched off: what it is called, the keys of the config that do it, or which
    weights are zero then. extreme: keys that make it act whatever the weights, if the class heeds
    it at all. apart: the axes of positions must differ. bound: it acts on large numbers alone.
    switch: there is no more of it than on. after: it acts on texts of more tokens alone."""

    what: str
    changes: Mapping[Path, Json] = field(default_factory=dict)
    extreme: Mapping[Path, Json] = field(default_factory=dict)
    zeroed: str = ""
    apart: bool = False
    bound: bool = False
    switch: bool = False
    after: int = 0


@dataclass(frozen=True, kw_only=True)
class Part:
    """A config of the tree: where it is, what it says, and how long the batch's text is."""

    path: Path
    node: Data
    length: int

    def off(self, name: str, value: Json, extreme: Json = None, more: str = "") -> Off:
        at = (*self.path, name)
        most = {} if extreme is None else {at: extreme}
        return Off(what=".".join(at) + more, changes={at: value}, extreme=most)

    def ropes(self) -> Iterator[tuple[Path, Data]]:
        """How its layers rotate, as far as it has layers of the kind."""
        kinds = self.node.get("layer_types")
        for at in rotation.places(self.node):
            if len(at) == 1 or not isinstance(kinds, list) or at[-1] in kinds:
                yield at, mapping(self.node, at)

    def turned(self, at: Path, changed: Data, more: str = "") -> Off:
        """Another rotation."""
        place = (*self.path, *at)
        faster = {**mapping(self.node, at), "rope_theta": 3.0}
        return Off(what=".".join(place) + more, changes={place: changed}, extreme={place: faster})


@dataclass(frozen=True, kw_only=True)
class Probe:
    """A kind of feature: how it is switched off, wherever a config switches it on."""

    sentence: str
    offs: Callable[[Part], Iterator[Off]]


# --- rotation -------------------------------------------------------------------------------------

UNSCALED = (None, "default", "axial")
ORIGINAL = "original_max_position_embeddings"


def _scaling(part: Part) -> Iterator[Off]:
    for at, rope in part.ropes():
        kind = rope.get("rope_type")
        if kind not in UNSCALED:
            left = ("partial_rotary_factor",) if kind == "proportional" else ()
            kept = {name: value for name, value in rope.items() if name not in left}
            yield part.turned(at, {**kept, "rope_type": "default", "type": "default"}, ".rope_type")


def _frequencies(part: Part) -> Iterator[Off]:
    """Beside what the type does to the attention's scale."""
    for at, rope in part.ropes():
        kind, original = rope.get("rope_type"), rope.get(ORIGINAL)
        most = part.node.get(first(part.node, "positions") or "")
        if kind == "longrope":
            yield _long(part, at, rope)
        elif kind == "llama3":  # as if all pairs were slow
            slow = {"rope_type": "linear", "type": "linear"}
            yield part.turned(at, {**rope, **slow}, ".high_freq_factor")
        elif kind == "yarn" and whole(original) and whole(most):
            factor = rope.get("factor") or most / original
            changed = {**rope, "factor": factor, ORIGINAL: FAR}
            yield part.turned(at, changed, f".{ORIGINAL}")


def _long(part: Part, at: Path, rope: Data) -> Off:
    """The factors of long texts, which would have to act where every text is long."""
    factors, given = rope["long_factor"], rope.get(ORIGINAL, part.node.get(ORIGINAL))
    far: Json = [FAR] * len(factors) if isinstance(factors, list) else factors
    begun = {ORIGINAL: 2} if ORIGINAL in rope else {}
    extreme: dict[Path, Json] = {(*part.path, *at): {**rope, **begun, "long_factor": far}}
    if ORIGINAL in part.node:
        extreme[(*part.path, ORIGINAL)] = 2
    made = part.turned(at, {**rope, "long_factor": rope["short_factor"]}, ".long_factor")
    return replace(made, extreme=extreme, after=given if whole(given) else 0)


def _growing_scale(part: Part) -> Iterator[Off]:
    for at, rope in part.ropes():
        if rope.get("llama_4_scaling_beta"):
            yield part.turned(at, {**rope, "llama_4_scaling_beta": 0.0}, ".llama_4_scaling_beta")


def _sections(part: Part) -> Iterator[Off]:
    for at, rope in part.ropes():
        sections = rope.get("mrope_section")
        if not wholes(sections) or rope.get("rope_type") == "axial":
            continue
        # The first has what the others leave: in some classes whatever is said of it.
        for place in range(1 if sections[0] else 0, len(sections)):
            folded = [*sections]
            if place:
                folded[0], folded[place] = folded[0] + folded[place], 0
            made = part.turned(at, {**rope, "mrope_section": folded}, f".mrope_section[{place}]")
            yield replace(made, apart=True)


def _partial(part: Part) -> Iterator[Off]:
    for at, rope in part.ropes():
        share = rope.get("partial_rotary_factor")
        if isinstance(share, float) and 0 < share < 1 and rope.get("rope_type") != "proportional":
            changed = {**rope, "partial_rotary_factor": 1.0}
            sections = rope.get("mrope_section")
            if wholes(sections):
                whole_ = round(sum(sections) / share)
                changed["mrope_section"] = [whole_ - sum(sections[1:]), *sections[1:]]
            yield part.turned(at, changed, ".partial_rotary_factor")


def _kinds_of_rotation(part: Part) -> Iterator[Off]:
    ropes = [(at, rope) for at, rope in part.ropes() if len(at) == 2]
    for (at, rope), (_, other) in itertools.pairwise(ropes):
        if rope != other and rope.get("rope_type") == other.get("rope_type"):
            what = ".".join((*part.path, at[0]))
            yield replace(part.turned(at, dict(other)), what=what)


# --- attention ------------------------------------------------------------------------------------

NEAR = re.compile(r"slid|chunk|local|window|sparse|index|swa|hybrid")


def _windows(part: Part) -> Iterator[Off]:
    kinds = part.node.get("layer_types")
    near = not isinstance(kinds, list) or any(NEAR.search(str(kind)) for kind in kinds)
    for name, value in part.node.items():
        if near and measures(name) == "window":
            sizes = value if wholes(value) else [value] if whole(value) else []
            if sizes and min(sizes) > 0:
                far = 2 ** (2 * max(part.length, *sizes)).bit_length()
                off, least = [far] * len(sizes), [2] * len(sizes)
                made = part.off(name, far, 2) if whole(value) else part.off(name, off, least)
                yield replace(made, after=min(sizes))
        if whole(value) and measures(name) == "floor":
            yield replace(part.off(name, FAR, 1), after=value)


def _attention_scales(part: Part) -> Iterator[Off]:
    head = part.node.get("head_dim")
    for name, value in part.node.items():
        if not says(name, "attention scale") or not isinstance(value, int | float) or not value:
            continue
        if not whole(head):
            yield part.off(name, 2.0 * value)
            continue
        derived = float(head) if value > 1 else head**-0.5
        if abs(derived / value - 1) > 1e-3:
            yield part.off(name, type(value)(derived) if value > 1 else derived)


# --- factors, bounds, switches --------------------------------------------------------------------


def _factors(part: Part) -> Iterator[Off]:
    for name, value in part.node.items():
        if not says(name, "factor") or says(name, "no factor") or says(name, "attention scale"):
            continue
        if isinstance(value, int | float) and value not in (0, 1):
            yield part.off(name, 1.0, 7.0 * value)
        several = list(value) if isinstance(value, list | tuple) else []
        for place, one in enumerate(several):
            if isinstance(one, int | float) and one not in (0, 1):
                changed = [*several[:place], 1.0, *several[place + 1 :]]
                yield part.off(name, changed, more=f"[{place}]")


def _bounds(part: Part) -> Iterator[Off]:
    for name, value in part.node.items():
        if says(name, "bound") and isinstance(value, int | float) and 0 < value < FAR:
            yield replace(part.off(name, float(FAR), 1e-3), bound=True)


def _switches(part: Part) -> Iterator[Off]:
    for name, value in part.node.items():
        if value is True and says(name, "switch"):
            # With one expert a norm of the experts' weights acts most, if the class heeds it.
            one = {(*part.path, n): 1 for n in part.node if measures(n) == "top k"}
            extreme = one if "topk" in name else {}
            yield replace(part.off(name, False), switch=True, extreme=extreme)


def _by_layer(part: Part) -> Iterator[Off]:
    for name, value in part.node.items():
        if not says(name, "something of each layer") or not isinstance(value, list):
            continue
        if len({*map(str, value)}) > 1 and all(isinstance(one, int | float) for one in value):
            yield part.off(name, [value[0]] * len(value))


def _deepstack(part: Part) -> Iterator[Off]:
    for name, value in part.node.items():
        if "deepstack" in name and isinstance(value, list) and value:
            yield part.off(name, [])


def _own_sizes(part: Part) -> Iterator[Off]:
    """Sizes that some layers have for themselves."""
    own = mapping(part.node.get(BY_LAYER))
    for name in sorted({name for layer in own.values() for name in mapping(layer)}):
        values = {mapping(layer).get(name) for layer in own.values()} | {part.node.get(name)}
        if len({value for value in values if whole(value)}) > 1:
            left = {
                at: {key: value for key, value in mapping(layer).items() if key != name}
                for at, layer in own.items()
            }
            yield part.off(BY_LAYER, left, more=f".{name}")


# --- experts --------------------------------------------------------------------------------------

# Weights that act without a key of their own.
WEIGHTS = {
    "shared experts": r"\.shared_experts?\.",
    "the router's bias": r"\.(" + SAYS["router's bias"] + ")$",
}


def _groups(part: Part) -> Iterator[Off]:
    named = {n: v for n, v in part.node.items() if measures(n) in ("groups", "top groups")}
    if any(measures(n) == "groups" and whole(v) and v > 1 for n, v in named.items()):
        at = {(*part.path, name): 1 for name in named}
        yield Off(what=".".join((*part.path, next(iter(named)))), changes=at)


def _weights(part: Part) -> Iterator[Off]:
    if not part.path:
        yield from (Off(what=what, zeroed=names) for what, names in WEIGHTS.items())


PROBES: tuple[Probe, ...] = (
    Probe(sentence="RoPE scaling acts", offs=_scaling),
    Probe(sentence="RoPE scaling changes how fast pairs turn", offs=_frequencies),
    Probe(sentence="attention is scaled by position", offs=_growing_scale),
    Probe(sentence="each section of a head turns by its own axis", offs=_sections),
    Probe(sentence="a part of a head is rotated", offs=_partial),
    Probe(sentence="kinds of layers rotate differently", offs=_kinds_of_rotation),
    Probe(sentence="attention ends at its window", offs=_windows),
    Probe(sentence="attention has a scale that its head does not give", offs=_attention_scales),
    Probe(sentence="factors multiply", offs=_factors),
    Probe(sentence="bounds bound", offs=_bounds),
    Probe(sentence="switches switch", offs=_switches),
    Probe(sentence="layers differ where lists by layer do", offs=_by_layer),
    Probe(sentence="layers have sizes of their own", offs=_own_sizes),
    Probe(sentence="features of lower layers reach the text", offs=_deepstack),
    Probe(sentence="experts are chosen by group", offs=_groups),
    Probe(sentence="shared experts and the router's bias matter", offs=_weights),
)


# --- trying ---------------------------------------------------------------------------------------


ACTED, IDLE = "acts", "idle"
UNHEEDED = "its class does nothing with"  # whatever it is
BELOW = "nothing is near the bound of"
BEYOND = "no text here is so long that it acts:"
REFUSED = "its class refuses to be without"


class Refused(Exception):
    """The class cannot be made, or run, without a feature."""


class Derived(Exception):
    """The class makes this of other keys, whatever it is given."""


@dataclass(frozen=True)
class Trial:
    """Models made anew from the config, with the bundle's weights, on one batch."""

    subject: Subject

    @functools.cached_property
    def data(self) -> dict[str, Json]:
        return dict(self.subject.exact.config.to_dict())

    @functools.cached_property
    def facts(self) -> Facts:
        return Facts(self.subject.exact)

    @functools.cached_property
    def parts(self) -> list[Part]:
        nodes = [(path, mapping(self.data, path)) for path, _ in self.facts.nodes]
        long = _beyond([node for _, node in nodes])
        return [Part(path=path, node=node, length=long) for path, node in nodes]

    @functools.cached_property
    def weights(self) -> dict[str, Tensor]:
        return dict(self.subject.exact.state_dict())

    def model(self, changes: Mapping[Path, Json], zeroed: str = "") -> PreTrainedModel | None:
        """The model without a feature; None where it has other weights then."""
        from transformers.initialization import no_init_weights

        data, kind = copy.deepcopy(self.data), type(self.subject.exact)
        for path, value in changes.items():
            put(data, path, copy.deepcopy(value))
        config = type(self.subject.exact.config).from_dict(data)
        held = config.to_dict()
        if any(lists(get(held, path)) != lists(value) for path, value in changes.items()):
            raise Derived
        with no_init_weights():
            made = kind(config)
        weights = {
            name: value * 0 if zeroed and re.search(zeroed, name) else value
            for name, value in self.weights.items()
        }
        own = made.state_dict()
        if any(n not in weights or weights[n].shape != t.shape for n, t in own.items()):
            return None
        made.load_state_dict(weights, strict=False, assign=True)
        return made.eval()

    @functools.cached_property
    def batch(self) -> Batch:
        return _longer(self.subject, self.subject.exact_batch(), self.parts[0].length)

    @functools.cached_property
    def apart(self) -> Batch:
        """The batch with positions whose axes differ: an image's do by themselves."""
        import torch

        given = dict(self.batch)
        axes = max(len(rotation.sections(part.node)) for part in self.parts)
        if not any(name.endswith("grid_thw") for name in given) and "input_ids" in given:
            rows, count = given["input_ids"].shape[:2]
            place = torch.arange(count)
            places = torch.stack([place, *(place % (2 + axis) for axis in range(1, axes))])
            given["position_ids"] = places.unsqueeze(1).repeat(1, rows, 1)
        return given

    @functools.cached_property
    def _whole(self) -> tuple[Batch, reads.Reads]:
        with reads.recording() as seen:
            outputs = self._computed(self.batch)
        return outputs, seen

    @property
    def outputs(self) -> Batch:
        """Of the model with all features."""
        return self._whole[0]

    @property
    def read(self) -> reads.Reads:
        """The keys that the class reads when it is made and run."""
        return self._whole[1]

    @functools.cached_property
    def outputs_apart(self) -> Batch | None:
        """The same, of the batch whose positions have axes that differ; None where the class takes
        positions of one axis alone."""
        try:
            return self._computed(self.apart)
        except RuntimeError:
            return None

    def _computed(self, batch: Batch) -> Batch:
        made = self.model({})
        assert made is not None
        return self.subject.computed(batch, made)

    def how(self, off: Off) -> str:
        """ACTED, IDLE, or why it does not act here."""
        before = self.outputs_apart if off.apart else self.outputs
        if before is None:
            return UNHEEDED
        after = self.without(off.changes, off)
        if after is None or differ(before, after):
            return ACTED
        if off.switch:
            changed = any(not before[n].equal(after[n]) for n in before)
            return IDLE if changed and self._heeded(off) else UNHEEDED
        most = self.without(off.extreme, off) if off.extreme else None
        if off.extreme and most is not None and not differ(before, most):
            return UNHEEDED
        if off.after > MOST - MORE and self._wished(off):
            return BEYOND
        return BELOW if off.bound else IDLE

    def _wished(self, off: Off) -> bool:
        """Whether the recipe keeps what the source says, or says so itself."""
        wish, paths = self.subject.wish, [*off.changes]
        return wish.shrink == "none" or all(has(self.subject.overrides, at) for at in paths)

    def _heeded(self, off: Off) -> bool:
        """Whether a switch acts where it would act most; outputs that are normed have no scale."""
        if not off.extreme:
            return True
        on, out = (self.without({**off.extreme, **more}, off) for more in ({}, off.changes))
        return on is None or out is None or differ(on, out)

    def without(self, changes: Mapping[Path, Json], off: Off) -> Batch | None:
        """The outputs with these changes; None where the model has other weights then."""
        batch = self.apart if off.apart else self.batch
        try:
            made = self.model(changes, off.zeroed)
            return None if made is None else self.subject.computed(batch, made)
        except (Derived, MemoryError):
            raise
        except Exception as error:
            raise Refused from error

    def on(self) -> Iterator[Off]:
        """Every feature that the config switches on and the class reads."""
        objects = dict(self.facts.nodes)
        for part, off in _offs(self.parts):
            if off.zeroed:
                if any(re.search(off.zeroed, name) for name in self.weights):
                    yield off
            elif _key(part, off) in self.read.get(type(objects[part.path]), ()):
                yield off

    def lost(self) -> list[str]:
        """What the source's config switches on, and this one does not, where the recipe does not
        say so."""
        source = self.subject.source_config
        if source is None:
            return []
        data, objects = source.to_dict(), dict(self.facts.nodes)
        there = [
            replace(part, node=mapping(data, part.path))
            for part in self.parts
            if has(data, part.path)
        ]
        here = {off.what for _, off in _offs(self.parts)}
        return [
            off.what
            for part, off in _offs(there)
            if off.what not in here
            and not off.zeroed
            and _key(part, off) in self.read.get(type(objects[part.path]), ())
            and not has(self.subject.overrides, (*part.path, _key(part, off)))
        ]


def _offs(parts: Sequence[Part]) -> Iterator[tuple[Part, Off]]:
    for part, probe in itertools.product(parts, PROBES):
        for off in probe.offs(part):
            yield part, off


def _key(part: Part, off: Off) -> str:
    """The key of the part's config that switches a feature off."""
    return next(iter(off.changes))[len(part.path)]


def _beyond(nodes: Sequence[Data]) -> int:
    """More tokens than windows, original positions and the like hold."""
    held = [0]
    for node in nodes:
        ropes = [mapping(node, at) for at in rotation.places(node)]
        scaled = any(rope.get("rope_type") not in UNSCALED for rope in ropes)
        pooled = [n for n in mapping(node.get("compress_rates")).values() if whole(n)]
        held += [
            value * min(pooled, default=1)
            for data in (node, *(ropes if scaled else ()))
            for name, value in data.items()
            if whole(value) and measures(name) in ("window", "floor", "original positions")
        ]
        if any(rope.get("rope_type") == "dynamic" for rope in ropes):
            held += [v for v in (node.get(first(node, "positions") or ""),) if whole(v)]
    return MORE + max(value for value in held if value < MOST - MORE)


def _written(name: str, batch: Batch) -> bool:
    """Whether an argument goes with what a decoder writes: labels do, where there is one."""
    return name.startswith("decoder") or (name == "labels" and "decoder_input_ids" in batch)


def _longer(subject: Subject, batch: Batch, length: int) -> Batch:
    """A batch whose texts are longer, by plain tokens at the end; as it is, where the model does
    not take that."""
    import torch

    made = dict(batch)
    drawn = torch.Generator().manual_seed(subject.seed)
    for ids in ("input_ids", "decoder_input_ids"):
        if ids not in batch or batch[ids].dim() != 2 or batch[ids].shape[1] >= length:
            continue
        rows, count = batch[ids].shape
        for name, value in batch.items():
            of = isinstance(value, torch.Tensor) and value.shape[:2] == (rows, count)
            if (
                of
                and _written(name, batch) == _written(ids, batch)
                and (not value.is_floating_point() or "mask" in name)
            ):
                last = value[:, :1] if name == ids else value[:, -1:]
                more = last.repeat(1, length - count, *[1] * (value.dim() - 2))
                if name == ids:
                    more = renewed(name, torch.cat([value, more], 1), subject.special, drawn)[
                        :, count:
                    ]
                made[name] = torch.cat([value, more], 1)
    if made.keys() == batch.keys() and all(made[n] is batch[n] for n in made):
        return batch
    counts = [one["input_ids"].shape[1] for one in (batch, made) if "input_ids" in one]
    for more in (made, {**made, **(beside.longer(batch, *counts) if counts else {})}):
        try:
            subject.computed(more, subject.exact)
        except Exception:  # noqa: BLE001 - tables of positions, fixed lengths: a class's own
            continue
        return more
    return batch


@check("model")
def features_matter(subject: Subject) -> Result | None:
    """What the config switches on changes the outputs when it is switched off.

    RoPE scaling, rotary sections and parts, windows, scales, bounds, switches, shared experts,
    groups: a model is made anew from the config without the feature, with the same weights, and
    computes a batch whose text is longer than windows and original positions.
    """
    trial = Trial(subject)
    kinds = (ACTED, IDLE, UNHEEDED, BELOW, BEYOND, REFUSED)
    found: dict[str, list[str]] = {kind: [] for kind in kinds}
    for off in trial.on():
        try:
            how = trial.how(off)
        except Derived:
            continue
        except Refused:
            how = REFUSED
        found[how].append(off.what)
    acted, idle, lost = found.pop(ACTED), found.pop(IDLE), trial.lost()
    if not (acted or idle or lost or any(found.values())):
        return None
    faults = [f"nothing changes without {listed(idle)}"] if idle else []
    faults += [f"the source has {listed(lost)}, and this does not"] if lost else []
    notes = [f"{reason} {listed(names)}" for reason, names in found.items() if names]
    return Result.of(
        not faults,
        measured="; ".join(faults) or f"{len(acted)} features change the outputs",
        wanted="outputs that depend on every feature of the source",
        values={
            "features": len(acted) + len(idle),
            "acted": len(acted),
            "idle": len(idle),
            "lost": len(lost),
            "unheeded": len(found[UNHEEDED]),
            "below": len(found[BELOW]),
            "beyond": len(found[BEYOND]),
            "refused": len(found[REFUSED]),
        },
        note="; ".join(notes),
    )
