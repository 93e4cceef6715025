"""The two laws, for every stage and kind of source: who may reach a network, and who sees what.

Each attack is tried where it would succeed, too: with its guard away, or by a worker that may.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import json
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from kit import hub
from kit.zoo import FULL, doit, make

from tinybuild import network
from tinybuild.engine.plan import load
from tinybuild.engine.run import Builder, sort
from tinybuild.engine.stages import STAGES
from tinybuild.errors import BuildFault
from tinybuild.files import Memo
from tinybuild.network import ENVIRONMENT
from tinybuild.recipe import Cache
from tinybuild.source import KINDS
from tinybuild.workers import Job, Limits, Pool, Sort, beside, call

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


# --- no network, no token -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[hub.Hub]:
    """A Hub that has what is asked for, a proxy that leads to it, and a token, also in a file."""
    home = tmp_path_factory.mktemp("hf")
    (home / "token").write_text("hf_secretOfTheUser")
    with hub.serve() as server, pytest.MonkeyPatch.context() as patch:
        told = dict.fromkeys(TOKENS, "hf_secretOfTheUser") | dict.fromkeys(PROXIES, server.url)
        told |= {"HF_HOME": str(home), "HF_HUB_OFFLINE": "0", "HF_ENDPOINT": server.url}
        for name, value in {**told, "NO_PROXY": "", "no_proxy": ""}.items():
            patch.setenv(name, value)
        files = {
            "config.json": json.dumps({"model_type": "llama"}).encode(),
            "preprocessor_config.json": b"{}",
            "chat_template.jinja": b"{{ messages }}",
            "a.py": b"",
        }
        server.repo("owner/name").commit(files)
        server.dataset("owner/name").commit({"data.jsonl": b'{"a": 1}\n'})
        yield server


@pytest.fixture
def online(served: hub.Hub) -> hub.Hub:
    served.log.clear()
    served.tokens.clear()
    return served


@pytest.fixture(scope="module")
def pool(served: hub.Hub) -> Iterator[Pool]:
    assert served.url
    made = Pool()
    yield made
    made.stop()


def child(code: str) -> list[str]:
    """A process that a library starts, which no hook of Python sees."""
    return [sys.executable, "-c", code]


def backbone(_: object) -> None:
    from transformers import AutoConfig

    AutoConfig.from_pretrained("owner/name")


def processor(_: object) -> None:
    from transformers import AutoImageProcessor

    AutoImageProcessor.from_pretrained("owner/name")


def chat_template(_: object) -> None:
    from transformers.utils.hub import cached_file

    cached_file("owner/name", "chat_template.jinja")


def kernel(_: object) -> None:
    """As transformers.integrations.hub_kernels has the package kernels do it."""
    from huggingface_hub import snapshot_download

    snapshot_download("owner/name", allow_patterns=["build/*"], revision="main")


def picture_model(_: object) -> None:
    """As timm does it for hf-hub: names."""
    from huggingface_hub import hf_hub_download

    hf_hub_download("owner/name", filename="config.json")


def rows(_: object) -> None:
    from datasets import load_dataset

    load_dataset("owner/name", token="hf_given")


def listing(_: object) -> None:
    from huggingface_hub import HfApi

    HfApi().model_info("owner/name")


def forced(_: object) -> None:
    """A library that thinks better of being offline."""
    import huggingface_hub.constants as told

    told.HF_HUB_OFFLINE = False
    try:
        listing(None)
    finally:
        told.HF_HUB_OFFLINE = True


def address(_: object) -> None:
    import os

    import requests

    requests.get(os.environ["HF_ENDPOINT"], timeout=5)


ASKING = (
    *(backbone, processor, chat_template, kernel, picture_model, rows, listing, forced, address),
)


@pytest.mark.parametrize("asking", [function.__name__ for function in ASKING])
def test_whoever_asks_the_hub_is_stopped(pool: Pool, online: hub.Hub, asking: str) -> None:
    """Nothing was sent; the token, which is there, neither."""
    with pytest.raises(BuildFault, match="only the fetch stage reaches a network"):
        pool.call(f"engine.test_laws:{asking}", None)
    assert online.log == []
    assert online.tokens == []


def test_a_worker_that_may_reaches_it(pool: Pool, online: hub.Hub) -> None:
    """The same calls, or there would be nothing to stop."""
    for function in (chat_template, picture_model, listing, address):
        pool.call(f"engine.test_laws:{function.__name__}", None, sort="online")
    assert len(online.log) >= 4
    assert "Bearer hf_secretOfTheUser" in online.tokens


def test_no_secret_and_no_proxy_where_there_is_no_network(pool: Pool, online: hub.Hub) -> None:
    """Neither in the worker nor in what is started there."""
    for name in (*PROXIES, *TOKENS):
        assert pool.call("os:getenv", name) is None
    listed = child("import os; print(list(os.environ))")
    inherited = {*ast.literal_eval(pool.call("subprocess:check_output", listed).decode())}
    assert not inherited & {*PROXIES, *TOKENS}
    assert pool.call("os:getenv", "HF_TOKEN", sort="online")
    assert {*PROXIES, *TOKENS} <= ENVIRONMENT.keys()
    told = "import huggingface_hub as hub; print(hub.is_offline_mode(), hub.get_token())"
    assert pool.call("subprocess:check_output", child(told)).split() == [b"True", b"None"]


KINDS_OF_SOCKETS = ["AF_INET", "AF_INET6", "AF_VSOCK", "AF_PACKET", "AF_NETLINK", "AF_UNIX"]


def sockets(_: object) -> list[str]:
    """Those kinds of sockets that can be had here."""
    made = []
    for name in KINDS_OF_SOCKETS:
        with contextlib.suppress(OSError), socket.socket(getattr(socket, name)):
            made.append(name)
    return made


@pytest.mark.skipif(not network.SEALS, reason="processes are sealed on Linux only")
def test_a_process_that_a_library_starts_has_no_socket_either(pool: Pool, online: hub.Hub) -> None:
    """Nor has one that such a process starts; pipes, and sockets that are files, stay."""
    code = f"import urllib.request as r; print(r.urlopen({online.url!r} + '/x').status)"
    script = f"try:\n {code}\nexcept OSError as e: print(e)"
    nested = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {script!r}])"
    for words in (child(script), child(nested)):
        assert b"Address family not supported" in pool.call("subprocess:check_output", words)
    assert online.log == []
    assert pool.call("subprocess:check_output", child(script), sort="online").strip() != b""
    assert online.log == ["GET /x"]
    assert pool.call("engine.test_laws:sockets", None) == ["AF_UNIX"]
    assert "AF_INET" in pool.call("engine.test_laws:sockets", None, sort="online")
    with pytest.raises(BuildFault, match="asked for a network; only the fetch stage"):
        pool.call("engine.test_laws:raw", online.url)


def raw(_: object) -> None:
    """No name is looked up, and no call of Python's connects."""
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


