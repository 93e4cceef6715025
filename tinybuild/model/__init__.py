"""A config becomes a model with random weights."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tinybuild.config import carry, heads, overrides, precision, reads, relations
from tinybuild.config.search import search
from tinybuild.config.shrink import shrink
from tinybuild.config.spread import SPREADS, chosen, spread
from tinybuild.config.tree import Tree
from tinybuild.errors import BuildFault, Fault, Finding
from tinybuild.feeding import inputs, processor
from tinybuild.files import pretty
from tinybuild.keys import is_id
from tinybuild.paths import merge
from tinybuild.workers import Job

LARGEST_SHOWN = 8
GATES = 0.25  # 2 / sqrt(64), as wide as a tiny model's other weights
TRIED = 4  # batches of prompts that a spread is tried on
CODES = 0.02  # standard deviation of code books, see _fill
Key = tuple[str | int, ...]


def make(job: Job) -> dict[str, Any]:
    """The model stage: config.json, generation_config.json, model.safetensors, processor files, and
    config_changes.json: what differs from the source's config, and why.

    Settings: model (the recipe's section), max_parameters. Inputs: fetch; of the tokenizer only the
    fact `ids`, so that another vocabulary of the same size leaves the model as it is.
    Facts: class, model_type, parameters, dtype, processor (its classes), modalities, vocab_size.
    Raises Fault.
    """
    import torch

    section, tokenizer = job.settings["model"], job.facts.get("tokenizer", {}).get("ids")
    folder = job.inputs["fetch"] / "source"
    kind, source = heads.choose(section.get("architecture", heads.AUTO), overrides.load(folder))
    small = resize(source, section, tokenizer, kind, job.seed)
    spreads = SPREADS if _tries(kind, section) else SPREADS[:1]
    best: tuple[float, Any] | None = None
    for wide in spreads:
        config, changes = small.spread(wide)
        with relations.explained(source, config, section["config"], ("model", "config")):
            parameters = measure(
                kind, config, job.settings["max_parameters"], source, section["config"]
            )
        with torch.random.fork_rng(devices=[]), reads.recording() as seen:
            torch.manual_seed(job.seed)
            model = _refusable(functools.partial(kind, config), kind)
            _fill(model)
        dtype = getattr(torch, section["dtype"])
        kept = precision.keeps(kind, config, dtype)
        precision.cast(model, dtype, kept)
        if model.can_generate():
            _generation(model, folder, tokenizer, section["config"])
        model.eval()
        batch = _batch(model, job.seed)
        _calibrate(model, batch, job.seed)
        different = _different(model, batch, job.seed) if len(spreads) > 1 else None
        if best is None or (different or 0.0) > best[0]:
            best = (different or 0.0, (config, changes, parameters, seen, model, batch, kept))
        if different in (None, 1.0):
            break
    assert best is not None
    config, changes, parameters, seen, model, batch, kept = best[1]
    _all_read(model, source, section["config"], seen, batch)
    precision.cast(model, dtype, kept)  # some classes convert their routers as they run
    try:
        model.save_pretrained(job.out)
    except ValueError as error:
        raise BuildFault.of(
            f"transformers refuses to save the model: {overrides.reason(error)}",
            key=("model", "config"),
        ) from None
    record = {"version": 1, "changes": changes}
    (job.out / "config_changes.json").write_text(pretty(record), encoding="utf-8")
    modalities = inputs.modalities(model)
    sensed = {"image", "video", "audio"} & {*modalities}
    files = _processor(model, folder, source, tokenizer) if sensed else {}
    processor.write(files, folder, job.out)
    return {
        "class": kind.__name__,
        "model_type": config.model_type,
        "parameters": parameters,
        "dtype": section["dtype"],
        "processor": processor.classes(files),
        "modalities": list(modalities),
        "vocab_size": getattr(heads.text_part(config), "vocab_size", None),
    }


def _tries(kind: Any, section: Mapping[str, Any]) -> bool:
    """Whether weights may be drawn more or less wide until the prompts matter to what is made."""
    auto = section.get("shrink") == "auto" and "initializer_range" not in section
    return auto and bool(kind.can_generate())


Batch = Callable[[], dict[str, Any] | None]


def _batch(model: Any, seed: int) -> Batch:
    """What a model is tried on, made once, when it is first asked for; None where no rule makes
    any: that is what the check `forward` finds."""

    @functools.cache
    def made() -> dict[str, Any] | None:
        try:
            return inputs.batch(model, seed)
        except BuildFault:
            return None

    return made


def _different(model: Any, made: Batch, seed: int) -> float | None:
    """The part of a model's greedy continuations that differ, of prompts that the check does not
    use; 0 where rounding decides them. None where there are none to compare."""
    import torch

    batch = made()
    if batch is None:
        return None
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        seen = inputs.tensors(model(**batch)).get("logits")
    batches = [batch]
    for number in range(1, TRIED):
        other = dict(batch)
        for sort in inputs.covered(model, batch):
            other = inputs.varied(model, other, sort, seed + number)
        batches.append(other)
    said = inputs.continued(model, batches, seed)
    if not said.parts:
        return None
    count, prompts, margin = inputs.verdict(said, seen)
    return count / prompts if count > 1 and margin >= inputs.MARGIN else 0.0


def _fill(model: Any) -> None:
    """Draw what its class leaves at zero: nothing would pass there, and all behind it were dead.

    Gates, projections, positions and norms that add one: as other weights are. Biases stay. Code
    books, which training fills: small ones, for the nearest of codes that are longer than what is
    looked up is the shortest code, whatever the input.
    """
    import torch

    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not parameter.any() and not name.endswith("bias"):
                parameter.normal_(std=GATES)
        saved = model.state_dict().keys()
        for name, buffer in model.named_buffers():
            code = name in saved and buffer.is_floating_point() and buffer.dim() >= 2
            if code and not buffer.any():
                buffer.normal_(std=CODES)


LEAST_VARIANCE = 0.1  # of a channel, in parts of its norm's mean


def _calibrate(model: Any, made: Batch, seed: int) -> None:
    """Give batch norms the statistics of one batch, as training would.

    With means of 0 and variances of 1 whatever the activations are, these vanish from layer to
    layer, and the last ones are the same for all inputs. Of the few numbers that a channel has in
    one batch some are equal by chance: divided by their variance, another batch's were huge.
    """
    import torch
    from torch.nn.modules.batchnorm import _BatchNorm

    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    batch = made() if norms else None
    if batch is None:
        return
    kept = [norm.momentum for norm in norms]
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        try:
            for norm in norms:
                norm.momentum = 1.0
                norm.train()
            _refusable(lambda: model(**batch), type(model))
        finally:
            for norm, momentum in zip(norms, kept, strict=True):
                norm.momentum = momentum
                norm.eval()
        for norm in norms:
            norm.running_var.clamp_(min=LEAST_VARIANCE * norm.running_var.mean())


def _all_read(
    model: Any, source: Any, wishes: Mapping[str, Any], seen: reads.Reads, made: Batch
) -> None:
    """Refuse overrides that no code of the model reads, neither made (`seen`) nor run."""
    import torch

    if not reads.unread(model.config, source, wishes, seen):
        return
    batch = made()
    if batch is None:
        return
    try:
        with reads.recording() as running, torch.no_grad():
            model(**batch)
    except Exception:  # noqa: BLE001 - a model that does not run is what the check `forward` finds
        return
    for kind, names in running.items():
        seen.setdefault(kind, set()).update(names)
    findings = _unread(model, source, wishes, seen)
    if findings:
        raise BuildFault(findings)


def _unread(model: Any, source: Any, wishes: Mapping[str, Any], seen: reads.Reads) -> list[Finding]:
    findings = []
    for path in reads.unread(model.config, source, wishes, seen):
        offers = reads.offers(model.config, path, seen)
        findings.append(
            Finding(
                what=f"{type(model).__name__} does not read {'.'.join(path)}",
                key=("model", "config", *path),
                hint=reads.expertless(model.config, path)
                or (f"did you mean {' or '.join(offers)}?" if offers else "leave it out"),
            )
        )
    return findings


@dataclass(frozen=True, kw_only=True)
class Resized:
    """A source's config made small, once. `small` makes a config of changes to the source's; `tree`
    are those of the rules and the search, None where the recipe wants none of them; `given` are the
    values of others, by who gave them."""

    source: Any
    small: Callable[[Mapping[str, Any]], Any]
    tree: Tree | None
    given: Mapping[str, Mapping[str, Any]]

    def spread(self, wide: float = SPREADS[0]) -> tuple[Any, list[dict[str, Any]]]:
        """The config, its weights drawn as `wide` as config.spread says; and each changed key with
        its values and its reason."""
        if self.tree is None:
            config = self.small({})
            return config, changed(self.source, config, self.given, {})
        deviations = spread(self.small(self.tree.overrides).to_dict(), wide=wide)
        config = self.small(merge(self.tree.overrides, deviations))
        given = {**self.given, "rule: spread": deviations}
        return config, changed(self.source, config, given, self.tree.reasons)


def resize(
    source: Any,
    section: Mapping[str, Any],
    tokenizer: Mapping[str, Any] | None,
    kind: Any,
    seed: int,
) -> Resized:
    """The source's config with the recipe's overrides, the tokenizer's sizes and ids, and made
    small by rule where the recipe says so. Raises BuildFault.
    """
    import torch

    wishes, implied = section["config"], dict[str, Any]()
    if tokenizer is not None:
        data = json.loads(source.to_json_string(use_diff=False))
        implied = merge(carry.sizes(data, tokenizer), carry.align(data, tokenizer, wishes))
    given = {"recipe": overrides.canonical(source, wishes), "tokenizer": implied}
    if "initializer_range" in section:
        deviations = chosen(source, section["initializer_range"])
        given["recipe: initializer_range"] = deviations
        implied = merge(deviations, implied)
    where = ("model", "config")

    def small(changes: Mapping[str, Any]) -> Any:
        made = relations.override(source, wishes, merge(changes, implied), where)
        made.dtype = getattr(torch, section["dtype"])
        return made

    tree = None
    if section.get("shrink") == "auto":
        relations.possible(source, wishes, where)
        relations.layers(section.get("layers"), given["recipe"], ("model",))
        fixed = merge(implied, given["recipe"])
        tree = shrink(source, fixed, section.get("size", "tiny"), section.get("layers"))
        vocabularies = set(tokenizer["sizes"].values()) if tokenizer else set[int]()
        _reduce(tree, section, kind, small, seed, vocabularies)
    return Resized(source=source, small=small, tree=tree, given=given)


GOAL = 480_000  # parameters of a tiny model beside its vocabulary: 1 MB in bfloat16, with names


def _reduce(
    tree: Tree,
    section: Mapping[str, Any],
    kind: Any,
    small: Callable[[Mapping[str, Any]], Any],
    seed: int,
    vocabularies: set[int],
) -> None:
    """Search for fewer parameters where the rules' answer has more than the recipe's goal.

    Without one a tiny model has GOAL beside its vocabulary's rows, which is an aim and no bound.
    Where the rules' answer takes no batch, nothing can be tried (and the check `forward` will say
    so). Raises BuildFault when the recipe's own goal is not reached.
    """
    width = 4 if section["dtype"] == "float32" else 2
    wanted = [section["max_parameters"]] if "max_parameters" in section else []
    wanted += [section["max_bytes"] // width] if "max_bytes" in section else []
    if not wanted and section.get("size", "tiny") != "tiny":
        return
    goal = min(wanted, default=GOAL)

    def shapes(changed: Mapping[str, Any]) -> dict[str, tuple[int, ...]] | None:
        try:
            tensors = dict(_on_meta(kind, small(changed)).named_parameters())
        except BuildFault:
            return None
        found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        if wanted:
            return found
        return {n: shape for n, shape in found.items() if not vocabularies & set(shape)}

    @functools.cache
    def batch() -> dict[str, Any] | BuildFault:
        """Of the rules' answer: what halves the model and takes another is not tried."""
        try:
            return inputs.batch(_drawn(kind, small(tree.overrides), seed), seed)
        except BuildFault as fault:
            return fault

    def works(changed: Mapping[str, Any]) -> bool:
        given = batch()
        if isinstance(given, BuildFault):
            return False
        try:
            model = _drawn(kind, small(changed), seed)
            with torch.random.fork_rng(devices=[]), torch.no_grad():
                torch.manual_seed(seed)
                _refusable(lambda: model(**given), kind)
        except BuildFault:
            return False
        return True

    import torch

    reached = search(tree, goal, shapes, works)
    if wanted and reached is not None and reached > goal:
        tensors = dict(_on_meta(kind, small(tree.overrides)).named_parameters())
        key = ("model", "max_parameters" if "max_parameters" in section else "max_bytes")
        given = batch()
        untried = given.findings if isinstance(given, BuildFault) else ()
        large = Finding(
            what=f"the smallest model found has {reached:,} parameters; the recipe wants {goal:,}\n"
            + _table(tensors, reached),
            key=key,
            hint="set the keys that these tensors come from in model.config, or raise the goal",
        )
        why = "nothing smaller than the rules' answer was tried, for it takes no batch: "
        raise BuildFault([large, *(replace(f, what=why + f.what, key=key) for f in untried)])


