"""What is tried for one modality, with the number of features that the model makes of it."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tinybuild.feeding import Given, Tensor
from tinybuild.feeding.inputs import beside, text
from tinybuild.feeding.inputs.draw import ROWS, Draw
from tinybuild.feeding.inputs.facts import Facts
from tinybuild.feeding.inputs.senses import Sense

MOST_PROBES = 120  # calls of one feature method
MOST_MISSED = 16  # calls in a row after the first that worked
LARGER = 8  # times the first that worked: no more is computed, some towers are slow
KEPT = 6  # candidates of a modality whose features could be computed
WIDE = 60  # candidates of a modality that has no feature method


@dataclass(frozen=True, kw_only=True)
class Option:
    """Arguments of one modality, and the places that its features want in each row of text."""

    modality: str
    values: Given
    counts: tuple[int, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Probe:
    """Finds the candidates for an argument; `failures` grows by the errors of feature methods."""

    facts: Facts
    draw: Draw
    sense: Sense
    failures: list[BaseException] = field(default_factory=list)

    def options(self) -> list[Option]:
        """Candidates, likeliest first: those that the model's own method for features takes, with
        their features counted, or else all."""
        method = self.facts.method(f"get_{self.sense.modality}_features", self.sense.argument)
        counted = [] if method is None else [*itertools.islice(self._counted(method), KEPT)]
        return counted or [self._option(values) for values in self.candidates(WIDE)]

    def _option(self, values: Given, features: object = None) -> Option:
        """A candidate with a place for each feature, where text holds places for them."""
        counts = self._counts(features) or self._guess(values) if self._placed() else None
        return Option(modality=self.sense.modality, values=values, counts=counts)

    def candidates(self, most: int) -> Iterator[Given]:
        """The values that the rule gives to arguments of forward."""
        assert self.sense.candidates is not None
        rule = self.sense.candidates(self.facts, self.draw, self.sense.argument)
        for values in itertools.islice(rule, most):
            yield {name: value for name, value in values.items() if name in self.facts.takes}

    def _counted(self, method: Callable[..., object]) -> Iterator[Option]:
        """The candidates that a feature method takes."""
        missed, least = 0, 0
        for values in self.candidates(MOST_PROBES):
            size = values[self.sense.argument].numel()
            if least and size > LARGER * least:
                continue
            features = self._features(method, values)
            if features is None:
                missed += 1
                if least and missed > MOST_MISSED:
                    return
                continue
            missed, least = 0, least or size
            yield self._option(values, features)

    def _features(self, method: Callable[..., object], values: Given) -> object:
        """What the method makes of a candidate; None where it does not take it."""
        import torch

        wanted, name = inspect.signature(method).parameters, self.sense.argument
        given = {key: value for key, value in values.items() if key in wanted}
        if name not in given:
            given[next(iter(wanted), name)] = values[name]
        for needed, rule in beside.ALONE.items():
            if needed in wanted:
                given[needed] = rule(self.facts, self.draw, {})
        features = self._asked(method, given)
        if features is None and values[name].dim() == 5:  # forward may join rows and images
            for key, value in given.items():
                given[key] = value.flatten(0, 1) if isinstance(value, torch.Tensor) else value
            features = self._asked(method, given)
        return features

    def _asked(self, method: Callable[..., object], given: Given) -> object:
        try:
            return method(**given)
        except Exception as error:  # noqa: BLE001  see attempt
            self.failures.append(error)
            return None

    def _placed(self) -> bool:
        """Whether text holds places for the features of a medium."""
        medium = self.sense.modality
        masked = medium == "image" and "image_embeds_position_mask" in self.facts.takes
        return masked or (medium in text.MEDIA and text.placeholder(self.facts, medium) is not None)

    def _guess(self, values: Given) -> tuple[int, ...]:
        """Places in each row for features that cannot be counted.

        Two are a run, by which models know that there is a place for each feature; what they say of
        the number is heeded (Trial.attempt).
        """
        pixels = values[self.sense.argument]
        images = int(pixels.shape[1]) if pixels.dim() == 5 else 1
        return (self.facts.integer("num_query_tokens", default=2) * images,) * ROWS

    def _counts(self, features: object) -> tuple[int, ...] | None:
        """How many features each row's image, video or sound has; None where nobody can say."""
        import torch

        for name in ("pooler_output", "last_hidden_state"):
            if getattr(features, name, None) is not None:
                features = getattr(features, name)
                break
        if isinstance(features, tuple | list) and isinstance(next(iter(features), 0), torch.Tensor):
            numbers = tuple(_rows(tensor) for tensor in features)
            return numbers if len(numbers) == ROWS else shared(sum(numbers))
        if not isinstance(features, torch.Tensor):
            return None
        if tuple(features.shape[:-1]) == (ROWS,):  # pooled: the places are those of queries
            return (self.facts.integer("num_query_tokens", default=1),) * ROWS
        return shared(_rows(features))


def shared(total: int) -> tuple[int, ...]:
    """A number of features shared among the rows, the first having what is left over."""
    each = total // ROWS
    return (total - each * (ROWS - 1), *([each] * (ROWS - 1)))


def _rows(tensor: Tensor) -> int:
    return int(tensor.numel() // tensor.shape[-1]) if tensor.dim() else 0
