"""What people who were new to it typed and wrote: each gets an answer that they can act on."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import signal
import subprocess
from pathlib import Path

import pytest
from kit.zoo import LIGHT, Result, begun, command, doit, edit, environment, make, tinybuild

SAID = Path(__file__).with_name("newcomer.txt").read_text()
HEAD = "version: 1\nsummary: s\n"
FILE = "mistral_common/data/tekken_240911.json"
RECIPES = {
    "absolute": "source: {path: /models/llama}\nmodel: {}\n",
    "class": "source: {transformers: gpt2}\nmodel: {architecture: GPT2LMHead}\n",
    "class-of-another": "source: {transformers: gpt2}\nmodel: {architecture: LlamaForCausalLM}\n",
    "dtype": "source: {transformers: gpt2}\nmodel: {dtype: bf16}\n",
    "fill-mask": "source: {transformers: bert}\nmodel: {architecture: fill-mask}\n",
    "heads": "source: {transformers: gpt2}\nmodel: {config: {n_embd: 30, n_head: 4}}\n",
    "hidden-size": "source: {transformers: qwen2_5_vl}\nmodel: {config: {hidden_size: 32}}\n",
    "home": "source: {path: ~/models/llama}\nmodel: {}\n",
    "hub-address": "source: {hub: https://huggingface.co/google/mt5-small}\nmodel: {}\n",
    "key": "source: {transformers: llama}\nmodel: {config: {num_layers: 2}}\n",
    "layers": "source: {transformers: gpt2}\nmodel: {layers: 100}\n",
    "max-bytes": "source: {transformers: gpt2}\nmodel: {}\nchecks: {max_bytes: ten}\n",
    "misspelt": "source: {transformers: gpt2}\nmodle: {}\n",
    "misspelt-inside": "source: {transformers: gpt2}\nmodel: {archtecture: auto}\n",
    "model-empty": "source: {transformers: gpt2}\nmodel:\n",
    "no-path": "source: {path: ../my-modle}\nmodel: {}\n",
    "no-recipe": "source: {recipe: mispelt}\nmodel: {}\n",
    "no-samples": "dataset: {source: {path: data}}\n",
    "no-tokenizer": "source: {transformers: vit}\ntokenizer: {vocab_size: 300}\n",
    "package": f"source: {{package: mistral-comon, files: {{tekken.json: {FILE}}}}}\n"
    "tokenizer: {method: keep}\n",
    "package-file": "source: {package: mistral-common, files: {tekken.json: tekken_240911.json}}\n"
    "tokenizer: {method: keep}\n",
    "pipeline": "source: {transformers: gpt2}\nmodel: {architecture: text-generation}\n",
    "tab": "source: {transformers: gpt2}\nmodel:\n\tconfig: {}\n",
    "truncate": "source: {transformers: llama}\ntokenizer: {method: truncate, vocab_size: 300}\n",
    "type": "source: {transformers: lama}\nmodel: {}\n",
    "vocab-size": "source: {transformers: gpt2}\ntokenizer: {vocab_size: 5k}\n",
}


# What the hint of each tells to write, and instead of what.
ADVICE = {
    "absolute": ("/models/llama", "../my-model"),
    "class": ("GPT2LMHead", "GPT2LMHeadModel"),
    "class-of-another": ("LlamaForCausalLM", "causal-lm"),
    "dtype": ("bf16", "bfloat16"),
    "fill-mask": ("fill-mask", "masked-lm"),
    "heads": ("n_head: 4", "n_head: 3"),
    "hidden-size": ("hidden_size: 32", "text_config: {hidden_size: 32}"),
    "home": ("~/models/llama", "../my-model"),
    "hub-address": ("https://huggingface.co/google/mt5-small", "google/mt5-small"),
    "key": ("num_layers", "num_hidden_layers"),
    "layers": ("layers: 100", "layers: 12"),
    "max-bytes": ("ten", "4MB"),
    "misspelt": ("modle", "model"),
    "misspelt-inside": ("archtecture", "architecture"),
    "model-empty": ("model:", "model: {}"),
    "no-path": ("../my-modle", "../my-model"),
    "no-recipe": ("mispelt", "misspelt"),
    "no-samples": ("source: {path: data}", "samples: 100"),  # without a source: of the corpus
    "no-tokenizer": ("tokenizer: {", "tokenizer: {source: {transformers: gpt2}, "),
    "package": ("mistral-comon", "mistral-common"),
    "package-file": (" tekken_240911.json", f" {FILE}"),
    "pipeline": ("text-generation", "causal-lm"),
    "tab": ("\t", "  "),
    "truncate": ("method: truncate", "method: train"),
    "type": ("lama", "llama"),
    "vocab-size": ("5k", "5000"),
}


@pytest.fixture(scope="module")
def advised(tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Result]:
    """What `doit check` says of the recipes, and of them as its hints say to write them."""
    folder = tmp_path_factory.mktemp("recipes")
    (folder / "zoo/my-model").mkdir(parents=True)
    (folder / "zoo/my-model/config.json").write_text('{"model_type": "gpt2"}')
    root = make(folder / "zoo", **{name: HEAD + text for name, text in RECIPES.items()})
    said = doit(root, "check")
    for name, (wrong, right) in ADVICE.items():
        edit(root, name, wrong, right)
    return said, doit(root, "check", "--json")


def test_broken_recipes_are_told_from_their_text_alone(
    advised: tuple[Result, Result], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """In one `doit check`: what, where, and what to do, of each; newcomer.txt has the words."""
    said, _ = advised
    assert said.code == 1
    assert "Traceback" not in said.err
    assert said.err.strip() == SAID.strip()
    told = re.findall(r"^recipes/([\w-]+)\.yaml:\d+:\d+: \S.*\n  hint: \S", said.err, re.MULTILINE)
    assert sorted(told) == sorted(RECIPES)
    assert str(tmp_path_factory.getbasetemp()) not in said.err


@pytest.mark.parametrize("name", RECIPES)
def test_the_advice_for_a_broken_recipe_works_to_the_letter(
    advised: tuple[Result, Result], name: str
) -> None:
    """What to write stands in the hint, and with it nothing is wrong with the recipe."""
    said, after = advised
    (hint,) = re.findall(rf"^recipes/{name}\.yaml:.*\n  hint: (.*)", said.err, re.MULTILINE)
    _, right = ADVICE[name]
    assert right.strip(" ,") in hint or name == "tab", hint
    found = json.loads(after.out).get("findings", [])
    assert [one for one in found if f"/{name}.yaml:" in one["where"]] == []


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = make(
        tmp_path_factory.mktemp("newcomer") / "zoo", mt5=LIGHT, t5=LIGHT, bad="version: 1\n"
    )
    (root / "recipes/many").mkdir()
    for number in range(40):
        (root / f"recipes/many/arch-{number}.yaml").write_text(LIGHT)
    return root


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("list",), 0, "many   "),
        (("list", "-s"), 0, "mt5     not built  rows only"),
        (("mt6",), 1, "there is no recipe mt6\n  hint: did you mean mt5?"),
        (("why", "many"), 0, "dataset:arch-39"),
        (("why", "bad", "mt5"), 1, "recipes/bad.yaml:1:1: the recipe has no summary"),
        (("why", "nix"), 1, "there is no recipe nix\n  hint: see tinybuild list"),
        (
            ("check", "recipes/mt6.yaml"),
            1,
            "no file recipes/mt6.yaml\n  hint: did you mean recipes/mt5",
        ),
        (("check", "mt5"), 0, "1 recipe has nothing wrong"),
        (("fetch:bad",), 1, "recipes/bad.yaml:1:1: the recipe has no summary"),
        (("dataest:mt5",), 1, "there is no task dataest:mt5\n  hint: did you mean dataset:mt5"),
        (("model:mt5",), 1, "there is no task model:mt5\n  hint: mt5 has dataset:mt5, "),
        (("why", "dataset:m*"), 0, "dataset:mt5              runs: not built yet"),
        (("mt5", "--xyz"), 1, "doit build has no option --xyz\n  hint: see doit build --help"),
        (("-x",), 1, "doit build has no option -x\n  hint: see doit build --help"),
        (("-n", "many"), 1, "build: --jobs many is not a number\n  hint: give 2, for example"),
        (("-n",), 1, "argument --jobs/-n: expected one argument\n  hint: see doit build --help"),
        (("mt5", "--plan"), 0, "mt5     dataset, validate, pack  "),
        (("--help",), 0, "what tinybuild does in this zoo, and its commands"),
        (("list", "--kind", "moe"), 0, "none has the kind moe\n  hint: tinybuild build makes them"),
        (("new", "bert", "a b"), 1, "'a b' cannot be a recipe's name\n  hint: give another name: "),
        (("new", "bert", "../a"), 1, "'../a' cannot be a recipe's name"),
        (("new", "bert", "model"), 1, "model is the name of a command or a stage\n"),
        (("new", "bert", "many"), 1, "many is the name of a group of recipes\n"),
        (("new", "bert", "mt5"), 1, "give another name: tinybuild new bert NAME"),
        (
            ("new", "./recipes/man"),
            1,
            "no folder ./recipes/man\n  hint: did you mean recipes/many?",
        ),
        (("new", "recipes/mt5.yaml"), 1, "is not a folder\n  hint: give the folder: recipes"),
        (("import", "nowhere", "--source", "t5"), 1, "nowhere is not there\n  hint: give a folder"),
        (("init", "dodo.py"), 1, "dodo.py is there, and is not a folder\n  hint: give a new name"),
        (("sign", "mt5", "--key", "x"), 1, "sign: mt5 is not built\n  hint: tinybuild build mt5"),
    ],
)
def test_what_is_typed(root: Path, words: tuple[str, ...], code: int, says: str) -> None:
    said = doit(root, *words)
    assert said.code == code, said
    assert says in said.out + said.err
    assert len((said.out + said.err).splitlines()) < 130
    assert "Traceback" not in said.err


def test_a_build_says_the_same_wherever_its_options_stand(tmp_path: Path) -> None:
    root = make(tmp_path / "zoo", a=LIGHT)
    assert doit(root, "a", "-n", "2").ran == {"dataset:a", "validate:a", "pack:a"}
    for words in (("-n", "2", "a"), ("a", "-n", "2"), ("a", "--jobs", "2")):
        assert doit(root, *words).out.endswith("-  up to date\n")
    assert json.loads(doit(root, "a", "--json").out)["recipes"][0]["outcome"] == "up to date"
    assert doit(root, "dataset:a").out == "dataset:a is up to date\n"
    assert doit(root, "dataset:a", "validate:a").out == "2 tasks are up to date\n"


def test_where_there_is_no_zoo(tmp_path: Path) -> None:
    root = make(tmp_path / "zoo", a=LIGHT)
    (root / "recipes/deep").mkdir()
    for folder, hint in (
        (tmp_path, "go to your zoo, or make one: tinybuild init DIR"),
        (root / "recipes/deep", "there is one above: tinybuild -C ../.. COMMAND"),
    ):
        said = tinybuild(folder, "list")
        where = f"{folder.name}: there is no folder recipes/ here"
        assert (said.code, said.err) == (1, f"{where}\n  hint: {hint}\n")
    said = tinybuild(tmp_path, "-C", "nowhere", "list")
    assert said.err.startswith("-C nowhere: No such file or directory\n  hint: give the folder of ")
    (root / "dodo.py").unlink()
    said = doit(root, "a")
    assert said.err == (
        "there is no dodo.py here for doit to read\n  hint: tinybuild build needs none\n"
    )


def test_files_that_are_no_recipes_are_told_of(tmp_path: Path) -> None:
    """Each with its place, and what to do; `check` of such a file says the same."""
    root = make(tmp_path / "zoo", a=LIGHT)
    recipes = root / "recipes"
    for name in ("UP.YAML", "short.yml", "-a.yaml", "a b.yaml", "Ünï.yaml", "group/deep/b.yaml"):
        (recipes / name).parent.mkdir(parents=True, exist_ok=True)
        (recipes / name).write_text(LIGHT)
    (recipes / "folder.yaml").mkdir()
    (recipes / "link.yaml").symlink_to("nowhere")
    letters = "use letters, digits, -, _ and ., the first a letter or a digit"
    told = {
        "UP.YAML": "a recipe's file ends in .yaml\n  hint: rename it",
        "short.yml": "a recipe's file ends in .yaml\n  hint: rename it",
        "-a.yaml": f"'-a' cannot be a recipe's name\n  hint: rename the file: {letters}",
        "a b.yaml": f"'a b' cannot be a recipe's name\n  hint: rename the file: {letters}",
        "Ünï.yaml": f"'Ünï' cannot be a recipe's name\n  hint: rename the file: {letters}",
        "folder.yaml": "cannot be read (Is a directory)\n"
        "  hint: a recipe is a file: give the folder another name",
        "link.yaml": "cannot be read (No such file or directory)\n"
        "  hint: it is a link that leads nowhere: mend it, or delete it",
        "group/deep/b.yaml": "a recipe is not read in a folder so deep\n"
        "  hint: move it: a recipe is recipes/NAME.yaml or recipes/GROUP/NAME.yaml",
    }
    said = tinybuild(root, "check")
    assert said.code == 1
    for name, text in told.items():
        assert f"recipes/{name}: {text}\n" in said.err
        alone = tinybuild(root, "check", f"recipes/{name}")
        assert alone.code == 1
        assert text.partition("  hint")[2] in alone.err
    assert "check: 8 of 9 recipes are broken" in said.err
    (recipes / "notes.txt").write_text("")
    said = tinybuild(root, "check", "recipes/notes.txt")
    assert said.out == "no recipe is made from recipes/notes.txt: there is nothing more to check\n"


def test_a_zoo_without_recipes_says_what_to_do(tmp_path: Path) -> None:
    root = make(tmp_path / "zoo")
    for words in ((), ("list",), ("check",), ("why",)):
        said = doit(root, *words)
        assert said.code == 0
        assert (
            said.out == "there is no recipe in recipes/\n  hint: tinybuild new SOURCE writes one\n"
        )
    (root / "recipes/hub").mkdir()
    (root / "recipes/hub/a.yaml").write_text(LIGHT)
    assert (
        "no recipe in recipes/ itself\n  hint: build a group: tinybuild build hub" in doit(root).out
    )


@pytest.mark.parametrize(
    "env", [{"TERM": "dumb"}, {"TERM": "xterm-256color", "CI": "true", "NO_COLOR": "1"}]
)
def test_nothing_is_drawn_anew_on_a_terminal_that_cannot(
    tmp_path: Path, env: dict[str, str]
) -> None:
    root = make(tmp_path / "zoo", a=LIGHT)
    shown = terminal(root, **env)
    assert "1 built in" in shown
    assert "\x1b" not in shown
    assert not re.search(r"\r(?!\n)", shown)


@pytest.mark.parametrize("words", [(), ("list",)])
def test_ctrl_c_while_recipes_are_read(tmp_path: Path, words: tuple[str, ...]) -> None:
    """A recipe that is a pipe is read until somebody writes: the reader is known to be there."""
    root = make(tmp_path / "zoo", a=LIGHT)
    pipe = root / "recipes/b.yaml"
    os.mkfifo(pipe)
    process = begun(root, *words)
    with pipe.open("wb"):  # waits for a reader
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode != 0
    assert out == ""
    assert err == (
        "interrupted: finished stages are kept, nothing half-made is left\n"
        "  hint: give the same command again to go on\n"
    )


def terminal(root: Path, **env: str) -> str:
    """What `doit` shows where its output is a terminal."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        command(), cwd=root, env=environment(**env), stdout=theirs, stderr=theirs
    ) as run:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # the other side is closed
            while piece := os.read(ours, 4096):
                shown += piece
        os.close(ours)
        assert run.wait(60) == 0
    return shown.decode()
