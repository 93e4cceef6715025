"""`tinybuild.load` and `tinybuild.path`, as a script calls them."""

from __future__ import annotations

from pathlib import Path

import pytest

import tinybuild
from tinybuild.errors import Fault
from tinybuild.use import zoo


@pytest.fixture
def root(zoo: Path, dist: Path) -> Path:
    return zoo


def test_a_zoo_is_found(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(zoo.VARIABLE, raising=False)
    (root / "tests/deep").mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(root / "tests/deep")
    assert tinybuild.path("rows") == root / "dist/rows"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipes").mkdir()  # of somebody else
    (tmp_path / "recipes/pie.yaml").write_text("apples: 3\n")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    own = zoo.find(None)
    assert own.root.is_relative_to(tmp_path / "cache/tinybuild")
    assert own == zoo.find(None)
    assert {file.stem for file in (own.root / "recipes").iterdir()} >= {"llama", "bert", "texts"}
    assert tinybuild.load("rows", zoo=root).name == "rows"
    monkeypatch.setenv(zoo.VARIABLE, str(root / "dist"))
    assert tinybuild.path("rows") == root / "dist/rows"


@pytest.mark.parametrize("name", ["rwos", "rows ", "../rows", "dataset:rows", "*"])
def test_what_is_no_bundle(root: Path, name: str) -> None:
    with pytest.raises(Fault):
        tinybuild.load(name, zoo=root)
    with pytest.raises(Fault):
        tinybuild.load(name, zoo=root / "dist")


def test_a_copy_outlives_what_it_was_made_from(root: Path) -> None:
    copy = tinybuild.load("rows", zoo=root).copy()
    again = copy.copy()
    place = copy.path
    del copy
    assert (again.path / "README.md").is_file()
    assert place.is_dir()
    assert place != again.path
    del again
    assert not place.exists()


@pytest.mark.slow
def test_the_own_recipes_build_and_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    llama = tinybuild.load("llama")
    ids = llama.tokenizer("Hello", return_tensors="pt")
    assert llama.model()(**ids).logits.shape[-1] == llama.config.vocab_size
    assert type(llama.model(dtype="bfloat16")).__name__ == "LlamaForCausalLM"
    assert type(tinybuild.load("bert").model()).__name__ == "BertForMaskedLM"
    assert tinybuild.load("texts").dataset["train"].num_rows == 20
    for missing in ("processor", "dataset"):
        with pytest.raises(Fault, match=f"the bundle llama has no {missing}"):
            getattr(llama, missing)
