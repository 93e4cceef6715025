"""report.json: words and named values, as its schema says; and a check added by one entry."""

from __future__ import annotations

import ast
import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema
import pytest
from kit import house, zoo
from kit.files import ROOT

from tinybuild import validate
from tinybuild.errors import BuildFault
from tinybuild.validate.check import Check, Result, check, listed
from tinybuild.validate.samples import between
from tinybuild.validate.subject import NotTried, Subject

SCHEMA = json.loads((ROOT / "schemas" / "report.v1.schema.json").read_text())


def valid(report: Any) -> bool:
    return jsonschema.Draft202012Validator(SCHEMA).is_valid(report)


def subject(place: Path) -> Subject:
    return Subject(folder=place, scratch=place, facts={"dataset": {}}, seed=0)


# --- a result -------------------------------------------------------------------------------------


def written(**values: Any) -> Any:
    result = Result.of(True, measured="a", wanted="b", values=values)
    return json.loads(json.dumps(validate.report({"one": result})))["checks"][0]["values"]


def test_floats_have_four_digits_and_are_json() -> None:
    assert written(loss=4.123456, small=1.00004e-9, count=123456) == {
        "loss": 4.123,
        "small": 1e-09,
        "count": 123456,
    }
    odd = written(loss=math.nan, most=math.inf, least=-math.inf)
    assert odd == {"loss": "nan", "most": "inf", "least": "-inf"}


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("state", "ok"),
        ("state", None),
        ("measured", ""),
        ("name", "Not a name"),
        ("values", {"loss": None}),
        ("values", {"a loss": 1}),
        ("values", [1]),
        ("ok", True),
    ],
)
def test_the_schema_refuses_what_is_wrong(part: str, value: Any) -> None:
    entry = {"name": "one", **Result.of(True, measured="a", wanted="b", values={}).data()}
    assert valid({"version": 1, "checks": [entry]})
    assert not valid({"version": 1, "checks": [{**entry, part: value}]})
    missing = {key: item for key, item in entry.items() if key != part}
    assert part == "ok" or not valid({"version": 1, "checks": [missing]})


@pytest.mark.parametrize("report", [{}, {"version": 2, "checks": []}, {"version": 1, "checks": []}])
def test_the_schema_refuses_other_reports(report: Any) -> None:
    assert not valid(report)


# --- a check --------------------------------------------------------------------------------------


@check("dataset")
def rows_are_few(subject: Subject) -> Result | None:
    """There are few
    rows.

    More is said here.
    """
    raise NotTried("no such package")


def test_a_check_says_everything_of_itself() -> None:
    assert rows_are_few.name == "rows_are_few"
    assert rows_are_few.sentence == "There are few rows."
    assert rows_are_few.needs == {"dataset"}
    assert all(one.sentence for one in validate.CHECKS)
    assert len({one.name for one in validate.CHECKS}) == len(validate.CHECKS)


def test_not_tried_is_a_state_of_its_own(tmp_path: Path) -> None:
    result = rows_are_few.run(subject(tmp_path))
    assert result is not None
    assert (result.state, result.ok) == ("not tried", False)
    assert (result.wanted, result.note) == ("There are few rows.", "no such package")


def test_a_check_whose_needs_are_not_there_does_not_run(tmp_path: Path) -> None:
    def never(subject: Subject) -> Result | None:
        raise AssertionError

    made = Check(name="never", sentence="x", needs=frozenset({"model"}), measure=never)
    assert made.run(subject(tmp_path)) is None


def test_what_a_check_raises_is_what_it_measured(tmp_path: Path) -> None:
    def faulty(subject: Subject) -> Result | None:
        raise BuildFault.of("this is wrong")

    made = Check(name="faulty", sentence="x", needs=frozenset(), measure=faulty)
    result = made.run(subject(tmp_path))
    assert result is not None
    assert (result.state, result.measured, result.wanted) == ("failed", "this is wrong", "no error")
    assert result.values == {"error": "BuildFault"}


# --- added from outside ---------------------------------------------------------------------------

