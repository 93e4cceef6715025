"""The process that only reads bundles."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tinybuild.errors import BuildFault
from tinybuild.validate.reader import Batches, Question, ask, pack, unpack
from tinybuild.workers import Worker, beside

NOTHING = Batches(first={}, second={}, alone={})


@pytest.fixture
def reader() -> Worker:
    """The one of all tests in this process: it imported torch, and ends with them."""
    made = beside()
    assert isinstance(made, Worker)
    return made


@contextlib.contextmanager
def limited(memory: int) -> Iterator[None]:
    """This process, as a worker is while it does a recipe with such a limits.memory."""
    before = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (memory, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def question(place: Path) -> Question:
    return Question(
        folder=str(place / "bundle"),
        class_="LlamaForCausalLM",
        model_type="llama",
        seed=0,
        scratch=str(place / "read"),
    )


def test_the_limit_is_that_of_each_recipe(reader: Worker, tmp_path: Path) -> None:
    """(It kept the limit of the recipe that the worker did when it was started.)"""
    for memory in (6_000_000_000, 7_000_000_000):
        with limited(memory), pytest.raises(BuildFault, match="the bundle"):
            ask(question(tmp_path), NOTHING)
        assert resource.prlimit(reader.process.pid, resource.RLIMIT_DATA)[0] == memory


def test_memory_that_the_reader_lacks_is_the_recipes(reader: Worker, tmp_path: Path) -> None:
    """It is told as the worker's own: with the limit, and what to do."""
    with pytest.raises(BuildFault, match="the bundle"):
        ask(question(tmp_path), NOTHING)  # by now it has imported all that it wants
    (tmp_path / "bundle").mkdir()
    wide = '"vocab_size": 100, "hidden_size": 8000, "intermediate_size": 80000'
    config = f'{{"model_type": "llama", "architectures": ["LlamaForCausalLM"], {wide}}}'
    (tmp_path / "bundle" / "config.json").write_text(config)
    status = Path(f"/proc/{reader.process.pid}/status").read_text()
    (used,) = [int(line.split()[1]) for line in status.splitlines() if line.startswith("VmData")]
    write_weights(tmp_path / "bundle" / "model.safetensors")
    with (
        limited(used * 1024 + 50_000_000),
        pytest.raises(BuildFault, match="needs more memory than there is, or than the"),
    ):
        ask(question(tmp_path), NOTHING)


def write_weights(path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    save_file({"model.norm.weight": torch.zeros(8000)}, path, metadata={"format": "pt"})


@pytest.mark.parametrize(
    "value", [{"a": [1, 2.5, None, True, "x"]}, {"deep": {"list": [{"b": False}]}}, []]
)
def test_a_batch_is_put_together_again(value: Any, tmp_path: Path) -> None:
    assert unpack(pack(value, tmp_path / "tensors"), {}) == value


def test_tensors_travel_by_file(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    batch = {"ids": torch.arange(6).reshape(2, 3), "more": [torch.ones(2)]}
    shape = pack(batch, tmp_path / "tensors")
    again: Any = unpack(shape, load_file(tmp_path / "tensors"))
    assert torch.equal(again["ids"], batch["ids"])
    assert torch.equal(again["more"][0], torch.ones(2))
