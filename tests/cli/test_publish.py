"""`doit publish` in a zoo: what is published, refused and said; load_dataset from what is there."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from kit.hub import Hub, serve
from kit.zoo import LIGHT, doit, make

from tinybuild.cli.command import Answer
from tinybuild.cli.publish import PUBLISH
from tinybuild.cli.session import Session
from tinybuild.errors import RecipeFault

TOKEN = "hf_aVeryPrivateTokenThatNobodyMaySee"
COMMON = """\
version: 1
publish: {repo: "my-org/tiny-{name}", dataset_repo: "my-org/{name}-rows", collection: Tiny}
"""


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A Hub that other processes find by their environment."""
    with serve() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
        monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        yield server


def run(root: Path, *words: str, **options: str) -> tuple[str, Answer]:
    """What the command prints in a session of its own, and its answer."""
    here = Session(root)
    try:
        steps, lines = PUBLISH.do(here, words, {"dry-run": "", **options}), list[str]()
        while True:
            try:
                lines.append(next(steps))
            except StopIteration as end:
                return "\n".join(lines), end.value
    finally:
        here.builder.stop()


def test_a_zoo_is_published(hub: Hub, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Refused while it is not built, published, left alone, changed, proposed; and loaded."""
    root = make(tmp_path / "zoo", a=LIGHT, b=LIGHT)
    (root / "zoo.yaml").write_text(COMMON)
    assert run(root, "a")[1].code == 1
    assert hub.log == []
    said = capfd.readouterr().err
    assert "publish:a: a is not up to date: dataset:a runs: not built yet" in said
    assert "hint: tinybuild build a" in said
    assert doit(root).code == 0

    text, _ = run(root, **{"dry-run": "yes"})
    assert "datasets/my-org/a-rows  would be created  7 files" in text
    assert not hub.asked("POST")
    text, answer = run(root)
    assert answer.code == 0
    assert "datasets/my-org/a-rows  created  7 files" in text
    (collection,) = hub.collections
    assert collection.items == [("dataset", "my-org/a-rows"), ("dataset", "my-org/b-rows")]

    before = len(hub.asked("POST"))
    (root / "recipes/a.yaml").write_text(LIGHT.replace("samples: 5", "samples: 6"))
    (root / "dist/b/pickle.bin").write_text("x")
    assert doit(root, "a").code == 0
    text, answer = run(root)
    assert answer.code == 1
    assert "datasets/my-org/a-rows  pull request  " in text
    assert "pickle.bin is in no receipt" in capfd.readouterr().err
    (root / "dist/b/pickle.bin").unlink()
    text, answer = run(root)
    assert "datasets/my-org/a-rows  waits in a pull request" in text
    assert "datasets/my-org/b-rows  is there already" in text
    assert answer.code == 0
    repo = hub.repos["datasets/my-org/a-rows"]
    assert len(hub.asked("POST")) - before < 6
    assert "data/train" in repo.discussions[0].text
    repo.merge(1)
    rows = _loaded("my-org/a-rows")
    assert rows == ["6"], rows
    assert not any(TOKEN in p.read_text("latin-1") for p in root.rglob("*") if p.is_file())


def _loaded(name: str) -> list[str]:
    """The number of rows that load_dataset finds on the Hub, as a user's script does."""
    script = f"from datasets import load_dataset; print(load_dataset({name!r})['train'].num_rows)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    return done.stdout.split() or [done.stderr]


def test_names_without_a_repository(tmp_path: Path) -> None:
    root = make(tmp_path / "zoo", a=LIGHT)
    with pytest.raises(RecipeFault) as caught:
        run(root, "a")
    assert "no repository is named for a" in str(caught.value)
    assert "publish: {repo: OWNER/NAME}" in str(caught.value)


WHOLE = """\
version: 1
summary: a tiny Llama
source: {transformers: llama}
dataset: {samples: 3}
tokenizer: {vocab_size: 500}
model: {}
"""


@pytest.mark.slow
def test_what_is_published_is_whole(hub: Hub, tmp_path: Path) -> None:
    """A user's code loads it by the code of its card, and it is verified and rebuilt from there."""
    root = make(tmp_path / "zoo", whole=WHOLE)
    (root / "zoo.yaml").write_text(COMMON)
    assert doit(root).code == 0
    text, answer = run(root)
    assert answer.code == 0
    assert "my-org/tiny-whole  created" in text
    card = hub.repos["my-org/tiny-whole"].files["README.md"].decode()
    code = card.partition("```python\n")[2].partition("```")[0]
    assert '"my-org/tiny-whole"' in code
    assert 'load_dataset("my-org/whole-rows")' in code
    done = subprocess.run(
        [sys.executable, "-c", code + "print(len(tokenizer), dataset['train'].num_rows)"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["500", "3"], done.stderr
    for bundle in ("my-org/tiny-whole", "datasets/my-org/whole-rows"):
        verified = doit(root, "verify", bundle)
        assert verified.code == 0, verified
    rebuilt = doit(root, "rebuild", "my-org/tiny-whole")
    assert rebuilt.code == 0, rebuilt
