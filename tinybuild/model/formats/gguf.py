"""A GGUF file, made by llama.cpp's own converter where that is installed."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tinybuild.errors import BuildFault
from tinybuild.facts import Form
from tinybuild.files import pretty
from tinybuild.keys import FORMER
from tinybuild.model.formats.work import Work

FILE, SCRIPT = "model.gguf", "convert_hf_to_gguf.py"
KEY = ("model", "gguf")
TYPES = {"float32": "f32", "float16": "f16", "bfloat16": "bf16"}
# The converter knows a pre-tokenizer by what a whole vocabulary makes of one text, which a smaller
# one does not. So the recipe may name it.
PROGRAM = """
import sys
folder, pre, *sys.argv[1:] = sys.argv[1:]
sys.path.insert(0, folder)
import convert_hf_to_gguf
if pre:
    from conversion.base import TextModel
    TextModel.get_vocab_base_pre = lambda self, tokenizer: pre
convert_hf_to_gguf.main()
"""


def write(work: Work) -> Iterator[Form]:
    """model.gguf, from the model and its tokenizer, in the model's dtype.

    Raises BuildFault, also with what the converter says.
    """
    script = converter()
    if script is None:
        raise BuildFault.of(
            f"a GGUF file needs llama.cpp's converter, and there is no {SCRIPT} on the PATH",
            key=KEY,
            hint=f"get the source of llama.cpp, and put its folder (with {SCRIPT}) on the PATH",
        )
    assert work.tokenizer is not None  # the recipe has one
    pre = work.section["gguf"].get("pre", "")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "model"
        for part in (work.tokenizer, work.folder):
            shutil.copytree(part, folder, dirs_exist_ok=True)
        _remember(folder / "config.json")
        kind = TYPES[work.section["dtype"]]
        done = subprocess.run(
            [
                *(sys.executable, "-c", PROGRAM, str(script.parent), pre, str(folder)),
                *("--outfile", str(work.folder / FILE), "--outtype", kind),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode or not (work.folder / FILE).is_file():
        raise _refusal(done.stdout + done.stderr)
    named = f", pre-tokenizer {pre}" if pre else ""
    words = f"for llama.cpp, by its converter ({_version(script)}{named})"
    yield Form(kind="gguf", path=FILE, words=words)


def _remember(path: Path) -> None:
    """Give a config the keys that converters read although transformers no longer writes them."""
    config = json.loads(path.read_text(encoding="utf-8"))
    former = {old: config[new] for old, new in FORMER.items() if new in config}
    path.write_text(pretty({**former, **config}), encoding="utf-8")


def converter() -> Path | None:
    """Where llama.cpp's converter is: a module of this Python, or a script on the PATH."""
    spec = importlib.util.find_spec(SCRIPT.removesuffix(".py"))
    found = spec.origin if spec is not None else shutil.which(SCRIPT)
    return Path(found).resolve() if found else None


def _version(script: Path) -> str:
    """A digest of the converter's code: it has no version of its own."""
    parts = [script, *sorted((script.parent / "conversion").glob("*.py"))]
    return hashlib.sha256(b"".join(part.read_bytes() for part in parts)).hexdigest()[:12]


def _refusal(said: str) -> BuildFault:
    """What a converter that failed said, in its last line."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    last = lines[-1] if lines else "nothing"
    hint = ""
    if "pre-tokenizer was not recognized" in said:
        last = "it does not know the pre-tokenizer of this vocabulary"
        hint = (
            "name that of the source's family as llama.cpp calls it, for example "
            "gguf: {pre: llama-bpe} (or gpt-2, qwen2, jina-v2-en for WordPiece)"
        )
    fault = BuildFault.of(f"llama.cpp's converter failed: {last}", key=KEY, hint=hint)
    assert isinstance(fault, BuildFault)
    return fault
