"""Weights have numbers of their own name, the same whatever the machine and the order."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from tinybuild.model import named
from tinybuild.model.draw import drawn

SMALL = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4, "vocab_size": 64}


def made(name: str, **config: Any) -> dict[str, Any]:
    """The tensors of a class's model, drawn by name."""
    import transformers

    model_class = getattr(transformers, name)
    made = model_class.config_class(**config)
    return dict(drawn(model_class, made, 3, made).state_dict())


def of(build: Callable[[], Any]) -> dict[str, Any]:
    return dict(named.drawn(build, 3, named.seen(build)).state_dict())


# --- names, not order -----------------------------------------------------------------------------


def test_a_shallow_model_is_the_first_layers_of_a_deep_one() -> None:
    shallow, deep = (made("LlamaForCausalLM", **SMALL, num_hidden_layers=n) for n in (2, 4))
    assert len(shallow) < len(deep)
    for name, tensor in shallow.items():
        assert tensor.equal(deep[name]), name
    assert not deep["model.layers.0.mlp.up_proj.weight"].equal(
        deep["model.layers.1.mlp.up_proj.weight"]
    )


def test_neither_the_order_nor_what_else_is_made_changes_a_number() -> None:
    import torch
    from torch import nn

    class Modules(nn.Module):
        def __init__(self, *names: str) -> None:
            super().__init__()
            for name in names:
                if name == "thrown":
                    nn.Linear(5, 7)
                    torch.rand(3)
                else:
                    setattr(self, name, nn.Linear(6, 4))

    one, other = of(lambda: Modules("a", "b")), of(lambda: Modules("thrown", "b", "c", "a"))
    for name, tensor in one.items():
        assert tensor.equal(other[name])
    assert not one["a.weight"].equal(one["b.weight"])


def test_a_tie_has_one_name() -> None:
    tied = made("LlamaForCausalLM", **SMALL, num_hidden_layers=1, tie_word_embeddings=True)
    apart = made("LlamaForCausalLM", **SMALL, num_hidden_layers=1)
    assert tied["lm_head.weight"].equal(tied["model.embed_tokens.weight"])
    assert tied["lm_head.weight"].equal(apart["lm_head.weight"])


# --- the class's own distribution -----------------------------------------------------------------


def test_what_a_class_does_with_its_numbers_is_done() -> None:
    import torch
    from torch import nn

    class Special(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.row = nn.Parameter(torch.empty(300, 8).normal_(1.0, 0.5))
            self.scaled = nn.Parameter(torch.randn(2000) * 3)
            self.range = nn.Parameter(torch.rand(2000) * 2 - 3)
            self.logs = nn.Parameter(torch.log(torch.arange(1, 9).float()))
            self.cut = nn.Parameter(torch.empty(4000))
            self.parts = nn.Parameter(torch.zeros(3, 1000))
            self.flat = nn.Parameter(torch.empty(8, 16))
            self.order = nn.Buffer(torch.randperm(50))
            with torch.no_grad():
                self.row[0].zero_()
                nn.init.trunc_normal_(self.cut, std=0.5, a=-0.5, b=1.0)
                self.parts[1].uniform_(2, 4)
                nn.init.orthogonal_(self.flat)

    given = of(Special)
    row, scaled, span, cut = (given[name] for name in ("row", "scaled", "range", "cut"))
    assert not row[0].any()
    assert float(row[1:].mean()) == pytest.approx(1, abs=0.05)
    assert float(row[1:].std()) == pytest.approx(0.5, rel=0.05)
    assert float(scaled.std()) == pytest.approx(3, rel=0.1)
    assert -3 <= float(span.min()) < -2.9 < -1.1 < float(span.max()) < -1
    assert given["logs"].tolist() == pytest.approx([math.log(n) for n in range(1, 9)])
    assert -0.5 <= float(cut.min()) < -0.49 < 0.97 < float(cut.max()) <= 1
    assert float(cut.mean()) == pytest.approx(0.115, abs=0.02)
    assert not given["parts"][0].any()
    assert not given["parts"][2].any()
    assert 2 <= float(given["parts"][1].min()) < 2.1 < 3.9 < float(given["parts"][1].max()) < 4
    assert torch.allclose(given["flat"] @ given["flat"].T, torch.eye(8), atol=1e-6)
    assert sorted(given["order"].tolist()) == [*range(50)]
    assert of(Special)["order"].equal(given["order"])


def test_a_class_that_draws_otherwise_the_second_time_is_noticed() -> None:
    import torch
    from torch import nn

    sizes = iter((3, 4))
    with pytest.raises(AssertionError, match="draws otherwise"):
        of(lambda: nn.Linear(next(sizes), 2))
    assert torch.nn.init.trunc_normal_(torch.empty(5)).isfinite().all()  # nothing is left patched
