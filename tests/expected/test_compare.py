"""The first place that differs, near ties, and what rounding decides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tinybuild.compare import outputs
from tinybuild.expected import compare
from tinybuild.expected.compare import Divergence
from tinybuild.expected.format import Case, Expected, Greedy, Output, Told

LOGITS = Output(
    name="logits", shape=(1, 2, 5), kept="top", largest=8.0, noise=0.02, step=2**-13, margin=0.01
)
GREEDY = Greedy(inputs={}, options={}, ids=((3, 1, 2),), margins=((1.0, 0.0001, 1.0),))
CASE = Case(name="forward", modalities=("text",), inputs={}, outputs=(LOGITS,), greedy=GREEDY)


def expected(**more: Any) -> Expected:
    """Of two places: the margin of the first is 4, of the second 0.0001."""
    import numpy as np

    told = {
        "values": np.array([[8, 4, 1], [2, 1.9999, 1]], np.float32),
        "ids": np.array([[3, 0, 1], [2, 4, 0]], np.int32),
        "at": np.arange(2, dtype=np.int32),
    }
    tensors = {f"forward/outputs/logits/{name}": value for name, value in {**told, **more}.items()}
    return Expected("b", Told(version=1, class_="C", seed=0, cases=(CASE,)), tensors)


def logits(**places: float) -> Any:
    """As expected, but for some: p1_4=2.0 is id 4 at the second place."""
    import numpy as np

    had = np.array([[[4, 1, 0, 8, 0], [1, 0, 2, 0, 1.9999]]], np.float64)
    for name, value in places.items():
        had[0, int(name[1]), int(name[3])] = value
    return had


def test_a_near_tie_is_accepted_and_told() -> None:
    assert compare.held(expected(), CASE, LOGITS, logits(), "float32").ties == ()
    near = compare.held(expected(), CASE, LOGITS, logits(p1_4=2.0001), "float32")
    assert near.ties == (
        "b: case forward, output logits at row 0, position 1: id 4 for 2, margin 0.0001",
    )


@pytest.mark.parametrize(
    ("places", "said"),
    [
        (
            {"p0_0": 8.5, "p1_4": 3.0},
            "at row 0, position 0: expected id 3 (8), had id 0 (8.5); margin 4, "
            "tolerance 0.00069 in float32",
        ),
        ({"p1_2": 2.01}, "at row 0, position 1: expected 2 for id 2, had 2.01 (apart 0.01, "),
        ({"p0_1": float("nan")}, "at row 0, position 0: expected 1 for id 1, had nan"),
        ({"p1_1": 2.5}, "at row 0, position 1: expected 2 for id 2"),
    ],
)
def test_it_stops_at_the_first_place(places: Mapping[str, float], said: str) -> None:
    had = logits(**places)
    if "p1_1" in places:  # an id that is not among the kept ones comes first, at a near tie
        had[0, 1, 2] = 1.5
    with pytest.raises(Divergence) as caught:
        compare.held(expected(), CASE, LOGITS, had, "float32")
    assert str(caught.value).startswith(f"b: case forward, output logits {said}")


def test_greedy_ids_may_differ_at_a_near_tie_alone() -> None:
    def held(*ids: int) -> compare.Held:
        return compare.continued(expected(), CASE, [ids], "float32")

    assert held(3, 1, 2).ties == ()
    (tie,) = held(3, 4, 4).ties
    assert "at row 0, token 1: expected 1, had 4; margin 0.0001" in tie
    for ids in ((0, 1, 2), (3, 1, 4), (3,)):
        with pytest.raises(Divergence, match="greedy ids at row 0, token"):
            held(*ids)


def test_a_dtype_that_decides_is_not_compared() -> None:
    noisy = Output(name="logits", shape=(1,), kept="all", largest=1.0, noise=0.3, step=2**-16)
    assert compare.tolerance(noisy, "bfloat16") is None
    assert compare.tolerance(noisy, "float16") == pytest.approx(0.15, rel=1e-3)
    assert compare.tolerance(noisy, "float32") == pytest.approx(0.3 / 256, rel=1e-2)


def test_a_changed_output_is_told_in_numbers() -> None:
    import numpy as np

    def side(value: float, *kept: Any) -> outputs.Side:
        return outputs.Side(value=value, kept=tuple(map(np.asarray, kept)), largest=4.0)

    old = {"a": side(1.0, [1.0, 2.0], [0, 7]), "b": side(2.0), "c": side(3.0, [1.0], [4])}
    new = {"a": side(1.0, [1.0, 2.1], [0, 7]), "b": side(2.0), "c": side(3.0, [1.0], [5])}
    assert [(one.output, one.far) for one in outputs.changed(old, new)] == [
        ("a", 0.025),
        ("c", None),
    ]