@pytest.mark.skipif(not network.SEALS, reason="processes are sealed on Linux only")
def test_warm_workers_are_sealed_too(pool: Pool) -> None:
    assert pool.call("engine.test_laws:sockets", None, sort="warm") == ["AF_UNIX"]
    assert pool.call("engine.test_laws:ask_beside", None, sort="warm") == ["AF_UNIX"]


def ask_beside(_: object) -> object:
    return beside().call("engine.test_laws:sockets", None, Limits())


# --- no neighbour's file --------------------------------------------------------------------------


ROWS = """\
version: 1
summary: rows
dataset: {samples: 2, source: {path: ../rows}}
"""


def reads(path: Path) -> None:
    path.read_bytes()


def lists(path: Path) -> None:
    import os

    os.listdir(path.parent)


def hides(path: Path) -> None:
    """As a library does that takes what it finds, and goes on without."""
    with contextlib.suppress(Exception):
        path.read_bytes()


def changes(path: Path) -> None:
    path.write_text("x")


def deletes(path: Path) -> None:
    path.unlink()


class Curious(Pool):
    """A stage does its work, and opens something on the way. fenced: as it always is."""

    def __init__(self, stage: str, how: str, name: str, fenced: bool = True) -> None:
        super().__init__()
        self.stage, self.fenced, self.asked = stage, fenced, {"how": how, "name": name}

    def call(
        self, function: str, argument: object, limits: Limits | None = None, sort: Sort = "light"
    ) -> object:
        assert isinstance(argument, Job)
        settings = {**self.asked, "do": function, "given": argument.settings}
        closed = argument.closed if self.fenced else ()
        asked = dataclasses.replace(argument, settings=settings, closed=closed)
        return super().call("engine.test_laws:curious", asked, limits, sort)


