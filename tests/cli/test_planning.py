"""What a plan says is what a build would make."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cli.test_commands import said
from kit.zoo import FULL, LIGHT, doit, make
from transformers import LlamaConfig, LlamaForCausalLM

from tinybuild.cli.session import Session


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Session]:
    made = Session(
        make(
            tmp_path / "zoo",
            full=FULL,
            light=LIGHT,
            wide=FULL.replace("num_attention_heads: 2", "num_attention_heads: 3"),
            far="version: 1\nsummary: s\nsource: {hub: org/full}\nmodel: {}\n",
        )
    )
    assert doit(made.root, "light").code == 0
    yield made
    made.builder.stop()


def test_a_plan_has_what_runs_and_the_sizes_of_models(here: Session) -> None:
    lines, answer = said(here, "plan")
    told = {row["recipe"]: row for row in answer.data}
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=700, num_attention_heads=2, **sizes))
    assert told["full"]["class"] == "LlamaForCausalLM"
    assert told["full"]["parameters"] == model.num_parameters()
    assert told["full"]["bytes"] == 4 * model.num_parameters()
    assert told["full"]["runs"][-3:] == ["model", "validate", "pack"]
    assert told["light"] == {"recipe": "light", "runs": [], "because": ""}
    assert "num_attention_heads" in told["wide"]["fault"]
    assert told["far"]["note"] == "known when it is fetched"
    assert lines[-1] == "3 of 4 recipes would run"
    assert not (here.root / "dist/full").exists()
    assert said(here, "build", "light", plan="yes")[0][-1] == "0 of 1 recipes would run"
