"""Other people's code on bundles: which client works with which, and if not, whose it is.

Each module of battery/ runs in a Python of its own, on bundles built from recipes/ and from
battery/recipes/; the last part of docs/clients.md is written from what they answer. A Python that
is not there is said, and its rows are not tried.

    python benchmarks/clients.py [--envs FOLDER] [--zoo FOLDER] [--only MODULE,...] [--write]

FOLDER of --envs holds a virtual environment for each row of ENVIRONMENTS that `--make NAME` made,
layered over this one. --zoo keeps the bundles and the answers for the next run.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import textwrap
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
BATTERY = Path(__file__).parent / "battery"
DOC = ROOT / "docs/clients.md"
VERSIONS = ROOT / "tinybuild/config/versions.json"
MARK = "<!-- What follows is written by benchmarks/clients.py. -->\n"
HERE = "here"
SECONDS = 900  # for one module

# What is installed over the environment that built the bundles.
ENVIRONMENTS: Mapping[str, Sequence[str]] = {
    HERE: (),
    "transformers-4": ("transformers==4.57.6", "accelerate"),
    "transformers-5.0": ("transformers==5.0.0", "accelerate"),
    "clients": (
        *("accelerate", "peft", "trl", "sentence-transformers", "lm-eval", "torchao"),
        "bitsandbytes",
    ),
    "onnx": ("transformers==4.57.6", "optimum-onnx", "onnx", "onnxruntime"),
    "llama.cpp": ("gguf",),
}


@dataclass(frozen=True, kw_only=True)
class Client:
    """A module of battery/, and the environment it runs in. like: the module is compared with what
    it answers in the first environment."""

    module: str
    environment: str
    title: str
    like: bool = False
    needs: str = ""

    @property
    def lacks(self) -> str:
        """What it needs, where it is not tried."""
        place = f"a Python for {self.environment}"
        return f"{self.needs} is not set" if self.needs and self.needs not in os.environ else place


CLIENTS = (
    Client(title="transformers 4.57.6", module="same", environment="transformers-4", like=True),
    Client(title="transformers 5.0.0", module="same", environment="transformers-5.0", like=True),
    Client(title="transformers", module="generation", environment="clients"),
    Client(title="training", module="training", environment="clients"),
    Client(title="gloo", module="parallel", environment="clients"),
    Client(title="onnxruntime", module="onnx_runtime", environment="onnx"),
    Client(
        title="llama.cpp", module="llama_cpp", environment="llama.cpp", needs="TINYBUILD_LLAMA_CPP"
    ),
    Client(title="transformers.js", module="javascript", environment=HERE, needs="TINYBUILD_NODE"),
)

# What transformers does with Mistral's own repositories, too, where mistral-common is installed.
TEKKEN = "transformers: beside tekken.json it takes mistral-common's class, as with Mistral's own"

# Whose it is where a client does not work: (environment, item, bundle or "") -> in words.
WHOSE: Mapping[tuple[str, str, str], str] = {
    ("transformers-4", "tokens", "mistral-1k"): "the card says 5.0: extra_special_tokens is a list",
    ("transformers-4", "tokens", "t5"): "the card says 5.0: extra_special_tokens is a list",
    ("transformers-4", "tokens", "mt5"): "the card says 5.0: extra_special_tokens is a list",
    ("transformers-4", "tokens", "nemo-2k"): "the card says 5.0: TokenizersBackend",
    ("transformers-4", "tokens", "llava"): "the card says 5.0: TokenizersBackend",
    ("transformers-4", "tokens", ""): "the card says 5.0: LlamaTokenizer adds a BOS there",
    ("transformers-4", "processor", "llava"): "the card says 5.0: TokenizersBackend",
    ("transformers-4", "outputs", "mt5"): "the card says 5.0: outputs are scaled there",
    ("transformers-4", "outputs", "llava"): "the card says 5.23: names of weights",
    ("transformers-5.0", "outputs", "llava"): "the card says 5.23: names of weights",
    ("transformers-5.0", "tokens", "nemo-2k"): f"{TEKKEN}; 5.0 reads tokenizer.json",
    ("clients", "trainer", "nemo-2k"): TEKKEN,
    (
        "clients",
        "trl_sft_chat",
        "nemo-2k",
    ): "mistral-common refuses a chat that ends with an answer",
    ("clients", "tensor_parallel_4", "qwen2-600"): "its sizes: `tensor_parallel: 4` in the recipe",
    ("llama.cpp", "converter", "gpt2"): "llama.cpp: transformers 5 has no n_ctx",
    ("llama.cpp", "converter", "t5"): "llama.cpp: reads spiece.model, which what is trained lacks",
    ("llama.cpp", "converter", "xlm-roberta"): "llama.cpp: knows XLMRobertaModel, not ForMaskedLM",
    ("llama.cpp", "converter", "nemo-2k"): TEKKEN,
    ("llama.cpp", "converter", ""): "llama.cpp: give the family's name",
    ("llama.cpp", "converter_with_the_name", "gpt2"): "llama.cpp: transformers 5 has no n_ctx",
    ("llama.cpp", "converter_with_the_name", "nemo-2k"): TEKKEN,
    (HERE, "tokenizers", "nemo-2k"): f"{TEKKEN}; tokenizer.json alone gives the same",
}


RECIPES = (
    *("llama", "gpt2", "bert", "t5", "mt5", "bart", "xlm-roberta", "deberta", "qwen2-spread"),
    *("qwen2-600", "nemo-2k", "deepseek-v3", "llava", "clip", "vit", "mistral-1k"),
)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came of an item on a bundle. said: what it measured, or why not."""

    item: str
    bundle: str
    ok: bool
    said: str