def curious(job: Job) -> object:
    """The zoo is above: build/NAME/.STAGE.x/made."""
    settings = job.settings
    globals()[settings["how"]]((job.out.parents[3] / settings["name"]).resolve())
    mine = dataclasses.replace(job, settings=settings["given"], closed=())  # inside the fence
    return call(settings["do"], mine)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = make(tmp_path_factory.mktemp("zoo") / "zoo", x=ROWS, y=ROWS)
    (root / "rows").mkdir()
    (root / "rows/a.jsonl").write_text('{"text": "a"}\n{"text": "b"}\n')
    assert doit(root).code == 0
    return root


@pytest.mark.parametrize(
    ("stage", "name", "how"),
    [
        ("dataset", "build/y/dataset/README.md", "reads"),
        ("dataset", "build/x/validate/report.json", "reads"),
        ("validate", "build/x/dataset/receipt.json", "reads"),
        ("validate", "dist/y/README.md", "reads"),
        ("validate", "recipes/x.yaml", "reads"),
        ("pack", "build/y/dataset/README.md", "reads"),
        ("pack", "recipes/y.yaml", "reads"),
        ("pack", "dist/y/README.md", "changes"),
        ("pack", "dist/y/README.md", "deletes"),
        ("dataset", "build/y/dataset/README.md", "hides"),
        ("dataset", "build/y/dataset/README.md", "lists"),
    ],
)
def test_a_stage_that_reads_a_neighbours_file_is_stopped(
    built: Path, stage: str, name: str, how: str
) -> None:
    """Of another recipe, of another stage, of what was packed; also where it hides that it did."""
    before = (built / name).read_bytes()
    shown = name.rpartition("/")[0] if how == "lists" else name
    with pytest.raises(BuildFault, match=f"opened {shown}, which no need of it names"):
        performed(built, Curious(stage, how, name))
    assert (built / name).read_bytes() == before


def performed(root: Path, pool: Curious) -> str:
    task = load(root, Memo(), Cache(root / "none", Memo())).tasks[f"{pool.stage}:x"]
    try:
        return Builder(root, Memo(), pool).perform(task, print)
    finally:
        pool.stop()


def test_a_stage_may_read_its_own(built: Path) -> None:
    """Its source where it lies, and the recipe that it packs. Without a fence also a neighbour's,
    of which no state would know."""
    for stage, name in (("dataset", "rows/a.jsonl"), ("pack", "recipes/x.yaml")):
        assert performed(built, Curious(stage, "reads", name)) == "built"
    neighbour = Curious("dataset", "reads", "build/y/dataset/README.md", fenced=False)
    assert performed(built, neighbour) == "built"
    assert doit(built).ran == set()


def test_a_source_may_lie_beside_the_recipes(tmp_path: Path) -> None:
    """What a recipe names is its own, wherever it is; also rows that are read where they are."""
    text = "version: 1\nsummary: x\nsource: {path: sources/config.json}\nmodel: {}\n"
    rows = "version: 1\nsummary: x\ndataset: {samples: 1, source: {path: ../recipes/sources}}\n"
    root = make(tmp_path / "zoo", x=text, rows=rows)
    (root / "recipes/sources").mkdir()
    (root / "recipes/sources/config.json").write_text('{"model_type": "llama"}')
    (root / "recipes/sources/a.jsonl").write_text('{"text": "a"}\n')
    ran = doit(root, "fetch:x", "dataset:rows")
    assert ran.code == 0, ran.err
