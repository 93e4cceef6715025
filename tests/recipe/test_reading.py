"""The recipe reader: what it takes, what it refuses, and the words it refuses it with."""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from kit.faults import refused

from tinybuild import recipe
from tinybuild.errors import BuildFault, Fault, Finding, RecipeFault
from tinybuild.files import Memo
from tinybuild.recipe import marked, reading
from tinybuild.recipe.contract import contract

BAD = Path(__file__).parents[1] / "bad"
BROKEN = sorted(BAD.glob("*.yaml"))
HEAD = b"version: 1\nsummary: a tiny model\nsource: {transformers: mt5}\n"


def read(text: bytes | str) -> recipe.Recipe:
    raw = text.encode() if isinstance(text, str) else text
    return reading.read(Path("recipes/x.yaml"), "x.yaml", "", raw)


def findings(text: bytes | str) -> list[str]:
    """The findings of a recipe that must be refused, one string each."""
    return [str(finding) for finding in refused(read, text).findings]


def config(text: str) -> Any:
    """The value that YAML text has in a recipe."""
    return read(HEAD + b"model:\n  config:\n    x: " + text.encode() + b"\n").data["model"][
        "config"
    ]["x"]


# --- broken recipes -------------------------------------------------------------------------------


@pytest.mark.parametrize("file", BROKEN, ids=lambda file: str(file.stem))
def test_a_broken_recipe_gives_its_golden_message(file: Path) -> None:
    golden = file.with_suffix(".txt")
    said = f"{refused(reading.read, file, f'tests/bad/{file.name}', '').text}\n"
    if os.environ.get("GOLDEN") == "write":  # then read the diff: the messages are for people
        golden.write_text(said, encoding="utf-8")
    assert said == golden.read_text(encoding="utf-8")


def test_there_are_broken_recipes_and_each_has_its_message() -> None:
    assert len(BROKEN) >= 25
    assert {f.stem for f in BAD.glob("*.txt")} == {f.stem for f in BROKEN}


@pytest.mark.parametrize("file", BROKEN, ids=lambda file: str(file.stem))
def test_findings_are_sorted_differ_and_point_into_the_file(file: Path) -> None:
    refusal = refused(reading.read, file, file.name, "")
    text = file.read_bytes().decode("utf-8", errors="replace").split("\n")
    places = []
    for finding in refusal.findings:
        name, line, column = finding.where.split(":")
        assert name == file.name
        assert 1 <= int(line) <= len(text)
        assert 1 <= int(column) <= len(text[int(line) - 1]) + 1
        places.append((int(line), int(column)))
    assert places == sorted(places)
    assert len(set(refusal.findings)) == len(places)


def test_a_finding_points_at_the_key_it_names() -> None:
    text = "version: 1\nsummary: s\ndataset: {samples: 0, sed: 1}\ntokenizer:\n  method: no\n"
    rows = text.split("\n")
    for said, key in zip(findings(text), ("samples", "sed", "method"), strict=True):
        _, line, column, _ = said.split(":", 3)
        assert rows[int(line) - 1][int(column) - 1 :].startswith(key)


def test_a_huge_file_is_refused_without_being_parsed() -> None:
    text = HEAD + b"model: {}\n" + b"#" * marked.LARGEST
    assert findings(text) == [
        f"x.yaml:1:1: the file has {len(text):,} bytes; a recipe has at most 262,144\n"
        "  hint: a recipe names its upstream, it does not contain it"
    ]
    assert read(text[: marked.LARGEST])


@pytest.mark.parametrize(
    "nested",
    [
        b"[" * 100_000,
        b"{a: " * 50_000,
        b"- " * 100_000,
        b"? " * 100_000,
        b"".join(b" " * depth + b"a:\n" for depth in range(500)),
    ],
    ids=["brackets", "braces", "dashes", "questions", "indented"],
)
def test_absurd_nesting_is_refused(nested: bytes) -> None:
    assert len(findings(nested)) == 1


def test_a_full_vocabulary_fits() -> None:
    tokens = [f"t{i}" for i in range(25_000)]
    text = f"version: 1\nsummary: s\ntokenizer: {{class: A, method: scratch, vocab: {tokens}}}"
    assert read(text.replace("'", "").replace(", t", ",t")).data["tokenizer"]["vocab"] == tokens


def test_mixed_items_do_not_take_minutes() -> None:
    items = ",".join(f"{i},a{i}" for i in range(5_000))
    text = f"version: 1\nsummary: s\ntokenizer: {{class: A, method: scratch, vocab: [{items}]}}"
    assert len(findings(text)) == 5_000


