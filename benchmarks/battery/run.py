"""Runs the items of one module of this folder on bundles, in whatever Python is asked.

    python run.py MODULE FOLDER [ITEM ...]    FOLDER/NAME are bundles

An item is a function from a bundle's folder to what it measured, in words; it raises where the
client does not work. Prints a JSON line for each item and bundle. Nothing of tinybuild is imported.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

Item = Callable[[Path], str]
TEXTS = (
    "The quick brown fox jumps over the lazy dog.",
    "  two  spaces, a\ttab\nand a line; 12345 numbers, don't.",
    "Größe, naïve, 東京, привет 🙂",
    "def f(x):\n    return x ** 2  # code",
    "<s>[INST] hello [/INST]</s>",
)


def on(*bundles: str) -> Callable[[Item], Item]:
    """Names the bundles that an item is tried on."""

    def named(item: Item) -> Item:
        item.bundles = bundles  # type: ignore[attr-defined]
        return item

    return named


def main() -> None:
    os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    os.environ |= {
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }
    os.environ |= {"TRANSFORMERS_VERBOSITY": "error", "TQDM_DISABLE": "1"}
    warnings.simplefilter("ignore")
    module, folder, wanted = sys.argv[1], Path(sys.argv[2]), sys.argv[3:]
    told = os.dup(1)
    os.dup2(2, 1)  # whatever clients print is not an answer
    for name, item in vars(importlib.import_module(module)).items():
        for bundle in getattr(item, "bundles", ()):
            if wanted and name not in wanted:
                continue
            where = folder / bundle
            if where.is_dir():
                ok, said = attempt(item, where)
                line = {"item": name, "bundle": bundle, "ok": ok, "said": said}
                os.write(told, (json.dumps(line) + "\n").encode())


def attempt(item: Item, bundle: Path) -> tuple[bool, str]:
    """Whether it works, and what it measured or raised."""
    try:
        return True, item(bundle)
    except Exception as error:  # noqa: BLE001 - what a client raises is what is asked for
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        first = " ".join(lines if len(lines) < 3 else (lines[0], lines[-1]))
        said = f"{type(error).__name__}: {first}"[:300]
        if "TINYBUILD_TRACE" in os.environ:
            import traceback

            traceback.print_exc()
        return False, said.replace(str(bundle), "the bundle")


if __name__ == "__main__":
    sys.modules["run"] = sys.modules["__main__"]
    main()
