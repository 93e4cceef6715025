"""Unmodified code finds bundles by the Hub's names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from kit.suites import pytest_in, suite

from tinybuild.errors import RecipeFault
from tinybuild.files import below
from tinybuild.use.hubcache import Alias, lay

# A conftest that imports the library before any test is collected, as people's do.
CONFTEST = "import huggingface_hub\n"
USES = """
import os
from pathlib import Path
import pytest
from huggingface_hub import HfApi, HfFileSystem, file_exists, hf_hub_download, snapshot_download
from huggingface_hub.errors import EntryNotFoundError, RevisionNotFoundError

@pytest.mark.parametrize("n", range(3))
def test_public(n):
    assert Path(hf_hub_download("org/Public-1", "report.json")).read_bytes() == Path(
        os.environ["DIST"], "rows", "report.json"
    ).read_bytes()

def test_revision():
    a = snapshot_download("old-name", revision="refs/pr/1")
    b = snapshot_download("old-name")
    assert a == b and Path(a, "dataset").is_dir()

def test_commit():
    assert snapshot_download("org/other", revision="0" * 40)

def test_a_file_that_is_changed_is_no_file_of_the_bundle():
    path = Path(hf_hub_download("org/other", "README.md"))
    path.write_text("changed")
    assert Path(os.environ["DIST"], "rows", "README.md").read_text() != "changed"

def test_what_a_bundle_lacks_is_not_there():
    assert not file_exists("org/Public-1", "adapter_config.json")
    with pytest.raises(EntryNotFoundError):
        hf_hub_download("org/Public-1", "adapter_config.json")
    with pytest.raises(RevisionNotFoundError):
        hf_hub_download("org/Public-1", "README.md", revision="v2")

def test_what_is_told_of_a_repository():
    told = HfApi().model_info("org/Public-1", files_metadata=True)
    sizes = {one.rfilename: one.size for one in told.siblings}
    assert sizes["report.json"] == Path(os.environ["DIST"], "rows", "report.json").stat().st_size
    assert "refs/pr/1" in {one.name for one in HfApi().list_repo_refs("old-name").branches}
    assert HfApi().get_paths_info("org/Public-1", ["report.json"])[0].size == sizes["report.json"]
    text = HfFileSystem().read_text("org/Public-1/README.md")
    assert text == Path(hf_hub_download("org/Public-1", "README.md")).read_text()

def test_rows():
    from datasets import load_dataset
    assert load_dataset("org/Public-1", split="train").num_rows == 5
    assert next(iter(load_dataset("org/Public-1", split="train", streaming=True)))

def test_offline(monkeypatch):
    import huggingface_hub.constants as constants
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert hf_hub_download("org/other", "README.md", revision="0" * 40)

def test_unmapped():
    hf_hub_download("org/unmapped", "config.json")

def test_network():
    import socket
    socket.create_connection(("example.com", 80))
