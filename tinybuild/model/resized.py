"""The source's config becomes the model's: overrides, the tokenizer's sizes and ids, the rules."""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tinybuild.config import backbones, carry, heads, overrides, precision, relations
from tinybuild.config.completed import complete, left_open
from tinybuild.config.distinct import FAR
from tinybuild.config.found import named_only
from tinybuild.config.meta import Shapes, table
from tinybuild.config.search import search
from tinybuild.config.shrink import shrink
from tinybuild.config.sizes import sized
from tinybuild.config.spread import SPREADS, chosen, spread
from tinybuild.config.tree import Alike, Tree
from tinybuild.errors import BuildFault, Finding
from tinybuild.facts import Ids
from tinybuild.keys import SPLIT, configs, numbers, parallel, vocabulary
from tinybuild.model.trial import Trial, distinct
from tinybuild.paths import Data, Json, Path, differences, get, merge, whole
from tinybuild.sections import Model

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig, PreTrainedModel

GOAL = 490_000  # parameters of a tiny model with a vocabulary of ROWS: 1 MB in bfloat16, with names
ROWS = 500
WHERE = ("model", "config")
CLASSIFIED = "sequence-classification"


@dataclass(frozen=True, kw_only=True)
class Change:
    """A key (dotted) in which the config differs from the source's, its values, and why."""

    key: str
    from_: Json
    to: Json
    reason: str


@dataclass(frozen=True, kw_only=True)
class Resized:
    """A source's config made small, once. `small` makes a config of changes to the source's; `tree`
    are those of the rules and the search, None where the recipe wants none of them; `given` are the
    values of others, by who gave them; `named` says why a config of a backbone took another's
    place; `batch` is what the model was tried on, if it was."""

    source: PreTrainedConfig
    small: Callable[[Data], PreTrainedConfig]
    tree: Tree | None
    given: Mapping[str, Data]
    named: Mapping[Path, str]
    batch: Mapping[str, torch.Tensor] | None = None

    @functools.cached_property
    def usual(self) -> PreTrainedConfig:
        """The config of the usual spread, to look at: nothing is made of it."""
        return self.spread()[0]

    @property
    def unsaid(self) -> bool:
        """Whether the rules are asked and no config of the tree says how wide weights are drawn."""
        return self.tree is not None and not spread(self.small(self.tree.overrides).to_dict())

    def spread(self, wide: float = SPREADS[0]) -> tuple[PreTrainedConfig, list[Change]]:
        """The config, its weights drawn as `wide` as config.spread says; and each changed key."""
        if self.tree is None:
            config = self.small({})
            return config, changes(self.source, config, self.given, {})
        deviations = spread(self.small(self.tree.overrides).to_dict(), wide=wide)
        config = self.small(merge(self.tree.overrides, deviations))
        given = {**self.given, "rule: spread": deviations}
        return config, changes(self.source, config, given, {**self.named, **self.tree.reasons})