def _drawn(kind: Any, config: Any, seed: int) -> Any:
    """A model with weights as its class draws them, to be tried."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _refusable(lambda: kind(config), kind).eval()


def changed(
    source: Any,
    config: Any,
    given: Mapping[str, Mapping[str, Any]],
    reasons: Mapping[tuple[str, ...], str],
) -> list[dict[str, Any]]:
    """Each key in which two configs differ, sorted: key (dotted), from, to, reason.

    The reason is who gave the value (`given`: recipe, tokenizer), the rule by name, the search, an
    exception, or "derived": the class makes it of others. What a sub-config has because the recipe
    gave it another type says so.
    """
    before, after = (json.loads(c.to_json_string(use_diff=False)) for c in (source, config))
    found = []

    def why(path: tuple[str, ...]) -> str:
        other = ""
        for name, tree in given.items():
            node: Any = tree
            for key in path:
                node = node.get(key) if isinstance(node, Mapping) else None
                if isinstance(node, Mapping) and "model_type" in node:
                    other = f"{name}: another model_type"
            if node is not None:
                return name
        rule = next((reasons[path[:n]] for n in range(len(path), 0, -1) if path[:n] in reasons), "")
        return rule or other

    def walk(path: tuple[str, ...], old: Any, new: Any) -> None:
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            for name in sorted({*old, *new}):
                walk((*path, name), old.get(name), new.get(name))
        elif old != new and (path[-1] not in overrides.OURS or why(path) == "recipe"):
            reason = why(path) or "derived"
            found.append({"key": ".".join(path), "from": old, "to": new, "reason": reason})

    walk((), before, after)
    return found


def measure(kind: Any, config: Any, most: int, source: Any, wishes: Mapping[str, Any]) -> int:
    """The number of parameters, counted on the meta device before any memory is taken.

    Raises BuildFault with a table of the largest tensors when there are more than `most`, and with
    the sizes among the wishes (on `source`) that were not read on the way: one may be mistyped.
    """
    with reads.recording() as seen:
        model = _on_meta(kind, config)
    tensors = dict(model.named_parameters())
    count = int(sum(tensor.numel() for tensor in tensors.values()))
    if count > most:
        large = Finding(
            what=f"the model would have {count:,} parameters; at most {most:,} are allowed\n"
            + _table(tensors, count),
            key=("model",),
            hint="make the keys smaller that these tensors come from (model.config), "
            "or raise checks.max_parameters",
        )
        sizes = [
            finding
            for finding in _unread(model, source, wishes, seen)
            if isinstance(_value(wishes, finding.key[2:]), int)
        ]
        raise BuildFault([large, *sizes])
    return count


def _value(data: Any, path: Key) -> Any:
    for name in path:
        data = data[name]
    return data


def _on_meta(kind: Any, config: Any) -> Any:
    """The model without memory. Raises BuildFault for a config that makes none."""
    import torch
    from transformers.initialization import no_init_weights

    with torch.device("meta"), no_init_weights():
        model = _refusable(lambda: kind(config), kind)
        model.tie_weights()  # no_init_weights leaves it out, and would count them twice
    return model


def _table(tensors: Mapping[str, Any], count: int) -> str:
    """The largest tensors, those of repeated layers in one line."""
    import re

    groups: dict[tuple[str, tuple[int, ...]], int] = {}
    for name, tensor in tensors.items():
        group = (re.sub(r"\.\d+(?=\.|$)", ".*", name), tuple(tensor.shape))
        groups[group] = groups.get(group, 0) + 1
    sizes = {}
    for (name, shape), number in groups.items():
        each = 1
        for axis in shape:
            each *= axis
        sizes[name, shape] = each * number
    lines = []
    for (name, shape), total in sorted(sizes.items(), key=lambda item: (-item[1], item[0]))[
        :LARGEST_SHOWN
    ]:
        number = groups[name, shape]
        times = f"{number} x " if number > 1 else ""
        lines.append(
            f"    {total:>18,}  {100 * total / count:4.1f} %  {name}  {times}{list(shape)}"
        )
    return "\n".join(lines)


def _refusable(build: Any, kind: Any) -> Any:
    """Build a model; what its class refuses becomes a fault."""
    try:
        return build()
    except (ValueError, TypeError, AssertionError, KeyError, ZeroDivisionError) as error:
        raise _refused(kind, error) from None
    except (RuntimeError, AttributeError, IndexError, ImportError) as error:
        raise _refused(kind, error) from None


def _refused(kind: Any, error: Exception) -> Fault:
    if isinstance(error, ImportError):
        return heads.absent(kind.__name__, error)
    return BuildFault.of(
        f"{kind.__name__} cannot be made from this config: "
        f"{type(error).__name__}: {overrides.reason(error)}",
        key=("model", "config"),
        hint="sizes that depend on one another may disagree (width, heads, layers, ids)",
    )


def _processor(
    model: Any, folder: Any, source: Any, tokenizer: Mapping[str, Any] | None
) -> dict[str, dict[str, Any]]:
    """The source's processor files in line with the model and the tokenizer's ids."""
    files = processor.read(folder)
    if tokenizer is not None:
        for name, data in files.items():
            named = {key: value for key, value in data.items() if key.endswith("_token_id")}
            new = carry.align(named, tokenizer, {}, model.config.to_dict())
            files[name] = {**data, **new}
    before = json.loads(source.to_json_string(use_diff=False))
    return processor.fit(files, before, model.config.to_dict(), model)


def _generation(
    model: Any, folder: Any, tokenizer: Mapping[str, Any] | None, wishes: Mapping[str, Any]
) -> None:
    """The source's generation config, its ids brought in line like the config's."""
    from transformers import GenerationConfig

    path = folder / "generation_config.json"
    if not path.is_file():
        own = model.generation_config  # made by the class from the config, whose ids are right
        known = [getattr(own, name, None) for name in ("decoder_start_token_id", "bos_token_id")]
        start = known == [None, None]
        if model.config.is_encoder_decoder and start:
            # As T5's family does. Some generation configs have ids of their own alone.
            own.decoder_start_token_id = getattr(own, "pad_token_id", None)
        return
    try:
        generation = GenerationConfig.from_pretrained(folder)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        why = overrides.reason(error).replace(f"{folder}/", "")
        raise BuildFault.of(
            f"transformers refuses the source's generation_config.json: {why}", key=("source",)
        ) from None
    data = {name: value for name, value in generation.to_dict().items() if value is not None}
    if tokenizer is not None:
        fallback = model.config.to_dict()
        for name, value in carry.align(data, tokenizer, wishes, fallback).items():
            setattr(generation, name, value)
    for name, value in wishes.items():
        if is_id(name) and name in data:
            setattr(generation, name, value)
    model.generation_config = generation
