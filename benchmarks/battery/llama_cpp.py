"""llama.cpp's converter makes a GGUF file of a bundle, and its reader finds all of it there.

TINYBUILD_LLAMA_CPP is a folder with llama.cpp's convert_hf_to_gguf.py.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from run import on

# The converter knows a BPE's pre-tokenizer by a hash of the ids of one text, which a smaller
# vocabulary cuts otherwise. The family's name, given by hand:
FAMILY = {
    "gpt2": "gpt-2",
    "llama": "default",
    "qwen2-600": "qwen2",
    "nemo-2k": "tekken",
    "bert": "bert-bge",
    "chat": "qwen2",
    "deepseek-v3": "deepseek-v3",
    "tp4": "default",
}
BY_HAND = """
import runpy, sys
name, script = sys.argv[1:3]
sys.argv = sys.argv[2:]
sys.path.insert(0, script.rpartition("/")[0])
try:
    from conversion.base import TextModel
    TextModel.get_vocab_base_pre = lambda self, tokenizer: name
    runpy.run_path(script, run_name="__main__")
except ModuleNotFoundError:
    text = open(script).read()
    head, mark, tail = text.partition("def get_vocab_base_pre(self, tokenizer) -> str:\\n")
    assert mark
    exec(compile(f"{head}{mark}        return {name!r}\\n{tail}", script, "exec"))
"""


def converted(folder: Path, name: str) -> str:
    import gguf

    script = Path(os.environ["TINYBUILD_LLAMA_CPP"]) / "convert_hf_to_gguf.py"
    start = [sys.executable, "-c", BY_HAND, name] if name else [sys.executable]
    with tempfile.TemporaryDirectory() as temporary:
        out = Path(temporary) / "made.gguf"
        command = [*start, str(script), str(folder), "--outfile", str(out), "--outtype", "f32"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode or not out.is_file():
            lines = [line for line in done.stderr.splitlines() if "error" in line.lower()]
            raise RuntimeError(lines[-1] if lines else "no file")
        reader = gguf.GGUFReader(out)
        tokens = len(reader.fields["tokenizer.ggml.tokens"].data)
        return f"{len(reader.tensors)} tensors, {tokens:,} tokens"


@on(*FAMILY, "t5", "xlm-roberta")
def converter(folder: Path) -> str:
    """convert_hf_to_gguf.py as it is."""
    return converted(folder, "")


@on(*FAMILY)
def converter_with_the_name(folder: Path) -> str:
    """convert_hf_to_gguf.py with the family's pre-tokenizer given by hand."""
    return f"{converted(folder, FAMILY[folder.name])} ({FAMILY[folder.name]})"
