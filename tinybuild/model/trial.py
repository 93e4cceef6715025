"""Sizes tried on the model class: as distinct as it takes them."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tinybuild.config.distinct import NEEDED, Coincidence, Known, compared
from tinybuild.config.meta import Shapes, count, refusable, shapes, tensors
from tinybuild.config.tree import DISTINCT, Alike, Tree
from tinybuild.errors import BuildFault
from tinybuild.feeding import inputs
from tinybuild.paths import Data, Path, get, leaves, merge, put

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig, PreTrainedModel

MOST = 50_000_000  # parameters that are drawn only to try sizes, however many a recipe allows
TRIED = 6  # widths that are tried to differ where not all of them may
EACH, AGAIN = 3, 24  # other values that are tried of one size, of all


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

    def shapes(self, changes: Data) -> Shapes | None:
        """None where the class makes no model of it."""
        try:
            return shapes(self.model_class, self.small(changes))
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
        """Of the rules' answer: what halves the model and takes another is not tried, and neither
        is a model of more than MOST parameters, whose size is refused later or was asked for."""
        try:
            count(self.model_class, self.small(self.tree.overrides), MOST, self.source, {})
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

    def parts(self, changes: Data) -> bool:
        """Whether no more axes of tensors are equal than of the tree as it is now."""
        now, then = (self.axes(each) for each in (self.tree.overrides, changes))
        return then <= now

    def axes(self, changes: Data) -> int:
        """How many axes are equal that differ in the source; none where that cannot be said."""
        said = repr(changes)
        if said not in self._axes:
            try:
                found = compared(self.model_class, self.source, self.small(changes))
                self._axes[said] = len(found.axes) + len(found.layers)
            except BuildFault:
                self._axes[said] = 0
        return self._axes[said]

    @functools.cached_property
    def _axes(self) -> dict[str, int]:
        """What `axes` has said, by the text of the changes: a search asks again and again."""
        return {}

    @functools.cached_property
    def met(self) -> Met | None:
        """What the rules' answer loses beside the source; None where that cannot be said."""
        told = {path: who for who, data in self.given.items() for path, _ in leaves(data)}
        reasons = {".".join(path): why for path, why in {**self.tree.reasons, **told}.items()}
        wished = merge({}, self.given["recipe"])
        for path, reason in self.tree.reasons.items():
            if reason.startswith("exception") and self.tree.was(path) is None:
                put(wished, path, get(self.tree.data, path))
        try:
            config = self.small(self.tree.overrides)
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
    class takes no other size, its key says so. Modules that are there for some widths alone are
    looked for likewise.
    """
    left = AGAIN
    while trial.met is not None and left > 0:
        for pair in [*[None] * bool(trial.met.modules), *trial.met.pairs]:
            tries = list(itertools.islice(_others(trial, trial_of, pair), left))
            left -= len(tries)
            if tries and tries[-1].parts:
                trial = tries[-1].trial
                break
            if pair and tries and all(one.refused for one in tries):
                _say(trial, pair)
        else:
            break
    return trial


@dataclass(frozen=True, kw_only=True)
class Other:
    """A trial with another size. parts: it runs, and there is less to part than before. refused:
    the class makes nothing of it, or nothing that runs."""

    trial: Trial
    parts: bool
    refused: bool


def _others(trial: Trial, trial_of: Make, pair: Coincidence | None) -> Iterator[Other]:
    """Trials in which one of the sizes that a pair may come from is another (without a pair: one of
    the widths), up to the first that parts something."""
    assert trial.met is not None
    for path, measured, was in _sources(trial.tree, pair):
        last = trial
        for _ in range(EACH):
            bar = (measured, was, last.tree.sizes[path, measured, was])
            alike = last.tree.alike
            made = trial_of(replace(alike, barred=alike.barred | {bar}))
            if made.tree.overrides == last.tree.overrides:
                break
            last, met = made, made.met
            fewer = met is not None and met.rank < trial.met.rank
            runs = fewer and (trial.works(made.tree.overrides) or made.runs)
            yield Other(trial=made, parts=runs, refused=met is None or (fewer and not runs))
            if runs:
                return
            if pair and met is not None and str(pair) in map(str, met.pairs):
                break  # it comes from something else


def _sources(tree: Tree, pair: Coincidence | None) -> Sequence[tuple[Path, str, int]]:
    """The sizes that two equal ones may come from, the likeliest first: those that are as large and
    were so, then those that divide it, or that it divides; widths later, the text's last."""
    if pair is None:
        widths = [size for size, now in tree.sizes.items() if size[1] == "width" and now > 1]
        return [size for size in widths if tree.sizes[size] != tree.size.width]
    made = []
    for (path, measured, was), now in tree.sizes.items():
        exact = now == pair.now and was in pair.was
        near = now > 1 and (pair.now % now == 0 or now % pair.now == 0)
        if exact or near or measured in ("image side", "width factor"):
            wide = measured == "width"
            rank = (wide and now == tree.size.width, not exact, wide)
            made.append((rank, (path, measured, was)))
    return [size for _, size in sorted(made, key=lambda one: one[0])]


def _say(trial: Trial, pair: Coincidence) -> None:
    """Say of the keys of a pair that the class takes no other size."""
    assert trial.met is not None
    for keys in trial.met.known.keys(pair):
        for path in keys:
            reason = trial.tree.reasons.get(path)
            if reason and NEEDED not in reason:
                trial.tree.reasons[path] = f"{reason}: {NEEDED}"
