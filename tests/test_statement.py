"""How a bundle was made, as in-toto and SLSA have it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tinybuild import statement
from tinybuild.files import pretty
from tinybuild.statement import Asked
from tinybuild.wire import Misshapen

A, B, C = ("a" * 64, "b" * 64, "c" * 64)
SUMS = {
    "README.md": A,
    "recipe.yaml": B,
    "recipe.lock.json": C,
    "dataset/README.md": C,
    "dataset/recipe.yaml": B,
    "dataset/data/x.parquet": A,
}
FILES = {"config.json": {"sha256": A, "size": 1}}
PINS = {
    "source": {"wish": {"hub": "org/full"}, "commit": "1" * 40, "files": FILES},
    "source.class_info_file": {
        "wish": {"hub": "org/classes", "file": "c.json"},
        **{"commit": "3" * 40, "type": "dataset", "files": {}},
    },
    "tokenizer": {"wish": {"package": "words", "path": "x"}, "version": "2.1", "files": FILES},
    "dataset": {"wish": {"hub": "org/rows"}, "commit": "2" * 40, "files": {}},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    toolchain = {"tinybuild": "0.1.0", "torch": "2.13.0"}
    lock: dict[str, Any] = {"version": 1, "pins": PINS}
    told = statement.write(SUMS, Asked(recipe="tiny", zoo={"repo": "o/{name}"}), toolchain, lock)
    (tmp_path / "provenance.json").write_text(pretty(told))
    return tmp_path


def test_what_stands_in_it(folder: Path) -> None:
    told = json.loads((folder / "provenance.json").read_text())
    assert told["_type"] == "https://in-toto.io/Statement/v1"
    assert told["predicateType"] == "https://slsa.dev/provenance/v1"
    assert {one["name"]: one["digest"] for one in told["subject"]} == {
        file: {"sha256": digest} for file, digest in SUMS.items()
    }
    definition = told["predicate"]["buildDefinition"]
    assert definition["externalParameters"] == {"recipe": "tiny", "zoo": {"repo": "o/{name}"}}
    assert definition["resolvedDependencies"] == [
        {"name": "recipe.lock.json", "digest": {"sha256": C}},
        {"name": "recipe.yaml", "digest": {"sha256": B}},
        {
            "name": "dataset",
            "uri": f"hf://datasets/org/rows@{'2' * 40}",
            "digest": {"gitCommit": "2" * 40},
        },
        {"name": "source", "uri": f"hf://org/full@{'1' * 40}", "digest": {"gitCommit": "1" * 40}},
        {"name": "source/config.json", "digest": {"sha256": A}},
        {
            "name": "source.class_info_file",
            "uri": f"hf://datasets/org/classes@{'3' * 40}",
            "digest": {"gitCommit": "3" * 40},
        },
        {"name": "tokenizer", "uri": "pkg:pypi/words@2.1"},
        {"name": "tokenizer/config.json", "digest": {"sha256": A}},
    ]
    read = statement.read(folder)
    assert read.asked == Asked(recipe="tiny", zoo={"repo": "o/{name}"})
    assert read.toolchain == {"tinybuild": "0.1.0", "torch": "2.13.0"}


def test_other_programs_read_it(folder: Path) -> None:
    library = pytest.importorskip("in_toto_attestation.v1.statement")
    from google.protobuf import json_format
    from in_toto_attestation.predicates.provenance.v1.provenance_pb2 import Provenance
    from in_toto_attestation.v1.statement_pb2 import Statement

    text = (folder / "provenance.json").read_text()
    read = json_format.Parse(text, Statement())
    library.Statement.copy_from_pb(read).validate()
    assert read.subject[0].name == "README.md"
    predicate = json_format.ParseDict(json.loads(text)["predicate"], Provenance())
    assert predicate.run_details.builder.version["torch"] == "2.13.0"


@pytest.mark.parametrize(
    ("listed", "said"),
    [
        (SUMS, []),
        ({**SUMS, "SHA256SUMS": A, "provenance.json": A}, []),
        (
            {**SUMS, "README.md": B},
            [("README.md", "has another sha256 in provenance.json than in SHA256SUMS")],
        ),
        ({**SUMS, "new": B}, [("new", "is in SHA256SUMS and not in provenance.json")]),
        (
            {file: digest for file, digest in SUMS.items() if file != "recipe.yaml"},
            [("recipe.yaml", "is in provenance.json and not in SHA256SUMS")],
        ),
        # a dataset that was published by itself, with the papers of its bundle
        ({"README.md": C, "recipe.yaml": B, "data/x.parquet": A, "recipe.lock.json": C}, []),
        (
            {"README.md": A, "recipe.yaml": B, "data/x.parquet": A, "recipe.lock.json": C},
            [("README.md", "has another sha256 in provenance.json than in SHA256SUMS")],
        ),
    ],
)
def test_what_is_unlike_the_checksums(
    folder: Path, listed: dict[str, str], said: list[tuple[str, str]]
) -> None:
    assert list(statement.unlike(statement.read(folder), listed)) == said


@pytest.mark.parametrize("text", ["{}", "[]", '{"_type": "x"}', "no JSON"])
def test_what_is_no_statement(tmp_path: Path, text: str) -> None:
    (tmp_path / "provenance.json").write_text(text)
    with pytest.raises((Misshapen, json.JSONDecodeError)):
        statement.read(tmp_path)
