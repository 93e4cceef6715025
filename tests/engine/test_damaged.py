"""Sources that once ended a build with a traceback, a crash, or "run doit again": each is refused
by the name of its file, with something to do, and the other recipes go on. In one real doit."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from kit.fuzz import CARD, CONFIG, DEEP, READERS
from kit.zoo import Result, doit, make

pytestmark = pytest.mark.slow
HEAD = "version: 1\nsummary: of a damaged source\n"
MODEL = HEAD + "source: {{path: ../{name}}}\nmodel: {{}}\n"
TOKENS = (
    HEAD + "source: {{path: ../{name}}}\n"
    "tokenizer: {{method: truncate, vocab_size: 300, text: plain}}\n"
)
ROWS = HEAD + "dataset: {{samples: 2, source: {{path: ../{name}}}}}\n"
ENDLESS = "{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}"


def config(**more: object) -> Mapping[str, bytes]:
    """`DEEP` stands for a thousand lists in one another."""
    text = json.dumps({**CONFIG, **more}).replace(f'"{DEEP}"', "[" * 1000 + "]" * 1000)
    return {"config.json": text.encode()}


def tokens(**more: object) -> Mapping[str, bytes]:
    """A whole tokenizer with more in its tokenizer_config.json."""
    files = {name.removeprefix("source/"): data for name, data in whole("tokenizer.json").items()}
    told = {**json.loads(files["tokenizer_config.json"]), **more}
    return {**files, "tokenizer_config.json": json.dumps(told).encode()}


def whole(reader: str) -> Mapping[str, bytes]:
    return READERS[reader].seed()


def vocabulary(change: Callable[[dict[str, int]], object]) -> Mapping[str, bytes]:
    files = dict(tokens())
    told = json.loads(files["tokenizer.json"])
    change(told["model"]["vocab"])
    return {**files, "tokenizer.json": json.dumps(told).encode()}


def pieces() -> Mapping[str, bytes]:
    """A SentencePiece model whose lengths are others."""
    files = {name.removeprefix("source/"): data for name, data in whole("unigram model").items()}
    model = files["tokenizer.model"]
    return {**files, "tokenizer.model": model[:2000] + b"\xff" * 64 + model[2000:]}


def parquet() -> Mapping[str, bytes]:
    """Whose metadata says features that are nested 100,000 deep."""
    import io

    import pyarrow
    from pyarrow import parquet

    sink = io.BytesIO()
    deep = '{"info": {"features": ' + '{"a": ' * 100_000 + "1" + "}" * 100_002
    table = pyarrow.table({"a": [1, 2, 3]}).replace_schema_metadata({"huggingface": deep})
    parquet.write_table(table, sink)
    return {"data.parquet": sink.getvalue()}


# name -> (recipe, files of the source, what the refusal names)
DAMAGED: Mapping[str, tuple[str, Callable[[], Mapping[str, bytes]], str]] = {
    "deep-config": (MODEL, lambda: config(rope_scaling=DEEP), "config.json"),
    "no-heads": (MODEL, lambda: config(num_attention_heads=0), "config.json"),
    "no-width": (MODEL, lambda: config(hidden_size=0), "config"),
    "class-of-numbers": (MODEL, lambda: config(architectures=[7]), "config.json"),
    "half-a-letter": (MODEL, lambda: config(hidden_act="\ud800"), "config"),
    "not-a-number": (TOKENS, lambda: tokens(clean_up=float("nan")), "the source's tokenizer"),
    "template-of-numbers": (TOKENS, lambda: tokens(chat_template=7), "the source's tokenizer"),
    "endless-template": (TOKENS, lambda: tokens(chat_template=ENDLESS), "tokenizer"),
    "deep-tokenizer": (
        TOKENS,
        lambda: {**tokens(), "tokenizer.json": b'{"model":' + b"[" * 100_000 + b"]" * 100_000},
        "tokenizer.json",
    ),
    "pieces": (TOKENS, pieces, "tokenizer.model"),
    "deep-parquet": (ROWS, parquet, "data.parquet"),
    "deep-card": (
        ROWS,
        lambda: {"README.md": CARD[:4] + b"a: " + b"[" * 50_000 + CARD[3:], "a.csv": b"a\n1\n2\n"},
        "README.md",
    ),
}

# What can be built all the same: a token with an id of a billion is one that is not kept.
WHOLE: Mapping[str, Callable[[], Mapping[str, bytes]]] = {
    "far-id": lambda: vocabulary(lambda v: v.update(far=10**9)),
    "whole": tokens,
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """Every damaged source, and a whole one, in one doit."""
    folder = tmp_path_factory.mktemp("damaged")
    texts = {name: recipe.format(name=name) for name, (recipe, _, _) in DAMAGED.items()}
    root = make(folder / "zoo", **texts, **{name: TOKENS.format(name=name) for name in WHOLE})
    for name, files in {**{n: f for n, (_, f, _) in DAMAGED.items()}, **WHOLE}.items():
        for file, data in files().items():
            (root / name).mkdir(exist_ok=True)
            (root / name / file).write_bytes(data)
    return root, doit(root, "-c")


def test_the_others_are_built(built: tuple[Path, Result]) -> None:
    root, result = built
    assert result.code == 1
    assert "Traceback" not in result.out + result.err
    assert {path.name for path in (root / "dist").iterdir() if path.is_dir()} == {*WHOLE}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_source_is_refused_by_the_name_of_its_file(
    built: tuple[Path, Result], name: str
) -> None:
    root, _ = built
    (note,) = (root / f"build/{name}").glob("*.failure.json")
    said = json.loads(note.read_text())
    for finding in said["findings"]:
        assert DAMAGED[name][2] in finding["what"]
        assert finding["hint"]
        assert "run doit again" not in finding["hint"]