def made(envs: Path, name: str) -> None:
    """A virtual environment over this one, with what a client needs."""
    home = envs / name
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", home], check=True)
    own = sysconfig.get_path("purelib", vars={"base": str(home)})
    Path(own, "below.pth").write_text(sysconfig.get_path("purelib") + "\n")
    torch = subprocess.run(
        [sys.executable, "-c", "import torch; print(torch.__version__)"],
        capture_output=True,
        text=True,
        check=True,
    )
    held = home / "held.txt"
    held.write_text(f"torch=={torch.stdout.strip()}\n")
    command = [python(envs, name), "-m", "pip", "install", "-q", "-c", held, *ENVIRONMENTS[name]]
    subprocess.run(command, check=True)


def python(envs: Path, name: str) -> Path:
    return Path(sys.executable) if name == HERE else envs / name / "bin/python"


def zoo(folder: Path) -> Path:
    """The bundles, built in a folder by the recipes of this repository and of battery/."""
    (folder / "recipes").mkdir(parents=True, exist_ok=True)
    (folder / "dodo.py").write_text("from tinybuild.tasks import *\n")
    for path in sorted((ROOT / "recipes").glob("*.*")):
        if path.name.split(".")[0] in RECIPES:
            shutil.copy(path, folder / "recipes")
    for path in sorted((BATTERY / "recipes").glob("*.yaml")):
        shutil.copy(path, folder / "recipes")
    subprocess.run(
        [sys.executable, "-m", "doit", "-n", "2"],
        cwd=folder,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    return folder / "dist"


def asked(client: Client, envs: Path, bundles: Path) -> Iterator[Answer]:
    """The answers of a client; none where its Python is not there."""
    command = [python(envs, client.environment), BATTERY / "run.py", client.module, bundles]
    if not command[0].is_file():
        return
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with tempfile.TemporaryFile() as told:
        try:
            subprocess.run(command, env=environment, stdout=told, check=False, timeout=SECONDS)
        except subprocess.TimeoutExpired:
            print(f"{client.module}: stopped after {SECONDS} s")
        told.seek(0)
        for line in told:
            yield Answer(**json.loads(line))


def compared(answers: Sequence[Answer], reference: Sequence[Answer]) -> Iterator[Answer]:
    """The answers, where those of the version that built the bundles are other ones not so."""
    known = {(one.item, one.bundle): one for one in reference}
    for one in answers:
        right = known[one.item, one.bundle]
        if not right.ok:
            continue  # neither does the version that built it
        if not one.ok:
            yield one
        elif alike(json.loads(one.said), json.loads(right.said)):
            yield replace(one, said="the same")
        else:
            yield replace(one, ok=False, said=f"other {one.item}")


def alike(one: object, other: object) -> bool:
    """Whether two answers are equal, numbers as near as rounding leaves them."""
    if isinstance(one, list) and isinstance(other, list):
        most = max((abs(x) for x in other if isinstance(x, float)), default=0.0)
        return len(one) == len(other) and all(
            abs(x - y) <= 1e-3 * most
            if isinstance(x, float) and isinstance(y, float)
            else alike(x, y)
            for x, y in zip(one, other, strict=True)
        )
    return one == other


def table(results: Mapping[Client, Sequence[Answer] | None]) -> Iterator[str]:
    """The matrix, in Markdown: a row for each item, and why it does not work where it does not."""
    yield "| client | item | bundles | works | what does not, and whose it is |"
    yield "| --- | --- | --- | --- | --- |"
    for client, answers in results.items():
        if answers is None:
            yield f"| {client.title} | {client.module} | | | not tried: {client.lacks} |"
            continue
        by_item = defaultdict[str, list[Answer]](list)
        for one in answers:
            by_item[one.item].append(one)
        for item, ones in by_item.items():
            bad = "; ".join(why(client, one) for one in ones if not one.ok)
            names = ", ".join(one.bundle for one in ones)
            good = sum(one.ok for one in ones)
            title = item.replace("_", " ")
            yield f"| {client.title} | {title} | {names} | {good} of {len(ones)} | {bad} |"


def why(client: Client, one: Answer) -> str:
    """Why a bundle does not work, and whose that is, in one cell of a table."""
    names = ((client.environment, one.item, bundle) for bundle in (one.bundle, ""))
    words = next((WHOSE[name] for name in names if name in WHOSE), "?")
    said = one.said.replace("|", "/").replace("<", "&lt;")[:140]
    return f"{one.bundle}: {words} (`{said}`)"


def versions(envs: Path) -> dict[str, object]:
    """What tinybuild/config/versions.json holds: of the types and classes of tokenizers that this
    version has those that older ones lack, and those that decide on BOS by themselves."""

    def told(name: str) -> dict[str, Any]:
        command = [python(envs, name), BATTERY / "versions.py"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        had: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return had

    here, four, five = told(HERE), told("transformers-4"), told("transformers-5.0")
    named = {*four["tokenizers"], *(name.removesuffix("Fast") for name in four["tokenizers"])}
    return {
        "absent": {
            "4.57": {
                "types": sorted({*here["types"]} - {*four["types"]}),
                "tokenizers": sorted({*here["tokenizers"]} - named),
            },
            "5.0": {"types": sorted({*here["types"]} - {*five["types"]})},
        },
        "own_bos": dict(sorted(four["own_bos"].items())),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--envs", type=Path, default=ROOT / "build/clients")
    parser.add_argument("--zoo", type=Path)
    parser.add_argument("--only", default="", help="modules of battery/, with commas")
    parser.add_argument("--make", default="", help="make this environment, and no more")
    parser.add_argument("--versions", action="store_true", help="write config/versions.json")
    parser.add_argument("--write", action="store_true", help="write docs/clients.md")
    arguments = parser.parse_args()
    if arguments.make:
        return made(arguments.envs, arguments.make)
    if arguments.versions:
        text = textwrap.fill(json.dumps(versions(arguments.envs)), 100, break_on_hyphens=False)
        VERSIONS.write_text(text + "\n", encoding="utf-8")
        return None
    with tempfile.TemporaryDirectory() as temporary:
        bundles = zoo(arguments.zoo or Path(temporary))
        wanted = set(filter(None, arguments.only.split(",")))
        results: dict[Client, Sequence[Answer] | None] = {}
        reference: Sequence[Answer] = ()
        for client in CLIENTS:
            if wanted and client.module not in wanted:
                continue
            missing = client.needs and client.needs not in os.environ
            if missing or not python(arguments.envs, client.environment).is_file():
                results[client] = None
                continue
            if client.like and not reference:
                here = replace(client, environment=HERE)
                reference = tuple(asked(here, arguments.envs, bundles))
            answers = tuple(asked(client, arguments.envs, bundles))
            results[client] = tuple(compared(answers, reference)) if client.like else answers
    lines = "\n".join(table(results)) + "\n"
    print(lines)
    if arguments.write:
        head = DOC.read_text(encoding="utf-8").partition(MARK)[0]
        DOC.write_text(f"{head}{MARK}\n{lines}", encoding="utf-8")


if __name__ == "__main__":
    main()
