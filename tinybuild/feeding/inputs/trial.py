"""Which of the candidates the real model takes: tried in a fixed order, a bounded number."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from tinybuild.errors import BuildFault, Finding
from tinybuild.feeding.inputs import labels, text
from tinybuild.feeding.inputs.attempt import Attempt, attempt
from tinybuild.feeding.inputs.candidates import Option, Probe, shared
from tinybuild.feeding.inputs.draw import ROWS, Draw
from tinybuild.feeding.inputs.facts import Facts
from tinybuild.feeding.inputs.forms import Form, arguments, forms
from tinybuild.feeding.inputs.senses import SENSES, Sense, senses, states

if TYPE_CHECKING:
    from torch import Tensor

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

    taken: the argument of each modality. parts: the candidates for each argument that holds
    anything but text. tries: grows by what came of each combination of these. failures: what the
    model's feature methods raised.
    """

    facts: Facts
    draw: Draw
    taken: Mapping[str, Sense]
    parts: Sequence[Sequence[Option]]
    failures: Sequence[BaseException]
    tries: list[Attempt] = field(default_factory=list)

    @classmethod
    def of(cls, facts: Facts, draw: Draw, without: Collection[str]) -> Trial:
        """A trial of all modalities but those."""
        taken = {name: sense for name, sense in senses(facts).items() if name not in without}
        failures: list[BaseException] = []
        probes = [
            Probe(facts=facts, draw=draw, sense=sense, failures=failures)
            for sense in taken.values()
            if sense.candidates is not None
        ]
        parts = [probe.options() for probe in probes]
        arguments = {sense.argument for sense in taken.values()}
        ...
