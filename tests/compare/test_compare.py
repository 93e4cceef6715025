"""Two bundles: each part that can differ is told, with why, and nothing else is."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from kit.laid import RECIPE, Bundle

from tinybuild import wire
from tinybuild.compare import Comparison, Side, compare, markdown
from tinybuild.compare.differences import Part

Compared = Callable[..., Comparison]


@pytest.fixture
def compared(tmp_path: Path) -> Compared:
    """compared(after, before=...): what differs from a plain bundle."""

    def call(after: Bundle, before: Bundle | None = None) -> Comparison:
        old = (before or Bundle()).write(tmp_path / "before" / "x")
        return compare("x", Side.of(old), Side.of(after.write(tmp_path / "after" / "x")))

    return call


def causes(one: Comparison) -> dict[str, tuple[Part, ...]]:
    return {f"{cause.kind}: {cause.what}": cause.parts for cause in one.causes}


def test_the_same_bytes_are_the_same(compared: Compared) -> None:
    one = compared(Bundle())
    assert one.same
    assert not one.counts
    assert markdown([one]) == "1 bundle: 1 the same\n"


def test_a_key_of_the_config_with_the_line_that_set_it(compared: Compared) -> None:
    recipe = RECIPE.replace("hidden_size: 16", "hidden_size: 32")
    one = compared(Bundle(recipe=recipe, config={**Bundle().config, "hidden_size": 32}))
    (setting,) = one.settings
    assert (setting.part, setting.file, setting.key) == ("config", "config.json", "hidden_size")
    assert (setting.before, setting.after) == (16, 32)
    assert setting.reason == "recipe, line 8"
    assert causes(one) == {"recipe: line 8, model.config.hidden_size: 16 -> 32": ("config",)}
    text = markdown([one])
    assert "| `config.json` | `hidden_size` | `16` | `32` | `recipe, line 8` |" in text


def test_a_key_that_is_gone_from_the_recipe_is_told_by_its_old_line(compared: Compared) -> None:
    recipe = RECIPE.replace("    num_hidden_layers: 1\n", "")
    one = compared(Bundle(recipe=recipe, config={**Bundle().config, "num_hidden_layers": 2}))
    assert causes(one) == {
        "recipe: was line 9, model.config.num_hidden_layers: 1 -> nothing": ("config",)
    }


def test_ids_are_told_apart_from_the_rest_of_the_config(compared: Compared) -> None:
    one = compared(Bundle(config={**Bundle().config, "pad_token_id": 2}))
    assert [(s.part, s.key) for s in one.settings] == [("ids", "pad_token_id")]


def test_tokens_come_go_and_move(compared: Compared) -> None:
    one = compared(Bundle(vocabulary={"<pad>": 0, "b": 1, "c|`": 2}))
    (vocabulary,) = one.vocabularies
    assert (vocabulary.added, vocabulary.removed) == (("c|`",), ("a",))
    assert [(m.token, m.before, m.after) for m in vocabulary.moved] == [("b", 2, 1)]
    assert one.counts == {"vocabulary": 3}
    assert "1 added: `` c\\|` ``" in markdown([one])


def test_a_chat_template_is_a_diff_that_no_fence_in_it_ends(compared: Compared) -> None:
    one = compared(Bundle(template="{{ messages }}\n```\n@everyone\n"))
    (template,) = one.templates
    assert template.name == "default"
    assert template.diff[3:] == (" {{ messages }}", "-end", "+```", "+@everyone")
    assert "````diff\n" in markdown([one])


def test_tensors_by_shape_dtype_and_bytes(compared: Compared) -> None:
    before = Bundle(tensors={**Bundle().tensors, "old": ("F32", [1], bytes(4))})
    changed = {
        "embed.weight": ("BF16", [2, 2], bytes(8)),
        "lm_head.weight": ("F32", [2], bytes(8)),
        "same": ("F32", [1], bytes(4)),
    }
    before.tensors["same"] = changed["same"]
    one = compared(Bundle(tensors=changed), before)
    assert one.tensors is not None
    assert [change.name for change in one.tensors.changed] == [
        "embed.weight",
        "lm_head.weight",
        "old",
    ]
    assert one.tensors.same == 1
    text = markdown([one])
    assert "| `embed.weight` | `F32` [1, 2] | `BF16` [2, 2] |" in text
    assert "| `lm_head.weight` | `F32` [2] | other values" in text
    assert "| `old` | `F32` [1] | - |" in text


def test_a_model_in_more_files_is_the_same_model(tmp_path: Path) -> None:
    from kit.laid import TENSORS, safetensors

    folders = []
    for side in ("before", "after"):
        folders.append(Bundle().write(tmp_path / side / "x"))
    (folders[1] / "model.safetensors").unlink()
    for number, (name, tensor) in enumerate(TENSORS.items(), 1):
        file = folders[1] / f"model-0000{number}-of-00002.safetensors"
        file.write_bytes(safetensors({name: tensor}))
    one = compare("x", *map(Side.of, folders))
    assert one.tensors is not None
    assert (one.tensors.changed, one.tensors.same) == ((), 2)
    assert not one.same


def test_rows_by_value_and_columns(compared: Compared) -> None:
    rows = [{"text": "two", "m": 1.5}, {"text": "three", "m": 0.5}, {"text": "two", "m": 0.5}]
    (split,) = compared(Bundle(rows=rows)).rows
    assert (split.split, split.before, split.after) == ("train", 2, 3)
    assert (split.added, split.removed) == (2, 1)
    assert [(c.name, c.before, c.after) for c in split.columns] == [
        ("m", None, "double"),
        ("n", "int64", None),
    ]


def test_a_dataset_that_is_gone(compared: Compared) -> None:
    (split,) = compared(Bundle(rows=())).rows
    assert (split.before, split.after, split.removed) == (2, None, 2)


def test_checks_by_state_and_numbers(compared: Compared) -> None:
    checks = {
        "reload": {"state": "not tried", "values": {"tensors": 3}},
        "dtype": {"state": "passed", "values": {"wrong": 0}},
    }
    old, new = compared(Bundle(checks=checks)).checks
    assert (old.name, old.before, old.after) == ("reload", "passed", "not tried")
    assert [(n.key, n.before, n.after) for n in old.values] == [("tensors", 2, 3)]
    assert (new.name, new.before, new.after, new.values) == ("dtype", "", "passed", ())


def test_an_upstream_file_reaches_what_is_made_of_it(compared: Compared) -> None:
    """What is not made of the source, such as a dataset of its own, it does not explain."""
    after = Bundle(commit="b" * 40, files={"config.json": "2" * 64}, rows=({"text": "x"},))
    after.config["rope_theta"] = 5
    why = causes(compared(after))
    short = "upstream: source (hub org/full)"
    assert why[f'{short}, commit: "{"a" * 40}" -> "{"b" * 40}"'] == ("config",)
    assert why[f"{short}: config.json changed"] == ("config",)
    (unknown,) = [parts for what, parts in why.items() if what.startswith("unknown")]
    assert unknown == ("dataset",)


def test_a_library_reaches_the_stages_that_use_it(compared: Compared) -> None:
    after = Bundle(toolchain={**Bundle().toolchain, "torch": "2.14.0"}, rows=({"text": "x"},))
    after.tensors["embed.weight"] = ("F32", [1, 2], bytes(range(8)))
    why = causes(compared(after))
    assert why['library: torch: "2.13.0" -> "2.14.0"'] == ("tensors",)


def test_a_change_of_the_recipe_flows_through_what_differs(compared: Compared) -> None:
    recipe = RECIPE.replace("vocab_size: 3", "vocab_size: 4")
    after = Bundle(recipe=recipe, vocabulary={**Bundle().vocabulary, "c": 3})
    after.config["vocab_size"] = 4
    assert causes(compared(after)) == {
        "recipe: line 4, tokenizer.vocab_size: 3 -> 4": ("config", "vocabulary")[::-1],
    }


def test_what_cannot_be_read_is_said_and_compared_by_digest(tmp_path: Path) -> None:
    old, new = (Bundle().write(tmp_path / side / "x") for side in ("before", "after"))
    whole = (new / "model.safetensors").read_bytes()
    (new / "model.safetensors").write_bytes(whole[:-3])
    (new / "config.json").write_text("[" * 100_000)
    (new / "tokenizer.json").write_bytes(b"\xff")
    (new / "dataset" / "data" / "train-00000-of-00001.parquet").write_bytes(b"PAR1")
    one = compare("x", Side.of(old), Side.of(new))
    assert [said.partition(":")[0] for said in one.unread] == [
        "config.json",
        "tokenizer.json",
        "the weights",
        "train",
    ]
    assert len(one.files) == 4
    assert "compared by digest only" in markdown([one])


@pytest.mark.parametrize(
    "header",
    [
        {"x": {"dtype": "F32", "shape": [1], "data_offsets": [-8, 4]}},
        {"x": {"dtype": "F32", "shape": [1], "data_offsets": [0, 1 << 60]}},
        {"x": {"dtype": "F32"}},
        ["x"],
    ],
)
def test_a_header_that_leads_elsewhere_is_refused(tmp_path: Path, header: object) -> None:
    from tinybuild.tensors import read

    text = json.dumps(header).encode()
    file = tmp_path / "model.safetensors"
    file.write_bytes(len(text).to_bytes(8, "little") + text + bytes(4))
    with pytest.raises(ValueError, match=r"^the bytes of x lie|is missing$|must be a mapping$"):
        read(file)


def test_new_and_gone(tmp_path: Path) -> None:
    side = Side.of(Bundle().write(tmp_path / "x"))
    new, gone = compare("new", None, side), compare("gone", side, None)
    text = markdown([new, gone])
    assert text.startswith("2 bundles: 1 new, 1 gone\n")
    assert "| `new` | new, " in text
    assert "gone: `gone`" in text


def test_causes_of_several_bundles_are_told_once_more(tmp_path: Path) -> None:
    several = []
    for name in "ab":
        after = Bundle(toolchain={**Bundle().toolchain, "torch": "3"})
        sides = Bundle().write(tmp_path / "old" / name), after.write(tmp_path / "new" / name)
        several.append(compare(name, *map(Side.of, sides)))
    assert '- library: `torch: "2.13.0" -> "3"` (2 bundles)' in markdown(several)


def test_a_comment_has_a_limit(tmp_path: Path) -> None:
    after = Bundle(vocabulary={f"t{n}": n for n in range(300)})
    one = compare("x", *map(Side.of, (Bundle().write(tmp_path / "a"), after.write(tmp_path / "b"))))
    text = markdown([one] * 30, limit=8_000)
    assert len(text) < 8_200
    assert "There is no room here for the details of" in text


def test_it_is_json_data(compared: Compared) -> None:
    one = compared(Bundle(vocabulary={"<pad>": 0}, tensors={}, checks={}))
    data = json.loads(json.dumps(wire.dump(one)))
    assert wire.load(Comparison, data) == one


def test_the_library_itself_writes_what_is_read(tmp_path: Path) -> None:
    import numpy
    from safetensors.numpy import save_file

    from tinybuild.tensors import held

    values = {"a": numpy.arange(4, dtype="float16"), "b": numpy.ones((), dtype="int64")}
    save_file(values, tmp_path / "model.safetensors", metadata={"format": "pt"})
    tensors = held(tmp_path)
    assert {name: (one.dtype, one.shape) for name, one in tensors.items()} == {
        "a": ("F16", (4,)),
        "b": ("I64", ()),
    }
    assert tensors["a"].sha256 == hashlib.sha256(values["a"].tobytes()).hexdigest()


def test_a_comparison_needs_no_heavy_library(tmp_path: Path) -> None:
    for side in ("a", "b"):
        Bundle(rows=(), config={"side": side}).write(tmp_path / side)
    text = (
        "import sys; from pathlib import Path; from tinybuild.compare import Side, compare\n"
        "one = compare('x', Side.of(Path('a')), Side.of(Path('b'))); assert one.settings\n"
        "assert not {'torch', 'transformers', 'pyarrow', 'numpy'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", text], cwd=tmp_path, check=True)


def test_nothing_that_an_upstream_names_is_more_than_text(compared: Compared) -> None:
    """A mention, a link or HTML stands in a code span: outside of those there is none."""
    bad = "@everyone <img src=x> [x](https://example.org) | `"
    after = Bundle(
        config={bad: bad},
        vocabulary={bad: 0},
        tensors={bad: (bad, [1], bytes(4))},
        rows=({"text": {bad: 1}, bad: 2},),
        checks={bad: {"state": bad, "values": {bad: bad}}},
        files={bad: "3" * 64},
        toolchain={bad: bad},
    )
    text = markdown([compared(after)])
    assert text.count("everyone") > 10
    lines = [line for line in text.splitlines() if "everyone" in line]
    assert not [
        line for line in lines if "everyone" in re.sub(r"(`+)(?!`).+?(?<!`)\1(?!`)", "", line)
    ]
