"""What shells complete, in real shells."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from kit.zoo import LIGHT, make, tinybuild

SCRIPTS = {
    "bash": """\
eval "$(tinybuild completion bash)"
COMP_WORDS=({}) COMP_CWORD={}
_tinybuild
printf '%s\\n' "${{COMPREPLY[@]}}"
""",
    "zsh": """\
compdef() {{ : }}
compadd() {{ print -l -- "${{(@P)argv[-1]}}" }}
_files() {{ print files }}
eval "$(tinybuild completion zsh)"
words=({}) CURRENT=$(({} + 1))
_tinybuild
""",
    "fish": """\
tinybuild completion fish | source
complete -C "{}"
""",
}
FILES = {"bash": [""], "zsh": ["files"]}  # of fish: what is in the folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = make(tmp_path / "zoo", one=LIGHT, other=LIGHT, bad="no recipe")
    (root / "recipes/group").mkdir()
    (root / "recipes/group/inner.yaml").write_text(LIGHT)
    return root


LINES: list[tuple[str, list[str] | None]] = [  # None: files
    ("tinybuild show o", ["one", "other"]),
    ("tinybuild list --ki", ["--kind"]),
    ("tinybuild page o", None),
    ("tinybuild sho", ["show"]),
    ("tinybuild help compl", ["completion"]),
    ("doit o", ["one", "other", "outdated"]),
    ("doit one g", ["group"]),
    ("tinybuild -C elsewhere lis", ["list"]),
]


@pytest.mark.parametrize(
    ("shell", "line", "completed"),
    [("bash", *line) for line in LINES]
    + [(shell, *line) for shell in ("zsh", "fish") for line in LINES[:3]],
)
def test_a_line(root: Path, shell: str, line: str, completed: list[str] | None) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    script = SCRIPTS[shell].format(line, len(line.split()) - 1)
    ran = subprocess.run(
        [shell, "-c", script], cwd=root, capture_output=True, text=True, check=True, timeout=60
    )
    assert not ran.stderr
    if completed is not None or shell in FILES:
        assert ran.stdout.split("\n")[:-1] == (FILES[shell] if completed is None else completed)


def test_a_shell_that_nobody_knows(root: Path) -> None:
    for words in ([], ["tcsh"], ["words"]):
        result = tinybuild(root, "completion", *words)
        assert result.code == 1
        assert "hint: tinybuild completion bash or tinybuild" in result.err


def test_doit_of_another_project_gets_no_words_of_ours(tmp_path: Path) -> None:
    (tmp_path / "dodo.py").write_text("def task_a():\n    return {'actions': []}\n")
    assert tinybuild(tmp_path, "completion", "words", "--", "doit", "li").out == ""
    assert tinybuild(tmp_path, "completion", "words", "--", "tinybuild", "li").out == "list\n"