FEW = '''

@check("dataset")
def few_rows(subject: Subject) -> Result:
    """There are at most four rows."""
    rows = subject.read("dataset", DatasetRows).rows
    told = {"measured": f"{rows} rows", "wanted": "at most 4"}
    return Result.of(rows <= 4, **told, values={"rows": rows, "share": rows / 3})


@check("dataset")
def no_rows(subject: Subject) -> Result:
    """There are no rows."""
    raise NotTried("this machine cannot count")
'''


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> str:
    """PYTHONPATH of a package with two more checks."""
    old = (ROOT / "tinybuild" / "validate" / "dataset.py").read_text()
    text = old.replace("import Subject\n", "import NotTried, Subject\n") + FEW
    table = ("validate/__init__.py", "CHECKS: tuple[Check, ...] = (")
    entries = "    dataset.few_rows,\n    dataset.no_rows,"
    place = tmp_path_factory.mktemp("package")
    return house.extended(place, "validate/dataset.py", text, table, entries)


def test_a_check_from_outside_is_in_the_report_the_card_and_on_the_screen(
    package: str, tmp_path: Path
) -> None:
    root = zoo.make(tmp_path / "zoo", good=zoo.LIGHT.replace("5", "4"))
    done = zoo.doit(root, PYTHONPATH=package)
    assert done.code == 0, done.out + done.err
    assert "2 checks passed, 1 not tried" in done.out
    report = json.loads((root / "dist/good/report.json").read_text())
    assert valid(report)
    few, none, loads = report["checks"]
    assert (few["name"], few["state"]) == ("few_rows", "passed")
    assert few["values"] == {"rows": 4, "share": 1.333}
    assert (none["state"], none["note"]) == ("not tried", "this machine cannot count")
    assert (loads["name"], loads["values"]["rows"]) == ("dataset_loads", 4)
    card = (root / "dist/good/README.md").read_text()
    assert "2 passed, 1 not tried" in card
    assert "`no_rows` was not tried: this machine cannot count" in card


def test_a_check_from_outside_fails_a_build(package: str, tmp_path: Path) -> None:
    root = zoo.make(tmp_path / "zoo", bad=zoo.LIGHT)
    done = zoo.doit(root, PYTHONPATH=package)
    assert done.code == 1, done.out + done.err
    assert "check few_rows failed: measured 5 rows, wanted at most 4" in done.out + done.err
    assert not (root / "dist/bad").exists()


# --- what the checks are made of ------------------------------------------------------------------


def imported(module: str) -> set[str]:
    """The modules of the package that a module imports, also inside functions."""
    path = ROOT.joinpath(*module.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    names = set[str]()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {n for n in names if n.startswith("tinybuild.") and there(n)}


def there(module: str) -> bool:
    path = ROOT.joinpath(*module.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def test_the_checks_are_not_made_again_when_the_rules_of_shrinking_change() -> None:
    """They judge what the rules made: what they share with them are sizes and names of keys."""
    todo, seen = ["tinybuild.validate"], set[str]()
    todo += [f"tinybuild.validate.{p.stem}" for p in (ROOT / "tinybuild/validate").glob("[!_]*.py")]
    while todo:
        module = todo.pop()
        if module not in seen:
            seen.add(module)
            todo += imported(module)
    assert "tinybuild.config.heads" in seen
    rules = {"relations", "shrink", "search", "tree", "layers", "attention", "images"}
    assert {f"tinybuild.config.{name}" for name in rules}.isdisjoint(seen)


def test_many_names_are_shown_in_part() -> None:
    assert listed("abcde") == "a, b, c, d, e"
    assert listed("abcdef") == "a, b, c, d, e and 1 more"
    assert listed("abc", most=1) == "a and 2 more"


@pytest.mark.parametrize(
    ("config", "processor", "shown"),
    [
        ({}, {}, "<i>"),
        ({}, {"image_start_token": "<s>", "image_end_token": "<e>"}, "<s><i><e>"),
        ({}, {"image_start_token": "<s>"}, "<i>"),
        ({"vision_start_token_id": 1, "vision_end_token_id": 2}, {}, "<1><i><2>"),
        ({"image_start_token_id": 3, "image_end_token_id": 4}, {}, "<3><i><4>"),
        ({"image_start_token_id": 3}, {}, "<i>"),
    ],
)
def test_a_placeholder_stands_between_the_tokens_that_are_named_for_it(
    config: dict[str, int], processor: dict[str, str], shown: str
) -> None:
    tokenizer = SimpleNamespace(convert_ids_to_tokens=lambda ids: [f"<{n}>" for n in ids])
    loaded: Any = SimpleNamespace(tokenizer=tokenizer, **processor)
    given: Any = SimpleNamespace(**config)
    assert between(given, loaded, "image", "<i>") == shown
    assert between(given, loaded, "image", "") == ""