# --- valid recipes --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("off", "off"),
        ("n", "n"),
        ("true", True),
        ("False", False),
        ("TRUE", True),
        ("tRUE", "tRUE"),
        ("~", None),
        ("", None),
        ("null", None),
        ("nULL", "nULL"),
        ("1e-5", 1e-5),
        ("1E5", 1e5),
        ("1.", 1.0),
        (".5", 0.5),
        ("-.5e+3", -500.0),
        ("1.5", 1.5),
        ("0x10", 16),
        ("0o17", 15),
        ("010", 10),
        ("-3", -3),
        ("+3", 3),
        ("-0x10", "-0x10"),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("2024-01-31", "2024-01-31"),
        ("0b11", "0b11"),
        ("1e", "1e"),
        ("=", "="),
        ("'1'", "1"),
        ('"true"', "true"),
        ('"\\u0000\\n"', "\0\n"),
        ("|-\n      1", "1"),
        ("a#b", "a#b"),
        ("[]", []),
        ("{}", {}),
        ("[1, [no, ~]]", [1, ["no", None]]),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, value: Any) -> None:
    found = config(text)
    assert found == value
    assert type(found) is type(value)


def test_keys_are_text() -> None:
    assert config("{1: a, true: b, ~: c, 1e3: d, '': e, '<<': f}") == {
        "1": "a",
        "true": "b",
        "~": "c",
        "1e3": "d",
        "": "e",
        "<<": "f",
    }


def test_an_alias_repeats_a_value() -> None:
    assert config("{a: &a [1, 2], b: *a}") == {"a": [1, 2], "b": [1, 2]}


def test_a_byte_order_mark_and_carriage_returns_are_read() -> None:
    text = HEAD + b"model: {}\n"
    same = b"\xef\xbb\xbf" + text.replace(b"\n", b"\r\n")
    assert read(same).data == read(text).data
    assert read(b"\xef\xbb\xbf" + text).sha256 == read(text).sha256


def test_defaults_are_filled_in_sections_that_are_there() -> None:
    assert read(HEAD + b"model: {}\n").data == {
        "version": 1,
        "summary": "a tiny model",
        "seed": 0,
        "source": {"transformers": "mt5"},
        "model": {
            "architecture": "auto",
            "shrink": "auto",
            "size": "tiny",
            "config": {},
        },
        "checks": {"max_parameters": 50_000_000, "max_coincidences": 0},
        "limits": {"seconds": 600, "memory": "8GB"},
    }
    data = read("version: 1\nsummary: s\ndataset: {samples: 3}\nchecks: {max_parameters: 1M}").data
    assert data["dataset"] == {"samples": 3}
    assert data["checks"] == {"max_parameters": "1M", "max_coincidences": 0}
    assert "source" not in data
    assert "model" not in data
    read(HEAD + b"model: {}\n").data["model"]["config"]["d_model"] = 1
    assert read(HEAD + b"model: {}\n").data["model"]["config"] == {}


@pytest.mark.parametrize(
    "text",
    [
        "dataset: {samples: 3, source: {path: lines.jsonl}, seed: 4294967295}",
        "dataset: {samples: 3, source: {package: a, files: {x.jsonl: y/x.jsonl}}}",
        "tokenizer: {method: keep, source: {hub: google/mt5-small, revision: main}}",
        "tokenizer: {method: train, vocab_size: 9, source: {recipe: llama}}",
        "source: {path: .}\ntokenizer: {method: train, vocab_size: 9, text: plain}",
        "source: {path: .}\ntokenizer: {method: train, vocab_size: 9, text: vocabulary,"
        " weighted: true}",
        "tokenizer: {method: scratch, class: A, vocab: [a, b, ab], merges: [a b, a b 3]}",
        "tokenizer: {method: scratch, class: A, vocab: {src: [a], tgt: [a]},"
        " options: {langs: [en, ru], lower: true, n: 1.5, none: null}}",
        "source: {hub: gpt2}\nmodel: {initializer_range: 10, dtype: bfloat16, shrink: none}",
        "source: {hub: gpt2}\nmodel: {}\nchecks: {max_bytes: 1.5kB, max_parameters: 1}",
    ],
)
def test_valid_recipes_are_read(text: str) -> None:
    found = read(f"version: 1\nsummary: s\n{text}\n")
    assert (found.name, found.summary) == ("x", "s")


def test_recipes_of_this_zoo_are_read() -> None:
    for file in (Path(__file__).parents[2] / "recipes").rglob("*.yaml"):
        assert reading.read(file, file.name, "").name == file.stem


