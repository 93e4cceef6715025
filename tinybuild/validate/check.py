"""What a check is, what it measures, and the three ways in which it can end."""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from tinybuild.errors import Fault, first_line
from tinybuild.validate.subject import NotTried, Subject

State = Literal["passed", "failed", "not tried"]
STATES: tuple[State, ...] = get_args(State)
Value = int | float | str
Measure = Callable[[Subject], "Result | None"]

# Significant digits of a float in a report. One build gives the same floats with any number of
# workers and threads; between CPUs the last bits differ, and two reports should not.
DIGITS = 4


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a check found: in words for people, and as named values for a machine.

    values: the names depend on the check alone, so that two builds can be compared by them.
    note: a reason or what to do; may be empty. given_up: what of the source could not be kept, and
    why.
    """

    state: State
    measured: str
    wanted: str
    note: str = ""
    values: Mapping[str, Value] = field(default_factory=dict)
    given_up: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls, ok: bool, *, measured: str, wanted: str, values: Mapping[str, Value], note: str = ""
    ) -> Result:
        """Passed or failed, with what was measured."""
        state: State = "passed" if ok else "failed"
        return cls(state=state, measured=measured, wanted=wanted, values=values, note=note)

    @property
    def ok(self) -> bool:
        """Whether it passed: what was not tried did not."""
        return self.state == "passed"

    def data(self) -> dict[str, object]:
        """The result as it stands in report.json."""
        data = {**vars(self), "values": {name: _exact(v) for name, v in self.values.items()}}
        return {name: value for name, value in data.items() if name != "given_up" or value}


def _exact(value: Value) -> Value:
    """A value as JSON holds it: of a float its leading digits, and its name if it is not finite."""
    if not isinstance(value, float):
        return value
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else str(value)


@dataclass(frozen=True, kw_only=True)
class Check:
    """One assertion about a bundle.

    sentence: what it asserts. needs: the parts that a bundle must have (`Subject.parts`).
    measure: looks at them; it gives None where the check does not apply, and may raise.
    """

    name: str
    sentence: str
    needs: frozenset[str]
    measure: Measure

    def run(self, subject: Subject) -> Result | None:
        """What was found; None where the check does not apply to this bundle."""
        if not self.needs <= subject.parts:
            return None
        try:
            return self.measure(subject)
        except NotTried as why:
            return Result(
                state="not tried", measured="not tried here", wanted=self.sentence, note=str(why)
            )
        except (MemoryError, KeyboardInterrupt):
            raise
        except Exception as error:  # noqa: BLE001 - what a bundle raises is what was measured
            return _raised(error)


def check(*needs: str) -> Callable[[Measure], Check]:
    """Makes a check of a function: its name is the check's, its first paragraph the sentence."""

    def made(measure: Measure) -> Check:
        paragraph = (measure.__doc__ or "").partition("\n\n")[0]
        return Check(
            name=measure.__name__,
            sentence=" ".join(paragraph.split()),
            needs=frozenset(needs),
            measure=measure,
        )

    return made


def _raised(error: Exception) -> Result:
    if isinstance(error, Fault):
        measured = error.findings[0].what
    else:
        measured = f"{type(error).__name__}: {first_line(error)}"
    last = traceback.extract_tb(error.__traceback__)[-1]
    note = f"raised in {Path(last.filename).name}:{last.lineno} ({last.name})"
    values = {"error": type(error).__name__}
    return Result.of(False, measured=measured, wanted="no error", values=values, note=note)


def listed(names: Sequence[str], most: int = 5) -> str:
    """The first of some names, and how many more there are."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
