"""What torch computes is computed in float64, and rounded to the dtype that it has by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tinybuild.portable.arithmetic import exactly, products

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


@pytest.mark.parametrize("kind", ["bfloat16", "float16"])
def test_products_of_short_numbers_are_rounded_once(kind: str) -> None:
    """Forward and backward; what torch refuses it refuses here, and nothing else is touched."""
    import torch

    short = getattr(torch, kind)
    drawn = torch.Generator().manual_seed(0)
    given = torch.randn(1, 2, 8, 16, generator=drawn).to(short).requires_grad_()
    with products(short):
        made = given @ given.transpose(-1, -2)
        attended = torch.nn.functional.scaled_dot_product_attention(given, given, given)
        (made.sum() + attended.sum()).backward()
        root = given.exp()
        with pytest.raises(RuntimeError, match="scalar type"):
            given @ given.float().transpose(-1, -2)
    wide = given.detach().float()
    assert torch.equal(made, (wide @ wide.transpose(-1, -2)).to(short))
    assert made.dtype == attended.dtype == short
    assert given.grad is not None
    assert given.grad.dtype == short
    assert torch.equal(root, given.exp())
    with products(torch.float32):
        assert torch.equal(wide @ wide.transpose(-1, -2), wide @ wide.transpose(-1, -2))