"""


def test_names_of_the_hub_are_bundles(dist: Path, tmp_path: Path) -> None:
    folder = suite(tmp_path / "suite", USES, conftest=CONFTEST)
    (folder / "pytest.ini").write_text(
        "[pytest]\ntiny_zoo = zoo\ntiny_as = old-name@refs/pr/1=rows\n"
    )
    (folder / "zoo").symlink_to(dist)
    more = ("org/Public-1=rows", f"org/other@{'0' * 40}=rows")
    options = [word for text in more for word in ("--tiny-as", text)]
    counted = {"HF_UPDATE_DOWNLOAD_COUNTS": "AUTO"}  # as it is where nothing is set
    ran = pytest_in(folder, *options, DIST=str(dist), HF_HUB_OFFLINE="1", **counted)
    assert ran.outcomes == {
        **{f"test_public[{n}]": "PASSED" for n in range(3)},
        "test_revision": "PASSED",
        "test_commit": "PASSED",
        "test_a_file_that_is_changed_is_no_file_of_the_bundle": "PASSED",
        "test_what_a_bundle_lacks_is_not_there": "PASSED",
        "test_what_is_told_of_a_repository": "PASSED",
        "test_rows": "PASSED",
        "test_offline": "PASSED",
        "test_unmapped": "FAILED",
        "test_network": "FAILED",
    }, ran.out
    assert "asked of the Hub, and named by no --tiny-as" in ran.out
    assert "\norg/unmapped\n" in ran.out
    assert "test_network asked for example.com" in ran.out
    assert "tinybuild: org/Public-1 is rows" in ran.out


def test_what_cannot_be_laid_out_ends_the_run(dist: Path, tmp_path: Path) -> None:
    folder = suite(tmp_path / "suite", USES)
    ran = pytest_in(folder, "--tiny-as", "org/x=rwos", "--tiny-zoo", str(dist))
    assert ran.code == 4
    assert "--tiny-as: there is no bundle rwos\n  hint: did you mean rows?" in ran.out


@pytest.mark.parametrize(
    "text",
    [
        *("x", "=x", "a/b/c=x", "datasets/a/b=x", "a/../b=x", "a/b=", "/a=x"),
        *("a/b=x/", "a/b=x/../y", "a/b=x/dataset", "a/b=x/adapters", "a/b=x/adapters/y/z"),
    ],
)
def test_what_is_no_alias(text: str) -> None:
    with pytest.raises(RecipeFault, match="does not name a repository of the Hub"):
        Alias.read(text)


def test_aliases() -> None:
    assert Alias.read("gpt2=tiny") == Alias(repo="gpt2", bundle="tiny")
    assert Alias.read("a/b.c@v1=t-1") == Alias(repo="a/b.c", revision="v1", bundle="t-1")
    assert Alias.read("a/b=t/adapters/x") == Alias(repo="a/b", bundle="t", adapter="x")


def adapted(root: Path) -> Path:
    """A folder of bundles with one, which has an adapter."""
    adapter = root / "t/adapters/formal"
    adapter.mkdir(parents=True)
    (root / "t/SHA256SUMS").write_text("0 config.json\n")
    (root / "t/config.json").write_text("{}")
    (adapter / "adapter_config.json").write_text('{"base_model_name_or_path": null, "r": 4}')
    (adapter / "adapter_model.safetensors").write_bytes(b"weights")
    return root


def laid(cache: Path, repo: str) -> dict[str, str]:
    home = cache / f"models--{repo.replace('/', '--')}"
    snapshot = home / "snapshots" / (home / "refs/main").read_text()
    return {name: (snapshot / name).read_text() for name in below(str(snapshot))}


def test_an_adapter_is_a_repository_that_names_its_base(tmp_path: Path) -> None:
    bundles, cache = adapted(tmp_path / "dist"), tmp_path / "cache"
    texts = ("org/lora=t/adapters/formal", "org/base=t", "org/again=t")
    lay(map(Alias.read, texts), bundles, cache)
    files = laid(cache, "org/lora")
    assert files.keys() == {"adapter_config.json", "adapter_model.safetensors"}
    assert json.loads(files["adapter_config.json"]) == {
        "base_model_name_or_path": "org/base",
        "r": 4,
    }
    assert "null" in (bundles / "t/adapters/formal/adapter_config.json").read_text()
    assert "config.json" in laid(cache, "org/base")


@pytest.mark.parametrize("order", [1, -1])
def test_main_is_what_is_named_without_a_revision(tmp_path: Path, order: int) -> None:
    bundles, cache = adapted(tmp_path / "dist"), tmp_path / "cache"
    (bundles / "old").mkdir()
    (bundles / "old/SHA256SUMS").write_text("1 config.json\n")
    (bundles / "old/config.json").write_text('{"old": true}')
    texts = ("org/base=t", "org/base@v1=old", f"org/base@{'0' * 40}=old", "org/other@v1=old")
    lay(map(Alias.read, texts[::order]), bundles, cache)
    assert laid(cache, "org/base")["config.json"] == "{}"
    home = cache / "models--org--base"
    old = home / "snapshots" / (home / "refs/v1").read_text() / "config.json"
    assert old.read_text() == (home / "snapshots" / ("0" * 40) / "config.json").read_text()
    assert "old" in old.read_text()
    assert "old" in laid(cache, "org/other")["config.json"]


def test_an_adapter_without_its_base_names_none(tmp_path: Path) -> None:
    bundles, cache = adapted(tmp_path / "dist"), tmp_path / "cache"
    lay([Alias.read("org/lora=t/adapters/formal")], bundles, cache)
    told = json.loads(laid(cache, "org/lora")["adapter_config.json"])
    assert told["base_model_name_or_path"] is None


def test_an_adapter_that_a_bundle_does_not_have(tmp_path: Path) -> None:
    bundles = adapted(tmp_path / "dist")
    with pytest.raises(RecipeFault, match="t has no adapter frmal") as caught:
        lay([Alias.read("org/lora=t/adapters/frmal")], bundles, tmp_path / "cache")
    assert "did you mean formal?" in str(caught.value)