def resize(
    source: PreTrainedConfig,
    section: Model,
    tokenizer: Ids | None,
    model_class: type[PreTrainedModel],
    seed: int,
) -> Resized:
    """The source's config with the recipe's overrides, the tokenizer's sizes and ids, and made
    small by rule where the recipe says so. Raises BuildFault.
    """
    import torch

    dtype, original = getattr(torch, section["dtype"]), source
    source, named, left = _own(source, section)
    wishes, implied = section["config"], dict[str, Json]()
    if tokenizer is not None:
        data = json.loads(source.to_json_string(use_diff=False))
        # A batch of texts to classify is read at each one's last token: which are not, pad says.
        padded = model_class.__name__ in {*heads.table(CLASSIFIED).values()}
        ids = carry.align(data, tokenizer, wishes, padded=padded)
        implied = merge(carry.sizes(data, tokenizer), ids)
    given: dict[str, Data] = {
        "recipe": overrides.canonical(source, wishes),
        "tokenizer": implied,
        "rule: left open in the source": left,
    }
    if "initializer_range" in section:
        deviations = chosen(source, section["initializer_range"])
        given["recipe: initializer_range"] = deviations
        implied = merge(deviations, implied)

    made: dict[str, PreTrainedConfig] = {}

    def small(changes: Data) -> PreTrainedConfig:
        # The same few answers are asked for again and again: a tenth of a second for many keys.
        said = repr(changes)
        if said not in made:
            config = relations.override(source, wishes, merge(changes, implied), WHERE)
            precision.tell(config, dtype, None)
            made[said] = config
        return copy.deepcopy(made[said])

    tree, batch = None, None
    if section["shrink"] == "auto":
        _can_be(source, section)
        fixed = merge(implied, given["recipe"])

        size = sized(section["size"], section.get("tensor_parallel"))

        def trial_of(alike: Alike) -> Trial:
            tree = shrink(source, fixed, size, section.get("layers"), alike)
            return Trial(
                model_class=model_class,
                source=original,
                given=given,
                small=small,
                seed=seed,
                tree=tree,
            )

        trial = distinct(trial_of)
        tree = trial.tree
        _reduce(trial, section, {*tokenizer.sizes.values()} if tokenizer else set())
        _split(small(tree.overrides).to_dict(), section)
        searched = "search" in tree.reasons.values()
        batch = None if searched or isinstance(trial.batch, BuildFault) else trial.batch
    return Resized(source=original, small=small, tree=tree, given=given, named=named, batch=batch)


def possible(source: PreTrainedConfig, section: Model) -> None:
    """Raises BuildFault for what a section asks of a source's config that cannot be, as far as that
    shows without a tokenizer and without a model."""
    source, *_ = _own(source, section)
    if section["shrink"] == "auto":
        _can_be(source, section)
    else:
        relations.override(source, section["config"], {}, WHERE)


def _own(
    source: PreTrainedConfig, section: Model
) -> tuple[PreTrainedConfig, Mapping[Path, str], Data]:
    """The source's config as it is built from, why a config of a backbone took another's place, and
    what was left open. Raises BuildFault."""
    left, named = left_open(source, section["config"]), dict[Path, str]()
    source = complete(source, left)
    if section["shrink"] == "auto":
        source, told = backbones.own(source, section["config"])
        named.update(told)
    for path, repository in backbones.repositories(source):
        raise named_only(path, repository)
    return source, named, left


def _can_be(source: PreTrainedConfig, section: Model) -> None:
    wishes = section["config"]
    relations.possible(source, wishes, WHERE)
    asked = overrides.canonical(source, wishes)
    relations.layers(section.get("layers"), source.to_dict(), asked, ("model",))


def _split(config: Data, section: Model) -> None:
    """Raises BuildFault where a model cannot be split on as many devices as the recipe wants."""
    degree = section.get("tensor_parallel", 1)
    left = [
        f"{'.'.join((*path, name))} ({number})"
        for path, node in configs(config)
        for name, number in numbers(node, *SPLIT)
        if number % degree
    ]
    rows = vocabulary(config)
    if left:
        most = parallel(config)
        raise BuildFault.of(
            f"tensor_parallel ({degree}) does not divide {', '.join(left)}: at most as many as in "
            "the source",
            key=("model", "tensor_parallel"),
            hint=f"tensor_parallel: {most}" if most > 1 else "leave tensor_parallel out",
        )
    if whole(rows) and rows % degree:
        raise BuildFault.of(
            f"tensor_parallel ({degree}) does not divide the vocabulary ({rows})",
            key=("model", "tensor_parallel"),
            hint=f"tokenizer.pad_to_multiple_of: {degree}",
        )


