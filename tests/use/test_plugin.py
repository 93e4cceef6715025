"""The plugin as people use it: their tests, the real pytest, a small zoo."""

from __future__ import annotations

from pathlib import Path

import pytest
from kit.suites import pytest_in, suite
from kit.zoo import make

BROKEN = "version: 1\nsummary: a file that is not there\ndataset: {}\n"


@pytest.fixture
def builds(zoo: Path) -> Path:
    """The file with a line for each build; new in each test."""
    (zoo / "log").unlink(missing_ok=True)
    return zoo / "log"


USES = """
import socket, sys
import pytest
from datasets import load_dataset

@pytest.mark.tiny("rows", "more")
def test_each(tiny):
    assert (tiny().path / "dataset").is_dir()

@pytest.mark.tiny(min_rows=8)
def test_able(tiny):
    assert tiny().name == "more"

def test_named(tiny):
    assert tiny("rows").dataset["train"].num_rows == 5

def test_copy(tiny):
    copy = tiny("rows").copy()
    (copy.path / "report.json").unlink()
    assert (tiny("rows").path / "report.json").exists()
    assert copy.path.is_relative_to(copy._scratch)

def test_server(tiny):
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(("localhost", server.getsockname()[1])).close()

def test_rows_of_a_file(tiny, tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"text": "a"}')
    rows = load_dataset("json", data_files=str(tmp_path / "rows.jsonl"), cache_dir=str(tmp_path))
    assert rows["train"]["text"][:] == ["a"]

def test_asks(tiny):
    try:
        socket.create_connection(("huggingface.co", 443))
    except OSError:
        pass

def test_asks_and_fails(tiny):
    socket.getaddrinfo("huggingface.co", 443)

def test_of_others():
    with pytest.raises(socket.gaierror):
        socket.getaddrinfo("nowhere.invalid", 443)

def test_misspelt(tiny):
    tiny("rwos")

@pytest.mark.tiny("mroe")
def test_marked_misspelt(tiny):
    pass

def test_without_a_name(tiny):
    tiny()

def test_has_no_model(tiny):
    tiny("rows").model()
"""
OUTCOMES = {
    "test_each[rows]": "PASSED",
    "test_each[more]": "PASSED",
    "test_able[more]": "PASSED",
    "test_named": "PASSED",
    "test_copy": "PASSED",
    "test_server": "PASSED",
    "test_rows_of_a_file": "PASSED",
    "test_of_others": "PASSED",
    "test_asks": "FAILED",
    "test_asks_and_fails": "FAILED",
    "test_misspelt": "FAILED",
    "test_marked_misspelt[mroe]": "ERROR",
    "test_without_a_name": "FAILED",
    "test_has_no_model": "FAILED",
}


def test_bundles_in_tests_and_the_guard(zoo: Path, tmp_path: Path) -> None:
    counted = {"HF_UPDATE_DOWNLOAD_COUNTS": "AUTO"}  # as it is where nothing is set
    ran = pytest_in(suite(tmp_path / "suite", USES), "--tiny-zoo", str(zoo), **counted)
    assert ran.outcomes == OUTCOMES, ran.out
    told = "asked for huggingface.co; tests with tiny models need no network"
    assert f"test_it.py::test_asks {told}" in ran.out
    assert f"test_it.py::test_asks_and_fails {told}" in ran.out
    for said in (
        "there is no bundle rwos\nthere is no recipe rwos\n  hint: did you mean rows?",
        "there is no bundle mroe\nthere is no recipe mroe\n  hint: did you mean more?",
        "tiny() is the bundle of a mark: give a name, or mark the test",
        "the bundle rows has no model",
    ):
        assert said in ran.out
    assert "skipped" not in ran.out


def test_workers_build_once_for_all(zoo: Path, builds: Path, tmp_path: Path) -> None:
    text = """
import pytest

@pytest.mark.parametrize("n", range(6))
@pytest.mark.tiny(min_rows=1)
def test_each(tiny, n):
    assert tiny("rows").path.is_dir()
"""
    ran = pytest_in(suite(tmp_path / "suite", text), "--tiny-zoo", str(zoo), "-n", "2")
    assert [*ran.outcomes.values()] == ["PASSED"] * 12, ran.out
    assert builds.read_text() == "built\n"


NOTHING = """
import pytest

@pytest.mark.tiny(kind="moe", modality=["image", "text"])
def test_it(tiny): pass
"""
UNKNOWN = NOTHING.replace('kind="moe"', 'knd="moe"')
UNUSED = NOTHING.replace("test_it(tiny)", "test_without_it()")


def test_marks_that_choose_nothing_are_errors(zoo: Path, tmp_path: Path) -> None:
    suite(tmp_path / "suite", NOTHING, test_unknown=UNKNOWN, test_unused=UNUSED)
    ran = pytest_in(tmp_path / "suite", "--tiny-zoo", str(zoo))
    assert ran.code == 2, ran.out
    for said in (
        "no bundle of the zoo is all this: kind='moe', modality=['image', 'text']\n"
        "  hint: none has the kind moe",
        "bundles cannot be asked for knd\n  hint: did you mean kind?",
        "test_without_it is marked tiny, and does not take the fixture tiny",
    ):
        assert said in ran.out, ran.out


def test_a_bundle_that_does_not_build_is_an_error(tmp_path: Path) -> None:
    root = make(tmp_path / "zoo", bad=BROKEN)
    able = MARKED.replace('"bad"', "min_rows=1")
    suite(root, MARKED, test_able=able)  # the nearest zoo at or above is taken
    ran = pytest_in(root, "--continue-on-collection-errors")
    assert ran.code == 1
    assert ran.outcomes == {"test_each[bad]": "ERROR"}, ran.out
    said = "recipes/bad.yaml:3:1: dataset has no samples"
    assert f"there is no bundle bad\n{said}" in ran.out
    assert f"test_able.py::test_each: {said}" in ran.out


MARKED = """
import pytest

@pytest.mark.tiny("bad")
def test_each(tiny): pass
"""


def test_a_folder_of_bundles_is_used_as_it_is(dist: Path, builds: Path, tmp_path: Path) -> None:
    text = MARKED.replace('"bad"', '"rows", "bad"')
    ran = pytest_in(suite(tmp_path / "suite", text), TINYBUILD_ZOO=str(dist))
    assert ran.outcomes == {"test_each[rows]": "PASSED", "test_each[bad]": "ERROR"}, ran.out
    assert "there is no bundle bad\n  hint: " in ran.out
    assert not builds.exists()
    wrong = pytest_in(tmp_path / "suite", "--tiny-zoo", ".")
    assert ". is neither a zoo nor a folder of bundles" in wrong.out


def test_nothing_is_loaded_where_nobody_asks(tmp_path: Path) -> None:
    text = """
import sys

def test_it(request):
    assert request.config.pluginmanager.get_plugin("tinybuild")
    assert {name for name in sys.modules if name.startswith("tinybuild")} == {
        "tinybuild", "tinybuild.use", "tinybuild.use.plugin"
    }
"""
    ran = pytest_in(suite(tmp_path, text))
    assert ran.code == 0, ran.out
