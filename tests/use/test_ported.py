"""A port is held to what its bundle expects, and told where it first differs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from kit.files import ROOT
from kit.vectors import CONFIG, held

from tinybuild import assert_matches_expected
from tinybuild.errors import BuildFault
from tinybuild.expected import format
from tinybuild.use.loaded import Bundle
from tinybuild.use.ported import Divergence


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return held(tmp_path_factory.mktemp("llama") / "llama")


def loaded(folder: Path, dtype: str = "float32") -> Any:
    import torch
    from transformers import LlamaForCausalLM

    options = {"dtype": getattr(torch, dtype), "attn_implementation": "eager"}
    return LlamaForCausalLM.from_pretrained(folder, **options).eval()


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_the_model_itself_passes_in_each_dtype(llama: Path, dtype: str) -> None:
    matched = assert_matches_expected(loaded(llama, dtype), Bundle(llama))
    assert (matched.dtype, matched.left) == (dtype, ())
    names = ("hidden_states.0", "hidden_states.1", "hidden_states.2", "logits", "loss", "greedy")
    assert matched.compared == tuple(f"forward/{name}" for name in names)


def test_the_schema_describes_the_file(llama: Path) -> None:
    import jsonschema

    schema = json.loads((ROOT / "schemas" / "expected.v1.schema.json").read_text())
    told = json.loads((llama / format.FILES[0]).read_text())
    jsonschema.validate(told, schema)
    told["cases"][0]["outputs"][0]["kept"] = "none"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(told, schema)


def test_what_the_fixture_tells(llama: Path) -> None:
    expected = Bundle(llama).expected
    case = expected.case()
    assert (case.modalities, case.drawn) == (("text",), False)
    assert expected.inputs(case)["input_ids"].shape == (2, 8)  # type: ignore[attr-defined]
    logits = {output.name: output for output in case.outputs}["logits"]
    assert (logits.kept, logits.shape) == ("top", (2, 8, 60))
    assert expected.numbers(case, logits).shape == (16, 4)
    assert case.greedy is not None
    assert [len(row) for row in case.greedy.ids] == [8, 8]


@pytest.mark.slow  # their import takes seconds
def test_compiled_and_exported_models_pass(llama: Path) -> None:
    import torch

    compiled = torch.compile(loaded(llama), backend="eager")
    assert not assert_matches_expected(compiled, llama).left
    expected = Bundle(llama).expected
    ids: Any = torch.from_numpy(expected.inputs(expected.case())["input_ids"])
    model = loaded(llama)
    model.config.use_cache = False
    program = torch.export.export(model, (), {"input_ids": ids}, strict=False).module()

    def exported(given: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"logits": program(input_ids=torch.from_numpy(given["input_ids"])).logits}

    matched = assert_matches_expected(exported, llama)
    assert matched.compared == ("forward/logits",)
    assert "forward/loss: the port does not give it" in matched.left


def numpy_llama(folder: Path, epsilon: float = 1e-6, theta: float = 10_000.0) -> Callable[..., Any]:
    """A port that knows no torch."""
    import numpy as np
    from safetensors.numpy import load_file

    weights = load_file(folder / "model.safetensors")
    width, heads, size = CONFIG["hidden_size"], CONFIG["num_attention_heads"], 8

    def norm(x: Any, name: str) -> Any:
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + epsilon) * weights[f"{name}.weight"]

    def turned(x: Any) -> Any:
        angle = np.arange(x.shape[1])[:, None] / theta ** (np.arange(0, size, 2) / size)
        cos, sin = np.tile(np.cos(angle), 2)[:, None], np.tile(np.sin(angle), 2)[:, None]
        other = np.concatenate([-x[..., size // 2 :], x[..., : size // 2]], -1)
        return x * cos + other * sin

    def layer(x: Any, name: str) -> Any:
        def of(y: Any, part: str) -> Any:
            return y @ weights[f"{name}.{part}.weight"].T

        y = norm(x, f"{name}.input_layernorm")
        q, k, v = (of(y, f"self_attn.{p}_proj").reshape(*y.shape[:2], -1, size) for p in "qkv")
        q, k, v = turned(q), turned(k).repeat(heads, 2), v.repeat(heads, 2)
        scores = np.einsum("bqhd,bkhd->bhqk", q, k) / np.sqrt(size)
        scores += np.triu(np.full(scores.shape[-2:], -1e9), 1)
        share = np.exp(scores - scores.max(-1, keepdims=True))
        share /= share.sum(-1, keepdims=True)
        x = x + of(
            np.einsum("bhqk,bkhd->bqhd", share, v).reshape(*y.shape[:2], width), "self_attn.o_proj"
        )
        y = norm(x, f"{name}.post_attention_layernorm")
        gate = of(y, "mlp.gate_proj")
        return x + of(gate / (1 + np.exp(-gate)) * of(y, "mlp.up_proj"), "mlp.down_proj")

    def forward(given: Mapping[str, Any]) -> Mapping[str, Any]:
        x = weights["model.embed_tokens.weight"].astype(np.float64)[given["input_ids"]]
        for number in range(2):
            x = layer(x, f"model.layers.{number}")
        return {"logits": norm(x, "model.norm") @ weights["lm_head.weight"].T}

    return forward


def test_a_port_in_numpy(llama: Path) -> None:
    matched = assert_matches_expected(numpy_llama(llama), llama)
    assert matched.compared == ("forward/logits",)
    assert "forward/greedy: the port does not generate" in matched.left
    for wrong, later in (({"theta": 5e3}, True), ({"epsilon": 1e-4}, False)):
        with pytest.raises(Divergence) as caught:
            assert_matches_expected(numpy_llama(llama, **wrong), llama)
        assert caught.value.output == "logits"
        assert caught.value.place[1] > 0 or not later, "rope leaves the first position as it is"


def test_a_port_wants_neither_torch_nor_transformers(llama: Path) -> None:
    code = (
        "import sys, tinybuild\n"
        "try: tinybuild.assert_matches_expected(lambda given: {'logits': 0 * 1.0}, sys.argv[1])\n"
        "except AssertionError as far: print(far)\n"
        "print({'torch', 'transformers', 'pytest'} & {*sys.modules})\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(llama)], capture_output=True, text=True)
    assert done.stdout.splitlines() == [
        "llama: case forward, output logits: expected the shape (2, 8, 60), had ()",
        "set()",
    ], done.stderr


def transposed(model: Any) -> None:
    weight = model.model.layers[1].self_attn.q_proj.weight
    weight.data = weight.data.T.contiguous()


def loose(model: Any) -> None:
    model.model.layers[0].post_attention_layernorm.variance_epsilon = 1e-3


def turned(model: Any) -> None:
    rope = model.model.rotary_emb
    rope.inv_freq = rope.inv_freq * 0.9


MUTANTS = [
    (transposed, "hidden_states.2", True),  # the first position sees itself alone
    (loose, "hidden_states.1", False),
    (turned, "hidden_states.1", True),  # the first position is not turned
]


@pytest.mark.parametrize(("mutant", "output", "later"), MUTANTS)
def test_it_stops_where_a_mutant_first_differs(
    llama: Path, mutant: Callable[[Any], None], output: str, later: bool
) -> None:
    model = loaded(llama)
    mutant(model)
    said = r"expected \S+, had \S+ \(apart .+, tolerance .+ in float32"
    with pytest.raises(Divergence, match=said) as caught:
        assert_matches_expected(model, llama)
    assert caught.value.output == output
    assert caught.value.place[1] > 0 or not later


def test_nothing_else_writes_what_is_expected(llama: Path, tmp_path: Path) -> None:
    """A file that was edited to fit a port is refused; without the sums it is a copy of one."""
    import hashlib
    import shutil

    folder = shutil.copytree(llama, tmp_path / "edited")
    files = [path for path in folder.rglob("*") if path.is_file()]
    sums = {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }
    (folder / "SHA256SUMS").write_text("".join(f"{sums[n]}  {n}\n" for n in sorted(sums)))
    assert format.read(folder).cases
    told = json.loads((folder / format.FILES[0]).read_text())
    told["cases"][0]["outputs"][-1]["value"] = 1.0
    (folder / format.FILES[0]).write_text(json.dumps(told))
    with pytest.raises(BuildFault, match=r"expected/expected\.json is not what SHA256SUMS says"):
        assert_matches_expected(loaded(llama), folder)
    (folder / format.FILES[0]).unlink()
    with pytest.raises(BuildFault, match=r"has no expected/expected\.json"):
        assert_matches_expected(loaded(llama), folder)


def test_what_is_not_an_output(llama: Path) -> None:
    with pytest.raises(BuildFault, match="the port gives scores") as caught:
        assert_matches_expected(lambda given: {"scores": given["input_ids"] * 1.0}, llama)
    assert "logits" in str(caught.value)
