"""The check of what a port is held to: the bundle's own model gives it."""

from __future__ import annotations

from collections.abc import Mapping

from tinybuild.expected import compare
from tinybuild.expected.format import Output
from tinybuild.validate.check import Result, check
from tinybuild.validate.subject import NotTried, Subject
from tinybuild.validate.vectors import is_short, repeated

DTYPE = "float32"


@check("model")
def expected_outputs(subject: Subject) -> Result:
    """The model gives, in float32, what its bundle says that a port must give.

    That was computed in the process that only reads bundles, in another way. Hidden states on the
    way, and what a class gives only beside them, are not asked for here.
    """
    expected = subject.expected
    case = expected.case()
    outputs = subject.exact_outputs
    if not is_short(subject.exact_batch()):
        outputs = subject.computed(repeated(subject.exact_batch()), subject.exact)
    had, traced = dict(compare.named(outputs)), any(output.trace for output in case.outputs)
    asked = [
        output for output in case.outputs if not output.trace and (output.name in had or not traced)
    ]
    asked = [output for output in asked if compare.tolerance(output, DTYPE) is not None]
    if not asked:
        raise NotTried("rounding decides each output of the model")
    faults = [fault for output in asked for fault in _faults(subject, output, had)]
    return Result.of(
        not faults,
        measured="; ".join(faults[:2]) or f"{len(asked)} outputs of {len(case.inputs)} inputs",
        wanted="the outputs of expected.json, within its tolerance",
        values={
            "cases": len(expected.cases),
            "outputs": len(asked),
            "numbers": expected.size,
            "greedy_rows": len(case.greedy.ids) if case.greedy else 0,
            "faults": len(faults),
        },
    )


def _faults(subject: Subject, output: Output, had: Mapping[str, compare.Numbers]) -> list[str]:
    if output.name not in had:
        return [f"no output {output.name}"]
    expected = subject.expected
    try:
        compare.held(expected, expected.case(), output, had[output.name], DTYPE)
    except compare.Divergence as far:
        return [str(far).partition(": ")[2]]
    return []
