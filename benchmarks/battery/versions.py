"""Prints what a version of transformers has, as JSON: its types, its tokenizer classes, and those
of them that decide by themselves whether a text begins with BOS, whatever tokenizer.json says.

`benchmarks/clients.py --versions` makes tinybuild/config/versions.json of it.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import transformers
from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

ENDS = ("Tokenizer", "TokenizerFast", "Backend")


def main() -> None:
    names = [name for name in dir(transformers) if name.endswith(ENDS)]
    own = {}
    for path in Path(transformers.__file__).parent.glob("models/*/tokenization_*_fast.py"):
        text = path.read_text()
        if "def update_post_processor" in text:
            default = re.search(r"add_bos_token(?:: bool)? ?= ?(True|False)", text)
            for name in re.findall(r"^class (\w+)", text, re.MULTILINE):
                own[name.removesuffix("Fast")] = default is None or default[1] == "True"
    print(json.dumps({"types": sorted(CONFIG_MAPPING_NAMES), "tokenizers": names, "own_bos": own}))


if __name__ == "__main__":
    main()
