"""A month of a zoo, from an empty folder: every command that its maintainer needs, in turn."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from kit import hub as loopback
from kit import standins
from kit.hub import Hub
from kit.zoo import Result, doit, environment

COUNT = 50
SOURCE = "big-org/full-model"
TOKEN = "hf_aVeryPrivateTokenThatNobodyMaySee"
TEMPLATE = "{% for m in messages %}{{ m.content }}{% endfor %}"
ROWS = b"".join(b'{"text": "row %d"}\n' % number for number in range(20))


@pytest.fixture
def hub() -> Iterator[Hub]:
    with loopback.serve() as server:
        server.repo(SOURCE).commit(source(TEMPLATE))
        server.dataset("big-org/rows").commit({"train.jsonl": ROWS})
        for repo in server.repos.values():
            repo.told["cardData"] = {"license": "apache-2.0"}
        yield server


def source(template: str) -> dict[str, bytes]:
    special = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
    made = standins.bpe(600, ("<pad>", "<s>", "</s>"))
    return {
        "config.json": standins.dumped({"model_type": "gpt2", "vocab_size": 600}),
        "tokenizer.json": made.to_str().encode(),
        "tokenizer_config.json": standins.dumped({"tokenizer_class": "GPT2Tokenizer", **special}),
        "chat_template.jinja": template.encode(),
        "README.md": b"---\nlicense: apache-2.0\n---\n# full",
    }


class Month:
    """The zoo, and what its maintainer types in it."""

    def __init__(self, root: Path, hub: Hub):
        self.root, self.hub = root / "zoo", hub
        self.more = {
            "HF_ENDPOINT": hub.url,
            "HF_TOKEN": TOKEN,
            "HF_HOME": str(root / "home"),
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1",
            "CI": "",
        }

    def __call__(self, *words: str, code: int = 0) -> Result:
        self.hub.log.clear()
        done = doit(self.root, *words, **self.more)
        assert done.code == code, f"doit {' '.join(words)}\n{done.out}{done.err}"
        assert TOKEN not in done.out + done.err
        return done

    def recipe(self, name: str, text: str) -> None:
        (self.root / "recipes" / f"{name}.yaml").write_text(text)

    def git(self, *words: str) -> None:
        who = ("-c", "user.name=zoo", "-c", "user.email=zoo@example.com")
        subprocess.run(["git", *who, *words], cwd=self.root, check=True, capture_output=True)

    def python(self, script: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", script],
            env=environment(**self.more),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


def words(size: int) -> str:
    return (
        f"version: 1\nsummary: words\nsource: {{hub: {SOURCE}}}\n"
        f"tokenizer: {{method: truncate, vocab_size: {size}}}\n"
    )


def rows(samples: int) -> str:
    return (
        "version: 1\nsummary: rows\n"
        f"dataset: {{source: {{hub: big-org/rows}}, samples: {samples}}}\n"
    )


@pytest.mark.slow
def test_a_month(tmp_path: Path, hub: Hub) -> None:
    here = Month(tmp_path, hub)
    begin(here)
    publish(here)
    move(here)
    propose(here)
    upgrade(here, tmp_path)
    rename(here)
    secret = [p for p in here.root.rglob("*") if p.is_file() and TOKEN.encode() in p.read_bytes()]
    assert secret == []


def begin(here: Month) -> None:
    """From nothing: pinned, built and committed; each file is fetched once for all recipes."""
    command = [sys.executable, "-m", "tinybuild", "init", str(here.root)]
    subprocess.run(command, check=True, capture_output=True)
    (here.root / "recipes/llama.yaml").unlink()
    here.recipe("words-a", words(300))
    here.recipe("words-b", words(320))
    for number in range(COUNT):
        here.recipe(f"rows-{number:02}", rows(1 + number % 20))
    common = "version: 1\npublish: {repo: 'tiny-org/{name}', dataset_repo: 'tiny-org/{name}'}\n"
    (here.root / "zoo.yaml").write_text(common)
    here.git("init", "-q")
    assert "not locked yet" in here("update", code=3).out
    built = here("-n", "2")
    assert built.out.splitlines()[-1].startswith(f"{COUNT + 2} built in ")
    for name in ("tokenizer.json", "chat_template.jinja", "config.json", "train.jsonl"):
        asked = [line for line in here.hub.log if line.startswith("GET") and name in line]
        assert len(asked) <= 1, asked
    assert here().out == f"{COUNT + 2} recipes are up to date\n"
    assert here.hub.log == []
    here.git("add", "-A")
    here.git("commit", "-qm", "built")


def publish(here: Month) -> None:
    """What is published loads with what people use, and is made again from itself alone."""
    here("publish", "words-a", "words-b", "rows-04")
    load = "from transformers import AutoTokenizer as A; print(len(A.from_pretrained('{}')))"
    assert here.python(load.format("tiny-org/words-b")) == "320"
    script = "from datasets import load_dataset as l; print(len(l('tiny-org/rows-04')['train']))"
    assert here.python(script) == "5"
    assert "byte-identical" in here("rebuild", "tiny-org/words-a").out
    assert "is there already" in here("publish", "words-a").out


def move(here: Month) -> None:
    """Upstream moves a template: it is said, pinned, only what depends on it is built, and a pull
    request says what changed."""
    assert here("outdated").out.strip() == "nothing moved"
    here.hub.repo(SOURCE).commit(source(TEMPLATE.replace("}}{%", "}}\n{%")))
    said = here("outdated", code=3).out
    assert "chat template" in said
    assert "big-org/rows" not in said
    here("update", "words-a", code=3)
    assert {task.partition(":")[2] for task in here("-n", "2").ran} == {"words-a"}
    assert "pull request" in here("publish", "words-a").out
    repo = here.hub.repo("tiny-org/words-a")
    assert "chat template" in repo.discussions[0].text.lower()
    repo.merge(1)
    assert "is there already" in here("publish", "words-a").out
    here.git("add", "-A")
    here.git("commit", "-qm", "update")


def propose(here: Month) -> None:
    """A pull request edits one recipe: it alone is affected, and the diff says why."""
    here.recipe("rows-07", rows(9))
    assert here("affected", "HEAD", "--names").out.split() == ["rows-07"]
    here("rows-07")
    text = here("diff", "HEAD", "--markdown", code=3).out
    assert "dataset.samples: 8 -> 9" in text
    assert "| `train` | 8 | 9 | 1 new, 0 gone |" in text


def upgrade(here: Month, scratch: Path) -> None:
    """Another transformers is a reason, by name, and what it changed is told."""
    fake = scratch / "fake/transformers-99.0.0.dist-info"
    fake.mkdir(parents=True)
    (fake / "METADATA").write_text("Metadata-Version: 2.1\nName: transformers\nVersion: 99.0.0\n")
    path = {"PYTHONPATH": f"{fake.parent}:{environment().get('PYTHONPATH', '')}"}
    why = doit(here.root, "why", "words-b", **here.more, **path)
    assert 'transformers: "' in why.out
    assert '-> "99.0.0"' in why.out
    shutil.copytree(here.root / "dist/words-b", scratch / "before/words-b")
    built = doit(here.root, "words-b", **here.more, **path)
    assert built.code == 0, built.out + built.err
    told = doit(here.root, "diff", str(scratch / "before"), "words-b", **here.more, **path)
    assert told.code == 3, told.out + told.err
    assert "library: transformers" in told.out
    assert '-> "99.0.0"' in told.out


def rename(here: Month) -> None:
    """The old bundle of a recipe that was renamed is an orphan until it is cleaned."""
    for suffix in ("yaml", "lock.json"):
        old = here.root / f"recipes/rows-04.{suffix}"
        old.rename(here.root / f"recipes/lines.{suffix}")
    assert "1 bundle has no recipe: rows-04 (renamed to lines)" in here("lines").out
    assert (here.root / "dist/rows-04").exists()
    here("clean", "--orphans")
    assert not (here.root / "dist/rows-04").exists()
    assert "no recipe" not in here("lines").out
