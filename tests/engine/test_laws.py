"""The two laws, for every stage and kind of source: who may reach a network, and who sees what.

What a stage sees is `test_views`' and `test_state`'s: its folders hold what its needs name.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from kit.zoo import FULL, make

from tinybuild.engine.plan import load
from tinybuild.engine.run import sort
from tinybuild.engine.stages import STAGES
from tinybuild.files import Memo
from tinybuild.network import ENVIRONMENT
from tinybuild.recipe import Cache
from tinybuild.source import KINDS
from tinybuild.workers import Pool

SOURCES = {
    "hub": "{hub: owner/name}",
    "path": "{path: ../from}",
    "package": "{package: mistral-common, files: {tokenizer.model: a/b.model}}",
    "transformers": "{transformers: llama}",
    "recipe": "{recipe: other}",
}
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "GH_TOKEN", "GITHUB_TOKEN")


def test_only_a_fetch_of_the_hub_is_online(tmp_path: Path) -> None:
    assert {*SOURCES} == {*KINDS}, "a new kind says here what it may"
    recipes = {
        f"of_{kind}": FULL.replace("{transformers: llama}", text) for kind, text in SOURCES.items()
    }
    root = make(tmp_path / "zoo", other=FULL, **recipes)
    (root / "from").mkdir()
    (root / "from/config.json").write_text("{}")
    zoo = load(root, Memo(), Cache(root / "none", Memo()))
    sorts = {name: sort(task) for name, task in zoo.tasks.items()}
    known = {kind for kind in SOURCES if f"fetch:of-{kind}" in sorts}
    assert known == {*SOURCES}, [str(b.fault) for b in zoo.broken]
    assert [name for name, one in sorts.items() if one == "online"] == ["fetch:of-hub"]
    stages = {name.partition(":")[0] for name in sorts}
    assert stages == {*STAGES}
    assert {task.stage for task in zoo.tasks.values() if STAGES[task.stage].outside} == {"fetch"}


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pool]:
    for name in (*PROXIES, *TOKENS):
        monkeypatch.setenv(name, "http://hf_secret@127.0.0.1:1")
    made = Pool()
    yield made
    made.stop()


def child(code: str) -> list[str]:
    """A process that a library starts, which the hook does not see."""
    return [sys.executable, "-c", code]


def test_no_secret_and_no_proxy_where_there_is_no_network(pool: Pool) -> None:
    """Neither in the worker nor in what is started there."""
    for name in (*PROXIES, *TOKENS):
        assert pool.call("os:getenv", name) is None
    listed = child("import os; print(list(os.environ))")
    inherited = {*ast.literal_eval(pool.call("subprocess:check_output", listed).decode())}
    assert not inherited & {*PROXIES, *TOKENS}
    assert pool.call("os:getenv", "HF_TOKEN", sort="online")
    assert {*PROXIES, *TOKENS} <= ENVIRONMENT.keys()


def test_a_process_that_a_library_starts_is_told_to_be_offline(pool: Pool) -> None:
    code = "import huggingface_hub as hub; print(hub.is_offline_mode(), hub.get_token())"
    assert pool.call("subprocess:check_output", child(code)).split() == [b"True", b"None"]
