"""Names that are almost right are found, and a missing package says how it is installed."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from kit.faults import refused
from kit.files import ROOT
from packaging.version import Version

from tinybuild import errors
from tinybuild.errors import BUILDS, DISTRIBUTION, EXTRAS, did_you_mean, install, nearest, require


def test_the_extras_are_those_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    # What a build may lack; the other two are for those who work on tinybuild itself.
    assert list(EXTRAS) == [name for name in extras if name not in ("test", "docs")]
    for name, packages in EXTRAS.items():
        listed = {re.split("[>=<]", package)[0] for package in extras[name]}
        assert listed - {"tinybuild-models[media]"} == set(packages)


@pytest.mark.parametrize(
    ("package", "wanted"),
    [("soxr", "-e '.[media]'"), ("protobuf", "-e '.[zoo]'"), ("natten", "natten")],
)
def test_how_a_package_is_installed(package: str, wanted: str) -> None:
    assert install(package) == f"pip install -c constraints.txt {wanted}"


def test_how_it_is_installed_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no constraints.txt, and `.` is somebody's own project."""
    monkeypatch.chdir(tmp_path)
    assert install("soxr") == "pip install 'tinybuild-models[media]'"
    assert install("natten") == "pip install natten"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["name"] == DISTRIBUTION


@pytest.mark.parametrize(
    ("torch", "there", "wanted"),
    [
        ("2.13.0", "", "torchvision"),
        ("2.13.0+cpu", "", f"--extra-index-url {BUILDS}/cpu torchvision"),
        (
            "2.13.0+cpu",
            "0.28.0+cu130",
            f"--extra-index-url {BUILDS}/cpu --force-reinstall --no-deps torchvision==0.28.0",
        ),
        ("2.13.0", "0.28.0", "--force-reinstall torchvision"),
    ],
)
def test_what_is_compiled_for_torch_comes_from_where_torch_came_from(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, torch: str, there: str, wanted: str
) -> None:
    """PyPI's torchvision does not load beside a CPU build of torch, nor does transformers then."""
    monkeypatch.chdir(tmp_path)
    versions = {"torch": torch, "torchvision": there}
    monkeypatch.setattr(errors, "version", lambda name: versions.get(name, ""))
    assert install("torchvision") == f"pip install {wanted}"
    index = f"--extra-index-url {BUILDS}/cpu " if torch.endswith("cpu") else ""
    assert install("timm") == f"pip install {index}'tinybuild-models[architectures]'"
    # Of two wheels of one version pip takes that of the build.
    assert Version("0.28.0+cpu") > Version("0.28.0")


def test_a_package_that_is_required() -> None:
    require("a text", "json")
    refusal = refused(require, "a poem", "no_such_module", ("dataset",))
    assert refusal.what == (
        "a poem needs the package no_such_module, which is not installed or does not load here"
    )
    assert refusal.hint == install("no_such_module")


def test_names_that_are_near() -> None:
    known = ["hidden_size", "hidden_act", "vocab_size", "num_hidden_layers"]
    assert nearest("hiden_size", known)[0] == "hidden_size"
    assert "num_hidden_layers" in nearest("hidden_layers", known)
    assert did_you_mean("vocabsize", known) == "did you mean vocab_size?"
    assert did_you_mean("xyz", ["b", "a"]) == "known: a, b"
    assert did_you_mean("xyz", []) == ""