def test_amount_and_size_know_their_units() -> None:
    amounts: dict[int | str, int] = {
        7: 7,
        "7k": 7_000,
        "7K": 7_000,
        "1.5M": 1_500_000,
        "2B": 2_000_000_000,
    }
    assert {text: recipe.amount(text) for text in amounts} == amounts
    sizes: dict[int | str, int] = {7: 7, "7B": 7, "7kB": 7_000, "7KB": 7_000, "0.29MB": 290_000}
    sizes["2GB"] = 2_000_000_000
    assert {text: recipe.size(text) for text in sizes} == sizes
    assert recipe.size("9" * 400 + "MB") > 10**400


# --- places ---------------------------------------------------------------------------------------


def test_locate_turns_a_key_into_a_place(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("# note\nversion: 1\nmodel:\n  config: {a: 1, b: [x, {c: 2}]}\n")

    def where(*key: str | int, place: str = "") -> str:
        fault = BuildFault([Finding(what="w", hint="h", key=key, where=place)])
        found = reading.locate(fault, file, "recipes/x.yaml")
        assert type(found) is BuildFault
        (finding,) = found.findings
        assert (finding.what, finding.hint) == ("w", "h")
        return finding.where

    assert where("model") == "recipes/x.yaml:3:1"
    assert where("model", "config") == "recipes/x.yaml:4:3"
    assert where("model", "config", "b") == "recipes/x.yaml:4:18"
    assert where("model", "config", "b", 1) == "recipes/x.yaml:4:25"
    assert where("model", "config", "b", 1, "c") == "recipes/x.yaml:4:26"
    assert where("model", "config", "b", 7) == "recipes/x.yaml:4:18"  # the nearest that is there
    assert where("seed") == "recipes/x.yaml:2:1"
    assert where() == ""
    assert where("model", place="model:x") == "model:x"
    file.unlink()
    assert where("model") == ""


# --- the cache ------------------------------------------------------------------------------------


@pytest.fixture
def zoo(tmp_path: Path) -> Path:
    (tmp_path / "a.yaml").write_bytes(HEAD + b"model: {config: {d_model: 64}}\n")
    return tmp_path


def load(zoo: Path) -> tuple[recipe.Recipe | recipe.Broken, recipe.Cache]:
    cache = recipe.Cache(zoo / "cache.json", Memo())
    return cache.read(zoo / "a.yaml", "a.yaml", "g"), cache


def never(*_: Any) -> recipe.Recipe:
    raise AssertionError("read anew")


def test_a_second_read_comes_from_the_cache(zoo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, cache = load(zoo)
    assert cache.dirty
    (zoo / "cache.json").write_text(cache.content())
    with monkeypatch.context() as patch:
        patch.setattr("tinybuild.recipe.reading.check", never)
        second, again = load(zoo)
    assert second == first
    assert not again.dirty
    assert again.content() == cache.content()


def test_changed_text_is_read_anew(zoo: Path) -> None:
    (zoo / "cache.json").write_text(load(zoo)[1].content())
    (zoo / "a.yaml").write_bytes(HEAD + b"model: {config: {d_model: 32}}\n")
    found, cache = load(zoo)
    assert isinstance(found, recipe.Recipe)
    assert found.data["model"]["config"] == {"d_model": 32}
    assert cache.dirty
    assert '"d_model":64' not in cache.content()


def test_a_file_that_changes_while_it_is_read_is_not_remembered_wrongly(zoo: Path) -> None:
    file, old = zoo / "a.yaml", (zoo / "a.yaml").read_bytes()

    class Late(Memo):
        def sha256(self, path: str) -> str | None:
            hashed = super().sha256(path)
            file.write_bytes(old.replace(b"64", b"32"))
            return hashed

    cache = recipe.Cache(zoo / "cache.json", Late())
    cache.read(file, "a.yaml", "")
    (zoo / "cache.json").write_text(cache.content())
    file.write_bytes(old)
    found, _ = load(zoo)
    assert isinstance(found, recipe.Recipe)
    assert found.data["model"]["config"] == {"d_model": 64}


def test_another_reader_or_schema_forgets_everything(
    zoo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (zoo / "cache.json").write_text(load(zoo)[1].content())
    assert not load(zoo)[1].dirty
    other = recipe.Cache(zoo / "cache.json", Memo(), {"recipe/words.py": "another"})
    other.read(zoo / "a.yaml", "a.yaml", "g")
    assert other.dirty
    rules = {**contract("recipe"), "title": "another"}
    monkeypatch.setattr("tinybuild.recipe.cache.contract", lambda _: rules)
    assert load(zoo)[1].dirty


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff",
        b'{"stamp": "STAMP"}',
        b'{"stamp": "STAMP", "recipes": 3}',
        b'{"stamp": "STAMP", "recipes": [1]}',
        b'{"stamp": "older", "recipes": {}}',
    ],
)
def test_a_corrupt_cache_is_ignored(zoo: Path, content: bytes) -> None:
    first, cache = load(zoo)
    (zoo / "cache.json").write_bytes(content.replace(b"STAMP", cache.stamp.encode()))
    assert load(zoo)[0] == first


def test_broken_recipes_are_not_cached_and_say_why_each_time(zoo: Path) -> None:
    (zoo / "a.yaml").write_bytes(HEAD)
    for _ in range(2):
        found, cache = load(zoo)
        assert isinstance(found, recipe.Broken)
        assert "a.yaml:1:1: nothing to build" in str(found.fault)
        (zoo / "cache.json").write_text(cache.content())
        assert not cache.dirty


@pytest.mark.parametrize("trouble", ["missing", "folder"])
def test_a_file_that_cannot_be_read_is_a_fault(zoo: Path, trouble: str) -> None:
    (zoo / "a.yaml").unlink()
    if trouble == "folder":
        (zoo / "a.yaml").mkdir()
    found, _ = load(zoo)
    assert isinstance(found, recipe.Broken)
    assert str(found.fault).startswith("a.yaml: cannot be read (")


# --- anything at all ------------------------------------------------------------------------------

anything = settings(max_examples=100)
PIECES = (
    "version: 1\n|summary: s\n|source: |{transformers: mt5}\n|model:|tokenizer:|dataset:|checks:"
    "|  method: scratch\n|  vocab: |samples: |config: |max_bytes: |0|-1|1e999|.nan|4MB|0xff|yes"
    "|&a |*a|<<: |!!int |!x |? |: |- |[|]|{|}|,|'|\"|\\|#| |\n|\t|\n  |---\n|...\n|%|@|é"
    "|\ufeff|\x85|~"
)


def outcome(raw: bytes) -> None:
    """A recipe is either plain data that satisfies the contract, or refused with findings."""
    try:
        found = read(raw)
    except RecipeFault as error:
        findings = error.findings
    else:
        jsonschema.Draft202012Validator(contract("recipe")).validate(found.data)
        assert same(json.loads(json.dumps(found.data, allow_nan=False)), found.data)
        return
    assert findings
    assert all(f.what and f.where.startswith("x.yaml:") for f in findings)


def same(a: Any, b: Any) -> bool:
    """Equal, and of the same types all the way down (1 == True == 1.0 in Python)."""
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return isinstance(b, list) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


@anything
@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    outcome(raw)


@anything
@given(st.text(max_size=300))
def test_any_text_is_read_or_refused(text: str) -> None:
    outcome(text.encode(errors="surrogatepass"))


@anything
@given(st.lists(st.sampled_from(PIECES.split("|")), max_size=40))
def test_any_text_that_looks_like_a_recipe_is_read_or_refused(pieces: list[str]) -> None:
    outcome("".join(pieces).encode())


# Text that is a number in YAML 1.2 but not in 1.1: PyYAML, which writes 1.1, leaves it unquoted.
NUMBER = re.compile(r"0o[0-7]+|[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**38), 10**38)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=12).filter(lambda text: not NUMBER.fullmatch(text))
    | st.sampled_from(["yes", "no", "~", "null", "1_0", "<<", "=", "", "- a", "2024-01-31", "1:30"])
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
keys = st.sampled_from(
    [*contract("recipe")["properties"]]
    + [k for d in contract("recipe")["$defs"].values() for k in d.get("properties", ())]
)


@anything
@given(
    st.dictionaries(
        keys,
        st.recursive(
            scalars | keys | st.sampled_from(["train", "scratch", "keep"]),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=5),
            max_leaves=10,
        ),
    )
)
def test_any_data_under_known_keys_is_read_or_refused(data: dict[str, Any]) -> None:
    outcome(json.dumps({"version": 1, "summary": "s"} | data).encode())


@anything
@given(st.dictionaries(st.text(max_size=8), values, max_size=4))
def test_what_pyyaml_writes_comes_back_equal(wanted: dict[str, Any]) -> None:
    text = yaml.safe_dump(
        {
            "version": 1,
            "summary": "s",
            "source": {"transformers": "mt5"},
            "model": {"config": wanted},
        }
    )
    assert same(read(text).data["model"]["config"], wanted), text


# --- unknown keys ---------------------------------------------------------------------------------

VALID: dict[str, Any] = {
    "version": 1,
    "summary": "s",
    "seed": 3,
    "source": {"hub": "google/mt5-small", "revision": "main"},
    "dataset": {"samples": 10, "source": {"path": "lines.jsonl"}, "select": "random"},
    "tokenizer": {"method": "train", "vocab_size": 500, "source": {"transformers": "mt5"}},
    "model": {"dtype": "float16", "config": {"d_model": 64}},
    "checks": {"max_bytes": "4MB"},
}
SECTIONS: tuple[tuple[str, ...], ...] = (
    (),
    ("source",),
    ("dataset",),
    ("dataset", "source"),
    ("tokenizer",),
    ("tokenizer", "source"),
    ("model",),
    ("checks",),
)


def section(data: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    for key in path:
        data = data[key]
    return data


def known(path: tuple[str, ...]) -> set[str]:
    rules = contract("recipe")
    for key in path:
        rules = rules["properties"][key]
        while "$ref" in rules:
            rules = contract("recipe")["$defs"][rules["$ref"].rpartition("/")[2]]
    return set(rules["properties"])


def test_the_recipe_that_takes_unknown_keys_is_valid() -> None:
    read(yaml.safe_dump(VALID))


@anything
@given(
    path=st.sampled_from(SECTIONS),
    key=st.text("abcdefgrstz_-.0 é", min_size=1, max_size=14) | keys,
    value=values,
    flow=st.sampled_from([None, False, True]),
)
def test_an_unknown_key_is_refused_and_named_with_its_line(
    path: tuple[str, ...], key: str, value: Any, flow: bool | None
) -> None:
    if key in known(path):
        return
    data = copy.deepcopy(VALID)
    section(data, path)[key] = value
    text = yaml.safe_dump(data, default_flow_style=flow, allow_unicode=True, sort_keys=False)
    place = marked.parse(text.encode())[1][(*path, key)]
    at = f" in {'.'.join(path)}" if path else ""
    (said,) = findings(text)
    assert said.startswith(f"x.yaml:{place[0]}:{place[1]}: unknown key {key!r}{at}\n  hint: ")
    there = text.split("\n")[place[0] - 1][place[1] - 1 :]
    assert there.lstrip("?\"' ").startswith(key.strip()[:1])


# --- the schema -----------------------------------------------------------------------------------


def subschemas(rules: Any, where: str = "#") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema inside the schema, with a pointer to it."""
    if not isinstance(rules, dict):
        return
    yield where, rules
    for word in ("properties", "$defs", "dependentSchemas", "patternProperties"):
        for key, inner in rules.get(word, {}).items():
            yield from subschemas(inner, f"{where}/{word}/{key}")
    for word in ("items", "additionalProperties", "propertyNames", "if", "then", "else", "not"):
        yield from subschemas(rules.get(word), f"{where}/{word}")
    for word in ("allOf", "anyOf", "oneOf"):
        for i, inner in enumerate(rules.get(word, ())):
            yield from subschemas(inner, f"{where}/{word}/{i}")


ALL = dict(subschemas(contract("recipe")))


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(contract("recipe"))
    assert contract("recipe")["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_every_property_has_a_description() -> None:
    bare = []
    for where, rules in ALL.items():
        if "/if" in where or "/then" in where or "/else" in where:
            continue  # conditions on properties that are described where they are defined
        for key, inner in rules.get("properties", {}).items():
            target = ALL.get(inner.get("$ref", ""), {})
            if not (inner.get("description") or target.get("description")):
                bare.append(f"{where}/properties/{key}")
    assert bare == []


def test_every_mapping_is_closed() -> None:
    """Unknown keys are errors at every depth; model.config is checked by the config class."""
    open_ = [
        where
        for where, rules in ALL.items()
        if rules.get("type") == "object" and "additionalProperties" not in rules
    ]
    assert open_ == ["#/$defs/model/properties/config"]


EXAMPLES = [
    pytest.param(where, example, id=f"{where.removeprefix('#/')}-{i}")
    for where, rules in ALL.items()
    for i, example in enumerate(rules.get("examples", ()))
]


@pytest.mark.parametrize(("where", "example"), EXAMPLES)
def test_every_example_is_valid(where: str, example: Any) -> None:
    rules = ALL[where] | {"$defs": contract("recipe")["$defs"]}
    jsonschema.Draft202012Validator(rules).validate(example)


def test_defaults_are_valid() -> None:
    for rules in ALL.values():
        if "default" in rules:
            inner = rules | {"$defs": contract("recipe")["$defs"]}
            jsonschema.Draft202012Validator(inner).validate(rules["default"])


def test_recipes_are_frozen() -> None:
    found = read(HEAD + b"model: {}\n")
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.name = "y"  # type: ignore[misc]
    assert issubclass(RecipeFault, Fault)
