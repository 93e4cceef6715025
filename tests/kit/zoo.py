"""A zoo in a temporary folder, and the real doit run in it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kit import warm

DODO = "from tinybuild.tasks import *\n"
STAGES = ("fetch", "dataset", "tokenizer", "model", "validate", "pack")

FULL = """\
version: 1
summary: a tiny Llama
source: {transformers: llama}
dataset: {samples: 60}
tokenizer: {method: train, vocab_size: 700}
model:
  architecture: LlamaForCausalLM
  config: {hidden_size: 16, intermediate_size: 32, num_hidden_layers: 1, num_attention_heads: 2}
"""
LIGHT = "version: 1\nsummary: rows only\ndataset: {samples: 5}\n"  # imports no torch


@dataclass(frozen=True, kw_only=True)
class Result:
    code: int
    out: str
    err: str

    @property
    def ran(self) -> set[str]:
        """The tasks that ran and succeeded."""
        return set(re.findall(r"^(\w+:[\w.-]+) +[\d.]+ s", self.out, flags=re.MULTILINE))


def make(root: Path, **recipes: str) -> Path:
    """A zoo with these recipes (name with _ for -, text)."""
    (root / "recipes").mkdir(parents=True)
    (root / "dodo.py").write_text(DODO)
    for name, text in recipes.items():
        (root / "recipes" / f"{name.replace('_', '-')}.yaml").write_text(text)
    return root


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "doit", *arguments]


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **more}


def doit(root: Path, *arguments: str, **env: str) -> Result:
    return run(root, command(*arguments), **env)


def tinybuild(root: Path, *arguments: str, **env: str) -> Result:
    return run(root, [sys.executable, "-m", "tinybuild", *arguments], **env)


# Runs words of the face in this one process, and keeps what each wrote to standard output, by
# itself or from below Python.
FACE = """\
import json, os, sys
from tinybuild.cli import face
from tinybuild.cli.session import session

told, here = [], os.dup(1)
for words in json.loads(sys.argv[2]):
    with open("said", "wb") as file:
        os.dup2(file.fileno(), 1)
    code = face.main(words, program=sys.argv[1])
    session().close()
    session.cache_clear()
    sys.stdout.flush()
    os.dup2(here, 1)
    told.append([code, open("said", encoding="utf-8").read()])
print(json.dumps(told))
"""


def answered(
    root: Path, asked: Sequence[Sequence[str]], program: str = "tinybuild"
) -> list[tuple[int, str]]:
    """The exit code of each command, and what it wrote to standard output: one process does what
    is asked, one after the other."""
    ran = run(root, [sys.executable, "-c", FACE, program, json.dumps(asked)])
    assert ran.code == 0, ran.err
    return [(code, out) for code, out in json.loads(ran.out)]


def run(root: Path, words: Sequence[str], **env: str) -> Result:
    """Run a command in a zoo, with more in its environment; see `kit.warm`."""
    return _run(root, words, warm.joined(environment(**env)))


def alone(root: Path, words: Sequence[str], **env: str) -> Result:
    """The same with no process but its own: what is asked is which there are, or what they load."""
    return _run(root, words, environment(**env))


def _run(root: Path, words: Sequence[str], env: Mapping[str, str]) -> Result:
    done = subprocess.run(
        words,
        cwd=root,
        env=env,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return Result(code=done.returncode, out=done.stdout, err=done.stderr)


def begun(root: Path, *arguments: str) -> subprocess.Popen[str]:
    """A doit at work, the first of a process group, so that a signal reaches all of it alone."""
    return subprocess.Popen(
        command(*arguments),
        cwd=root,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def interrupt(root: Path, task: str, number: signal.Signals, *arguments: str) -> Result:
    """Run doit and send it (the whole process group) a signal while `task` works."""
    stage, _, name = task.partition(":")
    process = begun(root, *arguments)
    folder = root / "build" / name
    patience = time.monotonic() + 120
    while process.poll() is None and not list(folder.glob(f".{stage}.*")):
        assert time.monotonic() < patience, f"{task} never began"
        time.sleep(0.005)  # the other processes want the machine
    os.killpg(process.pid, number)
    out, err = process.communicate(timeout=60)
    return Result(code=process.returncode, out=out, err=err)


def edit(root: Path, name: str, old: str, new: str) -> None:
    """Replace a piece of a recipe's text; it must be there."""
    path = root / "recipes" / f"{name}.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def snapshot(folder: Path) -> dict[str, bytes]:
    """{path: bytes} below a folder, without what is hidden (memos, locks, and the fresh folder of
    a stage that was killed, which stays until the stage runs again) and the times of a run."""
    names = ((path.relative_to(folder), path) for path in sorted(folder.rglob("*")))
    return {
        name.as_posix(): path.read_bytes()
        for name, path in names
        if path.is_file()
        and path.name != "run.json"
        and not any(part.startswith(".") for part in name.parts)
    }
