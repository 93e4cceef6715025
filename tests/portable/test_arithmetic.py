"""What torch computes is computed in float64, and rounded to the dtype that it has by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tinybuild.portable.arithmetic import exactly

if TYPE_CHECKING:
    from torch import Tensor

OPERATORS: dict[str, Callable[[Tensor], Tensor]] = {
    "one dtype": lambda x: (x @ x).softmax(-1),
    "two dtypes": lambda x: x.bfloat16() * x,
    "a dtype that is asked for": lambda x: x.sum(dtype=x.bfloat16().dtype),
    "numbers that are whole": lambda x: x.argmax(),
    "complex numbers": lambda x: x.to(x.cfloat().dtype).abs(),
    "in place": lambda x: x.clone().exp_(),
    "half precision": lambda x: x.bfloat16().exp(),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_it_has_the_dtype_that_it_has_by_itself(name: str) -> None:
    import torch

    given = torch.linspace(-1, 1, 9).reshape(3, 3)
    call = OPERATORS[name]
    plain = call(given)
    with exactly():
        made = call(given)
    assert made.dtype == plain.dtype
    assert torch.allclose(made.to(plain.dtype), plain, rtol=1e-2)


def test_it_is_computed_in_float64() -> None:
    import torch

    given = torch.linspace(-5, 5, 1 << 12)
    with exactly():
        made = given.exp()
    assert torch.equal(made, given.double().exp().float())
    assert not torch.equal(made, given.exp())
