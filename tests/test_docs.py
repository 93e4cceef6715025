"""What the pages say is so: links lead somewhere, recipes are valid, commands exist and run."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import yaml
from kit.files import ROOT
from kit.git import commit, git
from kit.hub import serve
from kit.pages import PAGES, Block, Shown, anchors, blocks, links, prose, shown, unsaid
from kit.zoo import environment, tinybuild

from tinybuild.cli.command import JSON
from tinybuild.cli.commands import COMMANDS
from tinybuild.recipe import zoofile
from tinybuild.recipe.contract import contract
from tinybuild.recipe.reading import check

HOWTO = sorted(page for page in (ROOT / "docs/howto").glob("*.md") if page.stem != "index")
README = ROOT / "README.md"
RUN = [*HOWTO, ROOT / "docs/tutorial.md", ROOT / "SKILL.md", README]
# What doit itself has, and is not a command of ours.
DOIT = {"help", "run", "forget", "ignore", "info", "dumpdb", "reset-dep", "tabcompletion"}
OWN = {"python": sys.executable, "pytest": f"{sys.executable} -m pytest -p no:cacheprovider"}


def named(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


each_page = pytest.mark.parametrize("page", PAGES, ids=named)


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    for path, anchor in links(page):
        target = page.parent / path if path else page
        assert target.exists(), path
        assert not anchor or anchor in anchors(target), f"{path}#{anchor}"


def recipes(page: Path) -> Iterator[tuple[Block, dict[str, object]]]:
    """The blocks that are a recipe, or sections of one."""
    sections = {*contract("recipe")["properties"]}  # type: ignore[index, misc]
    for block in blocks(page):
        if block.language == "yaml" and page.name != "recipe.md":
            value = yaml.safe_load(block.text)
            if isinstance(value, dict) and value and {*value} <= sections:
                yield block, value


@each_page
def test_recipes_are_valid(page: Path) -> None:
    for block, value in recipes(page):
        where = f"{named(page)}:{block.line}"
        if {*value} <= {"version", "publish"}:
            zoofile.check(block.text.encode(), where)
        else:
            given = {"version": 1, "summary": "x", **value}
            if not {"source", "dataset"} & {*given}:
                given["source"] = {"hub": "owner/name"}
            whole = block.text if given == value else yaml.safe_dump(given, sort_keys=False)
            check(whole.encode(), where)


def test_there_are_recipes() -> None:
    assert sum(1 for page in PAGES for _ in recipes(page)) > 15


def commands(page: Path) -> Iterator[str]:
    yield from re.findall(r"`((?:tinybuild|doit)(?: [^`]*)?)`", prose(page))
    for block in blocks(page):
        for one in shown(block):
            yield from (
                part
                for part in one.command.split(" && ")
                if part.split()[0] in ("tinybuild", "doit")
            )


def wrong(command: str) -> str | None:
    """What is wrong with a command that a page names: an unknown one, or an unknown option."""
    program, *words = shlex.split(re.sub(r"\\\|", "|", command))
    if words[:1] == ["-C"]:
        words = words[2:]
    if words == ["X"]:  # any of them
        return None
    if not words or words[0] in (
        "help",
        "--help",
        "--version",
        *(DOIT if program == "doit" else ()),
    ):
        return None if words[1:2] in ([], ["COMMAND"]) or words[1] in COMMANDS else "help of what?"
    if words[0] in COMMANDS:
        name, given = words[0], words[1:]
    elif program == "doit":
        name, given = "build", words
    else:
        return f"there is no command {words[0]}"
    known = {**COMMANDS[name].options, "json": JSON}
    flags = {f"--{option}" for option in known} | {f"-{o.short}" for o in known.values() if o.short}
    bad = [w for w in given if w.startswith("-") and w.partition("=")[0] not in flags]
    return f"{name} does not have {bad[0]}" if bad else None


@each_page
def test_commands_and_their_options_exist(page: Path) -> None:
    assert {command: wrong(command) for command in commands(page) if wrong(command)} == {}


def test_a_wrong_command_is_noticed() -> None:
    assert wrong("tinybuild bild") == "there is no command bild"
    assert wrong("doit publish x --dry") == "publish does not have --dry"
    assert wrong("tinybuild -C DIR build --jobs 2") is None


def test_every_command_is_in_the_readme() -> None:
    text = README.read_text()
    assert [name for name in COMMANDS if not re.search(rf"`(doit|tinybuild) {name}\b", text)] == []


def test_all_pages_are_in_the_site_and_in_the_index() -> None:
    site = (ROOT / "mkdocs.yml").read_text()
    assert "strict: true" in site
    docs = [page.removeprefix("docs/") for page in map(named, PAGES) if page.startswith("docs/")]
    assert [page for page in docs if f" {page}\n" not in site] == []
    tasks = (ROOT / "docs/howto/index.md").read_text()
    assert len(HOWTO) == 14
    assert [page.name for page in HOWTO if f"({page.name})" not in tasks] == []


def test_the_site_builds(tmp_path: Path) -> None:
    """Strictly: each page is in its menu, and each link and anchor leads somewhere."""
    pytest.importorskip("mkdocs", reason="mkdocs is not installed")
    words = [sys.executable, "-m", "mkdocs", "build", "-q", "-d", str(tmp_path / "site")]
    built = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    assert "https://" not in re.sub(r"<a [^>]*>", "", (tmp_path / "site/index.html").read_text())


def test_what_a_command_says_is_compared() -> None:
    said = "a    1.2 s\n\nb\nc\n"
    assert unsaid(["a 12.4 s", "b", "..."], said) is None
    assert unsaid(["a  9.9 s", "b", "c"], said) is None
    assert unsaid(["...", "c"], said) is None
    assert unsaid(["a 1.0 s", "..."], said) is None
    assert unsaid(["a...", "b", "c"], said) is None
    assert unsaid(["b", "..."], said) == "b"
    assert unsaid(["a 1.0 s", "b"], said) == "nothing after 'c'"
    assert unsaid(["...", "d"], said) == "d"


# --- what really runs -----------------------------------------------------------------------------


def a_checkpoint(root: Path) -> None:
    """GPT-2's full-size config, and a tokenizer of 3,000 tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import GPT2Config, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    learn = trainers.BpeTrainer(
        vocab_size=3000,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    text = (ROOT / "tinybuild/corpus/corpus.jsonl").read_text()
    tokenizer.train_from_iterator(text.splitlines(), learn)
    size = tokenizer.get_vocab_size()
    GPT2Config(
        n_embd=1600,
        n_layer=48,
        n_head=25,
        vocab_size=size,
        bos_token_id=0,
        eos_token_id=0,
        architectures=["GPT2LMHeadModel"],
    ).save_pretrained(root / "checkpoint")
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|endoftext|>", bos_token="<|endoftext|>"
    ).save_pretrained(root / "checkpoint")


