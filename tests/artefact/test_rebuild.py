"""A bundle is made again from itself alone: from a folder, from a repository, from a chain."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from kit import hub
from kit.zoo import LIGHT, doit, edit, make

from tinybuild.artefact import rebuild
from tinybuild.errors import BuildFault
from tinybuild.files import pretty, sha256, tree
from tinybuild.publish.files import ready
from tinybuild.publish.target import Target
from tinybuild.statement import Statement

MIDDLE = "version: 1\nsummary: some of them\ndataset: {source: {recipe: base}, samples: 4}\n"
TOP = "version: 1\nsummary: few of them\ndataset: {source: {recipe: middle}, samples: 2}\n"


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A zoo of three recipes, each made from the one before it."""
    root = make(tmp_path_factory.mktemp("zoo") / "zoo", base=LIGHT, middle=MIDDLE, top=TOP)
    (root / "zoo.yaml").write_text('version: 1\npublish: {dataset_repo: "org/tiny-{name}"}\n')
    assert doit(root).code == 0
    return root


@pytest.fixture
def bundle(chain: Path, tmp_path: Path) -> Path:
    return shutil.copytree(chain / "dist/top", tmp_path / "elsewhere" / "a-copy")


def seal(folder: Path, name: str, text: str) -> None:
    """Write a file of a bundle, and its line in SHA256SUMS."""
    sums = folder / "SHA256SUMS"
    old = sha256(folder / name)
    (folder / name).write_text(text)
    sums.write_text(sums.read_text().replace(old, sha256(folder / name)))


def test_a_bundle_of_a_chain_from_a_repository(chain: Path, tmp_path: Path) -> None:
    with hub.serve() as server:
        files = {
            path.relative_to(chain / "dist/top").as_posix(): path.read_bytes()
            for path in (chain / "dist/top").rglob("*")
            if path.is_file()
        }
        commit = server.repo("org/tiny-top").commit({**files, ".gitattributes": b"* -text"})
        asked = {"HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0"}
        result = doit(chain, "verify", "org/tiny-top", "--json", **asked)
        assert result.code == 0, result.err
        assert json.loads(result.out)["commit"] == commit
        result = doit(chain, "rebuild", "org/tiny-top", "--json", **asked)
        assert result.code == 0, result.err
        told = json.loads(result.out)
        assert (told["recipe"], told["made_from"]) == ("top", ["base", "middle"])
        assert told["differences"] == told["toolchain"] == []
        missing = doit(chain, "verify", "org/none", **asked)
        assert missing.code == 1
        assert "the Hub has no model org/none that you may see" in missing.err


def test_a_dataset_from_its_own_repository(chain: Path, tmp_path: Path) -> None:
    """What `publish` puts into a dataset repository is all that makes it again."""
    receipt = {name: entry["sha256"] for name, entry in tree(chain / "dist/top").items()}
    target = Target(
        name="top",
        kind="dataset",
        repo="org/tiny-top",
        folder=str(chain / "dist/top"),
        receipt=receipt,
        private=False,
        direct=False,
        redistribute=False,
        sources=(),
        dry=False,
    )
    files = {
        name: file.data if isinstance(file.data, bytes) else file.data.read_bytes()
        for name, file in ready(target).items()
    }
    with hub.serve() as server:
        server.dataset("org/tiny-top").commit({**files, ".gitattributes": b"* -text"})
        asked = {"HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0"}
        result = doit(chain, "rebuild", "datasets/org/tiny-top", "--json", **asked)
    assert result.code == 0, result.out + result.err
    told = json.loads(result.out)
    assert (told["recipe"], told["made_from"]) == ("top", ["base", "middle"])
    assert (told["differences"], told["files"]) == ([], len(files) - 1)

    folder = tmp_path / "rows"
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    (shard,) = (name for name in files if name.endswith(".parquet"))
    seal(folder, shard, "other rows")
    assert [str(one) for one in rebuild.rebuild(folder).differences] == [
        f"{shard} differs (dataset: no version differs)"
    ]


def test_what_is_not_the_same_is_told_with_its_cause(bundle: Path) -> None:
    made = json.loads((bundle / "provenance.json").read_text())
    made["predicate"]["runDetails"]["builder"]["version"]["pyarrow"] = "1.0"
    seal(bundle, "provenance.json", pretty(made))
    seal(bundle, "dataset/README.md", "another card")
    told = rebuild.rebuild(bundle)
    assert [str(difference) for difference in told.differences] == [
        f"dataset/README.md differs (dataset: pyarrow 1.0 -> {told.toolchain[0].here})",
        f"provenance.json differs (pack: pyarrow 1.0 -> {told.toolchain[0].here})",
    ]


def test_a_recipe_that_does_not_build_here(bundle: Path) -> None:
    text = (bundle / "recipes/base.yaml").read_text()
    seal(bundle, "recipes/base.yaml", text.replace("samples: 5", "samples: 3"))
    with pytest.raises(BuildFault, match=r"does not build here:\n.*3 rows, not the 4") as caught:
        rebuild.rebuild(bundle)
    assert "Traceback" not in str(caught.value)


def test_sources_that_a_bundle_does_not_hold(tmp_path: Path) -> None:
    root = make(tmp_path / "zoo", a=LIGHT)
    edit(root, "a", "{samples: 5}", "{source: {path: ../rows.jsonl}, samples: 2}")
    (root / "rows.jsonl").write_text('{"text": "a"}\n{"text": "b"}\n')
    assert doit(root).code == 0
    result = doit(root, "rebuild", "a")
    assert result.code == 1
    assert "a.yaml: dataset is read from ../rows.jsonl, which a bundle does not hold" in result.err


@pytest.mark.parametrize("name", ["../x.yaml", "x.py", ".x.yaml"])
def test_names_that_lead_elsewhere(bundle: Path, tmp_path: Path, name: str) -> None:
    (bundle / "recipes" / name).write_text("version: 1")
    made = json.loads((bundle / "provenance.json").read_text())
    asked = made["predicate"]["buildDefinition"]["externalParameters"]
    elsewhere = pretty(made).replace(f'"recipe": "{asked["recipe"]}"', '"recipe": "../../x"')
    (bundle / "provenance.json").write_text(elsewhere)
    with pytest.raises(BuildFault, match="not a file of a recipe"):
        rebuild.rebuild(bundle)
    (bundle / "provenance.json").write_text(pretty(made))
    if not name.startswith(".."):
        with pytest.raises(BuildFault, match="not a file of a recipe"):
            rebuild.rebuild(bundle)


def test_bundles_that_say_nothing_of_how_they_were_made(bundle: Path) -> None:
    (bundle / "provenance.json").write_text("{}")
    with pytest.raises(BuildFault, match=r"provenance\.json cannot be read: \w+: is missing"):
        rebuild.told(bundle)
    (bundle / "provenance.json").unlink()
    with pytest.raises(BuildFault, match="an older tinybuild packed it"):
        rebuild.told(bundle)


def test_an_altered_bundle_is_not_rebuilt(chain: Path, tmp_path: Path) -> None:
    shutil.copytree(chain / "dist/base", tmp_path / "base")
    (tmp_path / "base/README.md").write_text("another card")
    result = doit(chain, "rebuild", str(tmp_path / "base"))
    assert result.code == 1
    assert "base is not what its SHA256SUMS says" in result.err
    assert "README.md has other bytes" in result.err
    assert isinstance(rebuild.told(tmp_path / "base"), Statement)
