"""Sizes tried on the model class: as distinct as it takes them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tinybuild.config.distinct import NEEDED, Coincidence, Known, compared
from tinybuild.config.meta import refusable, tensors
from tinybuild.config.tree import DISTINCT, Alike, Barred, Tree
from tinybuild.errors import BuildFault
from tinybuild.feeding import inputs
from tinybuild.paths import Data, get, leaves, merge, put

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig, PreTrainedModel

TRIED = 6  # widths that are tried to differ where not all of them may
ASKED, AGAIN = 8, 16  # other sizes that are tried of one coincidence, of all


@dataclass(frozen=True, kw_only=True)
class Trial:
    """Changes to a source's config tried on the model class: what it makes of them, and whether
    that runs the batch of the rules' own answer (`tree`). given: the values of others, by who gave
    them."""

    model_class: type[PreTrainedModel]
    source: PreTrainedConfig
    given: Mapping[str, Data]
    small: Callable[[Data], PreTrainedConfig]
    seed: int
    tree: Tree

    def tensors(self, changes: Data) -> dict[str, torch.Tensor]:
        return tensors(self.model_class, self.small(changes))

    def shapes(self, changes: Data) -> dict[str, tuple[int, ...]] | None:
        """None where the class makes no model of it."""
        try:
            return {name: tuple(t.shape) for name, t in self.tensors(changes).items()}
        except BuildFault:
            return None

    def drawn(self, changes: Data) -> PreTrainedModel:
        import torch

        config = self.small(changes)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return refusable(lambda: self.model_class(config), self.model_class).eval()

    @functools.cached_property
    def batch(self) -> dict[str, torch.Tensor] | BuildFault:
        """Of the rules' answer: what halves the model and takes another is not tried."""
        try:
            return inputs.batch(self.drawn(self.tree.overrides), self.seed)
        except BuildFault as fault:
            return fault

    @property
    def runs(self) -> bool:
        """Whether the rules' answer takes a batch."""
        return not isinstance(self.batch, BuildFault)

    def works(self, changes: Data) -> bool:
        import torch

        given = self.batch
        if isinstance(given, BuildFault):
            return False
        try:
            model = self.drawn(changes)
            with torch.random.fork_rng(devices=[]), torch.no_grad():
                torch.manual_seed(self.seed)
                refusable(lambda: model(**given), self.model_class)
        except BuildFault:
            return False
        return True

    @functools.cached_property
    def met(self) -> Met | None:
        """What the rules' answer loses beside the source; None where that cannot be said."""
        told = {path: who for who, data in self.given.items() for path, _ in leaves(data)}
        reasons = {".".join(path): why for path, why in {**self.tree.reasons, **told}.items()}
        wished = merge({}, self.given["recipe"])
        for path, reason in self.tree.reasons.items():
            if reason.startswith("exception") and self.tree.was(path) is None:
                put(wished, path, get(self.tree.data, path))
        config = self.small(self.tree.overrides)
        try:
            found = compared(self.model_class, self.source, config, wished)
        except BuildFault:
            return None
        known = Known.of(reasons, found.source, config.to_dict())
        pairs = [one for one in found.coincidences if not known.why(one)]
        return Met(modules=len(found.lost) + len(found.gained), pairs=pairs, known=known)


@dataclass(frozen=True, kw_only=True)
class Met:
    """Sizes that met although they differ in the source, and nothing says why; and how many
    modules are lost or gained."""

    modules: int
    pairs: Sequence[Coincidence]
    known: Known

    @property
    def rank(self) -> tuple[int, int]:
        return self.modules, len(self.pairs)


Make = Callable[[Alike], Trial]


def distinct(trial_of: Make) -> Trial:
    """The trial whose sizes are as distinct as the class takes them.

    Where it makes no model of sizes that differ as the source's do, or none that takes a batch,
    the widths become the text's, and where that is not enough the other sizes of a config may
    coincide; then each width is tried to differ again, the towers' own first. What nothing helps
    stays distinct: the checks will say what is wrong.
    """
    first = trial_of(DISTINCT)
    if first.runs:
        return parted(first, trial_of)
    widths = first.tree.narrower_and_wider
    for alike in (Alike(widths=widths), Alike(widths=widths, parts=True)):
        best = trial_of(alike)
        if best.runs:
            break
    else:
        return first
    plain = best  # whose batch is one for other widths, too
    for was in sorted(widths, reverse=True)[:TRIED]:
        left = replace(best.tree.alike, widths=best.tree.alike.widths - {was})
        trial = trial_of(left)
        best = trial if plain.works(trial.tree.overrides) else best
    return parted(best, trial_of)


# --- what met is parted ---------------------------------------------------------------------------


def parted(trial: Trial, trial_of: Make) -> Trial:
    """The trial, or one like it in which fewer sizes met that differ in the source.

    Rules see the names of sizes; what a class makes of them (the width of a head, of a stem, joined
    neighbours) is seen in its tensors alone. A size that an axis may come from is barred from what
    it is, and the rules are asked once more, while there is less to part afterwards. Where the
    class takes no other size, its key says so.
    """
    tried = 0
    while tried < AGAIN and trial.met is not None and trial.met.pairs:
        better = None
        for pair in trial.met.pairs:
            refused = []
            for bar in [*_bars(trial.tree, pair)][: min(ASKED, AGAIN - tried)]:
                barred = trial.tree.alike.barred | {bar}
                other = trial_of(replace(trial.tree.alike, barred=barred))
                if other.tree.overrides == trial.tree.overrides:
                    continue
                tried += 1
                fewer = other.met is not None and other.met.rank < trial.met.rank
                if fewer and (trial.works(other.tree.overrides) or other.runs):
                    better = other
                    break
                refused.append(fewer or other.met is None)
            if better is not None:
                break
            if refused and all(refused):
                _say(trial, pair)
        if better is None:
            return trial
        trial = better
    return trial


def _bars(tree: Tree, pair: Coincidence) -> Iterator[Barred]:
    """The sizes that two equal ones may come from, the likeliest first: those that are as large and
    were so, then those that divide it, or that it divides; widths last, which others follow."""
    sizes = sorted(tree.sizes.items(), key=lambda item: item[0][1] == "width")
    exact = [(m, was, now) for (_, m, was), now in sizes if now == pair.now and was in pair.was]
    near = [
        (m, was, now)
        for (_, m, was), now in sizes
        if now > 1 and (m == "image side" or pair.now % now == 0 or now % pair.now == 0)
    ]
    yield from dict.fromkeys([*exact, *near])


def _say(trial: Trial, pair: Coincidence) -> None:
    """Say of the keys of a pair that the class takes no other size."""
    assert trial.met is not None
    for keys in trial.met.known.keys(pair):
        for path in keys:
            reason = trial.tree.reasons.get(path)
            if reason and NEEDED not in reason:
                trial.tree.reasons[path] = f"{reason}: {NEEDED}"
