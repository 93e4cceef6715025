"""Which of the candidates the real model takes: tried in a fixed order, a bounded number."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from tinybuild.errors import BuildFault, Finding, first_line
from tinybuild.feeding import Given, Tensor
from tinybuild.feeding.inputs import labels, text
from tinybuild.feeding.inputs.attempt import Attempt, attempt
from tinybuild.feeding.inputs.candidates import Option, Probe, shared
from tinybuild.feeding.inputs.draw import ROWS, Draw
from tinybuild.feeding.inputs.facts import Facts
from tinybuild.feeding.inputs.forms import Form, arguments, forms
from tinybuild.feeding.inputs.senses import SENSES, Sense, senses, states

MOST_TRIES = 80  # combinations of candidates
MOST_LABELS = 20
MOST_PLACES = 4096  # of features in a row of text
FEW = 6  # combinations tried with a text of another form
NUMBERS = (  # what models say when features and places differ: the number of features
    re.compile(r"features:? (\d+)"),
    re.compile(r"value tensor of shape \[(\d+)"),
    re.compile(r"tokens from \w+ \((\d+)\)"),
    re.compile(r"source tensor .*?(\d+)"),
)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A model, what it takes, and what was tried.

    taken: the argument of each modality. parts: the candidates for each argument but the text.
    tries: grows by what came of each combination of these. failures: what the model's feature
    methods raised.
    """

    facts: Facts
    draw: Draw
    taken: Mapping[str, Sense]
    parts: Sequence[Sequence[Option]]
    failures: Sequence[BaseException]
    tries: list[Attempt] = field(default_factory=list)

    @classmethod
    def of(cls, facts: Facts, draw: Draw, without: Collection[str]) -> Trial:
        """A trial of all modalities but some."""
        taken = {name: sense for name, sense in senses(facts).items() if name not in without}
        arguments = {sense.argument for sense in taken.values()}
        others = [SENSES[n] for n in facts.required() if n in SENSES and n not in arguments]
        wanted = [
            *taken.values(),
            *(replace(sense, modality="") for sense in others),  # a second view of a modality
            *states(facts, taken),
        ]
        failures: list[BaseException] = []
        parts = [
            Probe(facts=facts, draw=draw, sense=sense, failures=failures).options()
            for sense in wanted
            if sense.candidates is not None
        ]
        return cls(facts=facts, draw=draw, taken=taken, parts=parts, failures=failures)

    def order(self) -> Iterator[tuple[tuple[Option, ...], Form]]:
        """All that is tried: the plain form of text with many combinations, then other forms with
        FEW, those that came farthest."""
        combinations = list(itertools.islice(_ordered(self.parts), MOST_TRIES))
        others = forms(self.facts, self.taken)
        form = next(others)
        for combination in combinations:
            yield combination, form
            if self._worked() > 1:  # but not with finite outputs: another form may
                break
        order = sorted(range(len(self.tries)), key=lambda number: -self.tries[number].far)
        for form in others:
            # A sound of which no id goes on has to be of another shape than one left aside.
            for number in order[: None if form.heard else 1 if self._worked() else FEW]:
                yield combinations[number], form
        if {"image", "video"} <= {*self.taken}:  # some take one of them at a time
            for number in order[:FEW]:
                yield tuple(one for one in combinations[number] if one.modality != "video"), Form()

    def _worked(self) -> int:
        return sum(one.error is None for one in self.tries)

    def attempt(self, options: tuple[Option, ...], form: Form) -> Attempt:
        """What the model makes of a combination.

        Where it complains of the number of places for features, each medium in turn gets the number
        that it names, and keeps it where forward then comes farther or complains of something else.
        (No method computes the features, or one that computes others than forward's.)
        """
        made = attempt(self.facts.model, arguments(self.facts, self.draw, options, form))
        left = [option for option in options if option.counts is not None]
        while left and made.error is not None:
            said = next((m for pattern in NUMBERS if (m := pattern.search(str(made.error)))), None)
            if said is None or not 0 < int(said[1]) <= MOST_PLACES * ROWS:
                break
            for option in left:
                counted = replace(option, counts=shared(int(said[1])))
                changed = tuple(counted if one is option else one for one in options)
                again = attempt(self.facts.model, arguments(self.facts, self.draw, changed, form))
                other = again.far == made.far and str(again.error) != str(made.error)
                if again.error is None or again.far > made.far or other:
                    options, made = changed, again
                    left = [one for one in left if one is not option]
                    break
            else:
                break
        return made

    def idle(self, made: Attempt, options: Sequence[Option]) -> int:
        """How many media no output depends on: other numbers there change nothing.

        A model may take what it then leaves aside: the waveform beside the codes made of it, or an
        image whose places a video takes over.
        """
        import torch

        count = 0
        for option in options:
            name = self.taken[option.modality].argument if option.modality in text.MEDIA else ""
            value = made.given.get(name)
            if not isinstance(value, torch.Tensor) or not value.is_floating_point():
                continue
            other = self.draw.normal(f"{name}.other", *value.shape).to(value.dtype)
            again = attempt(self.facts.model, {**made.given, name: other})
            count += again.error is None and all(
                key in again.outputs and torch.equal(again.outputs[key], tensor)
                for key, tensor in made.outputs.items()
            )
        return count

    def labelled(self, made: Attempt) -> dict[str, Tensor]:
        """What the model took, with the first labels, if any, that make a finite loss.

        Labels with a loss of exactly 0 come last: the model is right already, and sure of it, so
        there is nothing to learn.
        """
        learnt: Given = {}
        if made.loss is not None:
            return dict(made.given)
        for some in itertools.islice(labels.labels(self.facts, self.draw, made), MOST_LABELS):
            loss = attempt(self.facts.model, {**made.given, **some}).loss
            if loss is not None and bool(loss.any()):
                return {**made.given, **some}
            if loss is not None:
                learnt = learnt or some
        return {**made.given, **learnt}

    def failed(self) -> BuildFault:
        """What is said when nothing worked: the error of the try that came farthest."""
        tries = sorted(self.tries, key=lambda one: -one.far)
        errors = [*(one.error for one in tries if one.error is not None), *self.failures]
        what = f"no rule makes inputs for {type(self.facts.model).__name__}"
        for error in errors[:1]:
            said = f"{type(error).__name__}: {first_line(error)}"
            what += f"; the best of {len(tries)} gives {said}"
        hint = f"its forward takes {', '.join(self.facts.takes)}"
        return BuildFault([Finding(what=what, hint=hint)])


def search(facts: Facts, draw: Draw, without: Collection[str] = ()) -> dict[str, Tensor]:
    """The first batch that the model takes, with labels where they make a loss; `without` some
    modalities.

    Where every batch has outputs that are not finite, or media that change nothing, the one with
    the fewest such media. Raises BuildFault.
    """
    trial = Trial.of(facts, draw, without)
    works: list[tuple[int, Attempt]] = []
    for options, form in trial.order():
        made = trial.attempt(options, form)
        trial.tries.append(made)
        if made.error is not None:
            continue
        short = trial.idle(made, options)
        if not made.finite:
            short += len(trial.taken) + 1
        if not short:
            return trial.labelled(made)
        works.append((short, made))
    if not works:
        raise trial.failed()
    return trial.labelled(min(works, key=lambda one: one[0])[1])


def _ordered(parts: Sequence[Sequence[Option]]) -> Iterator[tuple[Option, ...]]:
    """All combinations, those of early candidates first."""
    ranges = [range(len(part)) for part in parts]
    for indexes in sorted(itertools.product(*ranges), key=lambda one: (sum(one), one)):
        yield tuple(part[index] for part, index in zip(parts, indexes, strict=True))
