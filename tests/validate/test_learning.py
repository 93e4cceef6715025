"""A model that a check lets learn is as it was before."""

from __future__ import annotations

from tinybuild.validate import learning


def test_a_model_learns_from_nothing_and_is_as_before() -> None:
    import torch

    model = torch.nn.Linear(2, 1)
    before = model.weight.detach().clone()
    model(torch.ones(1, 2)).sum().backward()
    with learning.kept(model):  # type: ignore[arg-type]
        assert [p.grad for p in model.parameters()] == [None, None]
        model(torch.ones(1, 2)).sum().backward()
        torch.optim.SGD(model.parameters(), lr=1.0).step()
        assert not torch.equal(model.weight, before)
    assert torch.equal(model.weight, before)
    assert [p.grad for p in model.parameters()] == [None, None]
