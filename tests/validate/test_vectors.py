"""The expected outputs of a bundle: what is written of a call is what its reader calls with."""

from __future__ import annotations

from typing import Any

from tinybuild.expected.format import laid_out
from tinybuild.validate.vectors import Vectors


def test_every_argument_of_a_call_comes_back() -> None:
    import torch

    given = {"ids": torch.arange(4), "plain": True, "more": {"sizes": [(2, torch.ones(3))]}}
    made = Vectors("AnyModel", 0)
    told: dict[str, Any] = made.kept("forward", given)
    back: dict[str, Any] = {name: laid_out(shape, made.tensors) for name, shape in told.items()}
    assert [*back["ids"]] == [0, 1, 2, 3]
    assert back["plain"] is True
    ((number, ones),) = back["more"]["sizes"]
    assert (number, [*ones]) == (2, [1.0] * 3)


def test_a_single_number_is_told_in_words_too() -> None:
    import torch

    made = Vectors("AnyModel", 0)
    told = [
        made._output(f"forward/outputs/{name}", name, tensor, 0.0).value
        for name, tensor in (("loss", torch.tensor(2.5)), ("pooled", torch.tensor([2.5, 1.0])))
    ]
    assert told == [2.5, None]


def test_how_far_the_second_token_is_behind_the_first() -> None:
    import torch

    logits = torch.tensor([[1.0, 3.0, 2.5], [2.0, 0.0, 4.0]])
    made = Vectors("AnyModel", 0)._output("forward/outputs/logits", "logits", logits, 0.0)
    assert made.margin == 0.5
