"""transformers.js's tokenizers give the ids that those of Python give.

TINYBUILD_NODE is a folder in which `npm install @huggingface/tokenizers` was run.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from run import TEXTS, on

SCRIPT = """
import {Tokenizer} from '@huggingface/tokenizers';
import {readFileSync} from 'node:fs';
const [folder, texts] = process.argv.slice(-2);
const read = (name) => JSON.parse(readFileSync(`${folder}/${name}`, 'utf8'));
const made = new Tokenizer(read('tokenizer.json'), read('tokenizer_config.json'));
console.log(JSON.stringify(JSON.parse(texts).map((text) => made.encode(text).ids)));
"""


BUNDLES = ("llama", "gpt2", "bert", "t5", "mt5", "bart", "xlm-roberta", "deberta", "clip")


@on(*BUNDLES, "qwen2-600", "nemo-2k", "mistral-1k")
def tokenizers(folder: Path) -> str:
    """The same ids for the same texts."""
    import transformers

    command = ["node", "--input-type=module", "-e", SCRIPT, "--", str(folder), json.dumps(TEXTS)]
    done = subprocess.run(
        command, cwd=os.environ["TINYBUILD_NODE"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(next((x for x in done.stderr.splitlines() if "Error" in x), done.stderr))
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    wanted = [tokenizer(text)["input_ids"] for text in TEXTS]
    made = json.loads(done.stdout)
    differ = [text for text, one, other in zip(TEXTS, wanted, made, strict=True) if one != other]
    assert not differ, f"{len(differ)} of {len(TEXTS)} texts differ: {differ[0]!r}"
    return f"{len(TEXTS)} texts"