def _reduce(trial: Trial, section: Model, vocabularies: set[int]) -> None:
    """Search for fewer parameters where the rules' answer has more than the recipe's goal.

    Without one a tiny model has GOAL with ROWS of its vocabulary, an aim and not a bound: how many
    more rows there are changes nothing else.
    Where the rules' answer takes no batch, nothing can be tried (and the check `forward` will say
    so). Raises BuildFault when the recipe's own goal is not reached.
    """
    width = 4 if section["dtype"] == "float32" else 2
    wanted = [int(section["max_parameters"])] if "max_parameters" in section else []
    wanted += [int(section["max_bytes"]) // width] if "max_bytes" in section else []
    if not wanted and section["size"] != "tiny":
        return
    goal = min(wanted, default=GOAL)

    seen: dict[str, Shapes | None] = {}

    def shapes(changes: Data) -> Shapes | None:
        said = repr(changes)
        if said not in seen:
            seen[said] = trial.shapes(changes)
        made = seen[said]
        if made is None or wanted:
            return made
        return {
            name: tuple(min(n, ROWS) if n in vocabularies else n for n in shape)
            for name, shape in made.items()
        }

    def apart(changes: Data) -> bool:
        return trial.works(changes) and trial.parts(changes)

    reached = search(trial.tree, goal, shapes, apart, narrow=bool(wanted))
    if reached is not None and reached > goal:  # only then axes of tensors become equal, too
        tree, before = trial.tree, copy.deepcopy(trial.tree.data)
        reached = search(tree, goal, shapes, trial.works, narrow=bool(wanted))
        for path, why in [*tree.reasons.items()]:
            if get(tree.data, path) != get(before, path) and FAR not in why:
                tree.reasons[path] = f"{why}: {FAR}"
    if wanted and reached is not None and reached > goal:
        key = ("model", "max_parameters" if "max_parameters" in section else "max_bytes")
        large = Finding(
            what=f"the smallest model found has {reached:,} parameters; the recipe wants {goal:,}\n"
            + table(trial.tensors(trial.tree.overrides), reached),
            key=key,
            hint="set the keys that these tensors come from in model.config, or raise the goal",
        )
        untried = trial.batch.findings if isinstance(trial.batch, BuildFault) else ()
        why = "nothing smaller was tried, because the model that the rules make takes no batch: "
        raise BuildFault([large, *(replace(f, what=why + f.what, key=key) for f in untried)])


def changes(
    source: PreTrainedConfig,
    config: PreTrainedConfig,
    given: Mapping[str, Data],
    reasons: Mapping[Path, str],
) -> list[Change]:
    """Each key in which two configs differ, sorted.

    The reason is who gave the value (`given`: recipe, tokenizer), the rule by name, the search, an
    exception, or "derived": the class makes it of others. What a sub-config has because the recipe
    gave it another type says so.
    """
    said = copy.deepcopy(config)
    precision.tell(said, config.dtype, config.dtype)
    before, after = (json.loads(c.to_json_string(use_diff=False)) for c in (source, said))
    made = []
    for path, old, new in differences(before, after):
        reason = _given(path, given) or _ruled(path, reasons) or _retyped(path, given)
        reason = "recipe: dtype" if path[-1] in precision.DTYPES else reason
        if path[-1] not in overrides.OURS or reason == "recipe":
            key, reason = ".".join(path), reason or "derived"
            made.append(Change(key=key, from_=old, to=new, reason=reason))
    return made


def _given(path: Path, given: Mapping[str, Data]) -> str:
    return next((name for name, tree in given.items() if get(tree, path) is not None), "")


def _ruled(path: Path, reasons: Mapping[Path, str]) -> str:
    return next((reasons[path[:n]] for n in range(len(path), 0, -1) if path[:n] in reasons), "")


def _retyped(path: Path, given: Mapping[str, Data]) -> str:
    """Who gave a config around the key another model_type."""
    retyped = ""
    for name, tree in given.items():
        for end in range(1, len(path) + 1):
            around = get(tree, path[:end])
            if isinstance(around, Mapping) and "model_type" in around:
                retyped = f"{name}: another model_type"
    return retyped
