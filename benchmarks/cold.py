"""A cold build of 30 recipes beside 30 hand-written scripts that do the tutorial's steps.

Each script does by hand what the tutorial does, for the same source: the default config with the
same overrides, the blank tokenizer trained on the same text (train_new_from_iterator), the model,
some lines that check that it works, and save_pretrained. Scripts run one after another, each in its
own process, as people run them, and two at a time by make. doit also validates, packs and archives.

    python benchmarks/cold.py [--recipes 30]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

AIM = 5  # times faster than the scripts

# model type, tokenizer class, model class, overrides
FAMILIES = [
    (
        "llama",
        "LlamaTokenizer",
        "LlamaForCausalLM",
        {
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 4,
            "head_dim": 16,
        },
    ),
    ("gpt2", "GPT2Tokenizer", "GPT2LMHeadModel", {"n_embd": 64, "n_layer": 2, "n_head": 4}),
    (
        "bert",
        "BertTokenizer",
        "BertForMaskedLM",
        {
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
        },
    ),
    (
        "t5",
        "T5Tokenizer",
        "T5ForConditionalGeneration",
        {"d_model": 64, "d_ff": 128, "d_kv": 16, "num_layers": 2, "num_heads": 4},
    ),
    (
        "bart",
        "RobertaTokenizer",
        "BartForConditionalGeneration",
        {
            "d_model": 64,
            "encoder_ffn_dim": 128,
            "decoder_ffn_dim": 128,
            "encoder_layers": 2,
            "decoder_layers": 2,
            "encoder_attention_heads": 4,
            "decoder_attention_heads": 4,
        },
    ),
]

SCRIPT = """\
import json
import torch
from transformers import CONFIG_MAPPING, {tokenizer}, {model}

with open({corpus!r}, encoding="utf-8") as file:
    texts = [json.loads(line)["text"] for line in file]
tokenizer = {tokenizer}().train_new_from_iterator([texts], vocab_size={size})
overrides = dict({overrides!r}, vocab_size=len(tokenizer))
for role in ("bos", "eos", "pad"):
    number = getattr(tokenizer, role + "_token_id")
    if number is not None:
        overrides[role + "_token_id"] = number
if {kind!r} == "t5":
    overrides["decoder_start_token_id"] = tokenizer.pad_token_id
config = CONFIG_MAPPING[{kind!r}](**overrides)
torch.manual_seed({seed})
model = {model}(config)
print("num of params", model.num_parameters())
model.save_pretrained({out!r})
tokenizer.save_pretrained({out!r})

model = {model}.from_pretrained({out!r})
tokenizer = {tokenizer}.from_pretrained({out!r})
inputs = tokenizer("The quick brown fox", return_tensors="pt")
inputs.pop("token_type_ids", None)
outputs = model(**inputs, labels=inputs["input_ids"])
assert outputs.loss.isfinite()
"""


def main() -> None:
    os.environ["TINYBUILD_STORE"] = "off"  # what is measured is made
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipes", type=int, default=30)
    count = parser.parse_args().recipes
    corpus = Path(__file__).parents[1] / "tinybuild/corpus/corpus.jsonl"
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        (root / "dodo.py").write_text("from tinybuild.tasks import *\n")
        (root / "recipes").mkdir()
        scripts = []
        for number in range(count):
            kind, tokenizer, model, overrides = FAMILIES[number % len(FAMILIES)]
            size, name = 2500 + 10 * number, f"{kind}-{number}"
            config = "".join(f"    {key}: {value}\n" for key, value in overrides.items())
            (root / "recipes" / f"{name}.yaml").write_text(
                f"version: 1\nsummary: {name}\nsource: {{transformers: {kind}}}\n"
                f"tokenizer: {{method: train, vocab_size: {size}}}\n"
                f"model:\n  architecture: {model}\n  seed: {number}\n  config:\n{config}"
            )
            script = root / f"{name}.py"
            script.write_text(
                SCRIPT.format(
                    kind=kind,
                    tokenizer=tokenizer,
                    model=model,
                    overrides=overrides,
                    corpus=str(corpus),
                    size=size,
                    seed=number,
                    out=str(root / "by-hand" / name),
                )
            )
            scripts.append(script)
        make = ["all: " + " ".join(script.stem for script in scripts)]
        make += [f"{one.stem}:\n\t{sys.executable} {one}" for one in scripts]
        (root / "Makefile").write_text("\n".join(make) + "\n")
        by_hand = timed(root, *([sys.executable, str(script)] for script in scripts))
        by_make = timed(root, ["make", "-s", "-j2", "all"])
        doit = [sys.executable, "-m", "doit"]
        one = timed(root, doit)
        for folder in ("build", "dist"):
            subprocess.run(["rm", "-rf", str(root / folder)], check=True)
        two = timed(root, [*doit, "-n", "2"])
    print(f"{count} scripts, one after another   {by_hand:7.1f} s")
    print(
        f"the same by make -j2             {by_make:7.1f} s   {by_hand / by_make:5.1f} times faster"
    )
    for name, took, peer in (("doit", one, by_hand), ("doit -n 2", two, by_make)):
        print(
            f"{name:<10} {count} recipes            {took:7.1f} s   {by_hand / took:5.1f} times "
            f"faster, {peer / took:.1f} times than with as many processes"
        )
    print(f"aim: at least {AIM} times faster")


def timed(root: Path, *commands: list[str]) -> float:
    begun = time.perf_counter()
    for command in commands:
        subprocess.run(
            command, cwd=root, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