def a_branch(root: Path) -> None:
    commit(root)
    git(root, "switch", "-q", "-c", "branch")
    file = root / "recipes/llama.yaml"
    old = "  # config: {num_hidden_layers: 4}"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, "  config: {num_hidden_layers: 3}"))


# What a page says that there is already; a page that is not here begins in a zoo of `init`.
BEFORE: Mapping[str, Callable[[Path], object]] = {
    "local-checkpoint": a_checkpoint,
    "ci": commit,
    "what-changed": a_branch,
}
EMPTY = {"tutorial", "SKILL", "README", "monorepo"}
MOVED = {"tinybuild diff main", "tinybuild diff main --markdown"}  # exit code 3


def follow(page: Path, root: Path, env: Mapping[str, str]) -> None:
    """Do what a page says, from its first line to its last: files, commands, scripts.

    Of the README only the commands: tests/test_readme.py tries its recipe.
    """
    here = root
    for block in blocks(page):
        if page == README and block.language != "console":
            continue
        if block.file:
            (here / block.file).parent.mkdir(parents=True, exist_ok=True)
            (here / block.file).write_text(block.text)
        elif block.language == "python":
            done(Shown(command=shlex.join(["python", "-c", block.text]), says=()), here, env)
        elif block.language == "console":
            for one in shown(block):
                if one.command.startswith("cd "):
                    here /= one.command.removeprefix("cd ")
                else:
                    done(one, here, env)


def done(one: Shown, root: Path, env: Mapping[str, str]) -> None:
    program, *words = shlex.split(one.command)
    own = {**OWN, "tinybuild": f"{sys.executable} -m tinybuild"}[program]
    ran = subprocess.run(
        [*shlex.split(own), *words],
        cwd=root,
        env=environment(**env),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    said = ran.stdout + ran.stderr
    assert ran.returncode == (3 if one.command in MOVED else 0), f"$ {one.command}\n{said}"
    if one.says:
        lacks = unsaid(one.says, ran.stdout)
        assert lacks is None, f"$ {one.command}\nnot said: {lacks}\n{said}"


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN, ids=lambda page: page.stem)
def test_a_page_runs_as_it_stands(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CI", "TINYBUILD_ZOO", "PYTEST_ADDOPTS"):
        monkeypatch.delenv(name, raising=False)
    root = tmp_path / "zoo"
    root.mkdir()
    if page.stem not in EMPTY:
        assert tinybuild(root, "init", ".").code == 0
        BEFORE.get(page.stem, lambda root: None)(root)
    if page.stem != "publish":
        return follow(page, root, {"HF_HUB_OFFLINE": "1"})
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    with serve() as hub:
        home = str(tmp_path / "home")
        env = {"HF_ENDPOINT": hub.url, "HF_TOKEN": "hf_x", "HF_HOME": home}
        follow(page, root, {**env, "HF_HUB_DISABLE_XET": "1"})
        assert "my-org/tiny-llama" in hub.repos
