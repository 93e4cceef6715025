"""A zoo for the suites of peft, trl and sentence-transformers: bundles for the names in peers.yaml.

    python benchmarks/peers.py ZOO [--rows FOLDER] [--templates FOLDER]

writes ZOO/recipes, and ZOO/SUITE.txt for each suite: options of pytest, a `--tiny-as` a line. Then
`tinybuild -C ZOO build`, and in the folder of the suite's source

    pytest --tiny-zoo ZOO/dist @ZOO/SUITE.txt tests/...

Rows are samples of the data sets of the Hub that the suites name; with --rows of the folders of
those names in FOLDER (zen ...). Chat templates are tinybuild's; with --templates, which takes the
folder chat_templates of an installed trl, those that trl knows by their text. docs/clients.md says
what passes.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

PEERS = Path(__file__).with_suffix(".yaml")
Recipe = Mapping[str, Any]


def recipes(
    peers: Mapping[str, Any], rows: Path | None, templates: Path | None
) -> Iterator[tuple[str, Recipe]]:
    """The name and the recipe of each bundle."""
    for name, given in peers["models"].items():
        tokenizer = {"vocab_size": 1000, **given.get("tokenizer", {})}
        if templates and "template" in given:
            file = templates / f"{given['template']}.jinja"
            tokenizer["chat_template"] = file.read_text(encoding="utf-8")
        yield (
            name,
            {
                "source": {"transformers": given["type"]},
                **({"tokenizer": tokenizer} if given.get("reads_text", True) else {}),
                "model": given.get("model", {}),
            },
        )
    for name, given in peers["rows"].items():
        source = {"path": str(rows / name)} if rows else {"hub": given["hub"]}
        yield name, {"dataset": {"source": source, **given["dataset"]}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("zoo", type=Path)
    parser.add_argument("--rows", type=Path, help="a folder with a folder of rows for each name")
    parser.add_argument("--templates", type=Path, help="the folder chat_templates of trl")
    given = parser.parse_args()
    peers = yaml.safe_load(PEERS.read_text(encoding="utf-8"))
    (given.zoo / "recipes").mkdir(parents=True, exist_ok=True)
    rows = given.rows and Path(os.path.relpath(given.rows, given.zoo / "recipes"))
    for name, recipe in recipes(peers, rows, given.templates):
        about = {"version": 1, "summary": "stands for names in the suites of peers"}
        text = yaml.safe_dump({**about, **recipe}, sort_keys=False)
        (given.zoo / "recipes" / f"{name}.yaml").write_text(text, encoding="utf-8")
    for suite, names in peers["names"].items():
        lines = [f"--tiny-as={public}={name}\n" for public, name in names.items()]
        (given.zoo / f"{suite}.txt").write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
