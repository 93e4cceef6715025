"""A bundle is what its SHA256SUMS says, or each file that is not is named."""

from __future__ import annotations

import gzip
import hashlib
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from kit.zoo import LIGHT, make, tinybuild

from tinybuild import statement
from tinybuild.artefact.verify import Mend, Verified, advised, intact, verify
from tinybuild.bundle import listed
from tinybuild.errors import BuildFault
from tinybuild.files import archive, pretty
from tinybuild.statement import Asked

FILES = {"README.md": "a card", "config.json": "{}", "dataset/data/x.parquet": "rows"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "dist" / "tiny"
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
        (root / name).chmod(0o644)
    sums = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in FILES.items()}
    lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items()))
    (root / "SHA256SUMS").write_text(lines)
    archive(root, root.with_name("tiny.tar.gz"), "tiny")
    return root


def test_an_intact_bundle(folder: Path) -> None:
    sums = hashlib.sha256((folder / "SHA256SUMS").read_bytes()).hexdigest()
    assert verify(folder) == Verified(files=3, bytes=12, sums=sums, signed=False, problems=())
    for name in (".gitattributes", ".git/config", ".cache/huggingface/x"):  # not of the bundle
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("of git or of the Hub's client")
    folder.with_name("tiny.tar.gz").unlink()
    assert verify(folder).problems == ()


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda root: (root / "config.json").write_text("[]"), "config.json has other bytes"),
        (lambda root: (root / "config.json").unlink(), "config.json is missing"),
        (lambda root: (root / "x").write_text(""), "x is not in SHA256SUMS"),
        (lambda root: (root / "dataset/.x").write_text(""), "dataset/.x is not in SHA256SUMS"),
        (
            lambda root: (root / "config.json").chmod(0o755),
            "config.json has the mode 0755, not 0644",
        ),
        (lambda root: (root / "README.md").chmod(0o646), "README.md has the mode 0646, not 0644"),
        (lambda root: os.mkfifo(root / "pipe"), "pipe is not a plain file"),
        (lambda root: (root / "there").symlink_to("/etc"), "there is a link"),
        (
            lambda root: folder_of_links(root / "dataset", root / "elsewhere"),
            "dataset is a link",
        ),
        (
            lambda root: root.with_name("tiny.tar.gz").write_bytes(b"\x1f\x8bnothing"),
            "../tiny.tar.gz does not hold the same files",
        ),
        (
            lambda root: root.with_name("tiny.tar.gz").write_bytes(gzip.compress(b"other")),
            "../tiny.tar.gz does not hold the same files",
        ),
    ],
)
def test_what_is_not_so_is_named(folder: Path, harm: Callable[[Path], object], said: str) -> None:
    harm(folder)
    assert said in [str(problem) for problem in verify(folder).problems]
    with pytest.raises(BuildFault, match="is not what its SHA256SUMS says") as caught:
        intact(folder, Mend(shown="dist/tiny"))
    assert said in str(caught.value)
    assert caught.value.findings[-1].hint


@pytest.mark.parametrize(
    ("harm", "hint"),
    [
        (lambda root: (root / "x").write_text(""), "rm dist/tiny/x"),
        (lambda root: (root / "dataset/a b").write_text(""), "rm 'dist/tiny/dataset/a b'"),
        (lambda root: (root / "there").symlink_to("/etc"), "rm dist/tiny/there"),
        (lambda root: os.mkfifo(root / "pipe"), "rm dist/tiny/pipe"),
        (lambda root: (root / "config.json").chmod(0o755), "chmod 644 dist/tiny/config.json"),
        (
            lambda root: root.with_name("tiny.tar.gz").write_bytes(b"other"),
            "rm dist/tiny/../tiny.tar.gz",
        ),
    ],
)
def test_the_advice_for_a_file_of_a_folder_works_to_the_letter(
    folder: Path, harm: Callable[[Path], object], hint: str
) -> None:
    mend = Mend(shown="dist/tiny")
    harm(folder)
    assert {problem.hint for problem in verify(folder, mend=mend).problems} == {hint}
    subprocess.run(hint, shell=True, check=True, cwd=folder.parents[1])
    assert verify(folder, mend=mend).problems == ()


@pytest.mark.parametrize(
    ("mend", "anew", "extra"),
    [
        (
            Mend(shown="tiny"),
            "delete tiny, then download it, or copy it, again",
            "rm tiny/x",
        ),
        (
            Mend(shown="me/tiny", repository="me/tiny"),
            "take an earlier commit, me/tiny@COMMIT, or have it published again",
            "take an earlier commit, me/tiny@COMMIT, or have it published again",
        ),
        (
            Mend(shown="dist/tiny", recipe="tiny"),
            "tinybuild build tiny",
            "tinybuild build tiny",
        ),
    ],
)
def test_what_to_do_is_said_once_for_all_that_it_is_for(
    folder: Path, mend: Mend, anew: str, extra: str
) -> None:
    (folder / "config.json").unlink()
    (folder / "README.md").write_text("other")
    (folder / "x").write_text("")
    hints = [hint for _, hint in advised(verify(folder, mend=mend).problems)]
    assert hints == (["", "", anew] if anew == extra else ["", anew, extra])


ZOO: dict[str, Callable[[Path], object]] = {
    "bytes": lambda root: (root / "README.md").write_text("other"),
    "missing": lambda root: (root / "report.json").unlink(),
    "extra": lambda root: (root / "x").write_text(""),
    "link": lambda root: folder_of_links(root / "dataset", root.parent / "elsewhere"),
    "mode": lambda root: (root / "README.md").chmod(0o755),
    "sums-gone": lambda root: (root / "SHA256SUMS").unlink(),
    "sums-bad": lambda root: (root / "SHA256SUMS").write_text("nonsense"),
    "sums-forged": lambda root: forged(root, "README.md"),
    "archive": lambda root: root.with_name("a.tar.gz").write_bytes(b"other"),
}


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = make(tmp_path_factory.mktemp("zoo") / "zoo", a=LIGHT)
    assert tinybuild(root, "build").code == 0
    return root


@pytest.mark.parametrize(
    "harm",
    [
        harm if harm in ("bytes", "sums-gone") else pytest.param(harm, marks=pytest.mark.slow)
        for harm in ZOO
    ],
)
def test_the_advice_in_a_zoo_works_to_the_letter(zoo: Path, harm: str) -> None:
    ZOO[harm](zoo / "dist/a")
    for named in ("a", "dist/a"):
        said = tinybuild(zoo, "verify", named)
        assert said.code == 1
        assert (said.out + said.err).rstrip().endswith("  hint: tinybuild build a")
    assert tinybuild(zoo, "build", "a").code == 0
    whole = tinybuild(zoo, "verify", "a")
    assert whole.out.startswith("dist/a is whole: "), whole


def test_a_recipes_name_is_its_bundle_whatever_folder_is_called_so(zoo: Path) -> None:
    (zoo / "a").mkdir()
    assert tinybuild(zoo, "verify", "a").out.startswith("dist/a is whole: ")
    assert tinybuild(zoo, "verify", "./a").err.startswith("a: there is no SHA256SUMS")
    (zoo / "a").rmdir()


def test_a_recipe_that_is_not_built_is_said_to_be_so(tmp_path: Path) -> None:
    root = make(tmp_path / "zoo", a=LIGHT)
    (root / "a").mkdir()  # its source, say
    for command in ("verify", "rebuild"):
        said = tinybuild(root, command, "a")
        assert said.err == f"{command}: a is not built\n  hint: tinybuild build a\n"
    said = tinybuild(root, "verify", "dodo.py")
    assert said.err.startswith("verify: dodo.py is not a folder\n  hint: give a folder, such as ")


def forged(root: Path, name: str) -> None:
    """Another file, and SHA256SUMS that says so."""
    was = listed(root)[name]
    (root / name).write_text("other")
    now = hashlib.sha256(b"other").hexdigest()
    (root / "SHA256SUMS").write_text((root / "SHA256SUMS").read_text().replace(was, now))


def folder_of_links(folder: Path, aside: Path) -> None:
    folder.rename(aside)
    folder.symlink_to(aside)


def test_a_link_to_the_same_bytes_is_a_link(folder: Path, tmp_path: Path) -> None:
    (folder / "config.json").rename(tmp_path / "config.json")
    (folder / "config.json").symlink_to(tmp_path / "config.json")
    assert [str(problem) for problem in verify(folder).problems] == ["config.json is a link"]


@pytest.mark.parametrize("text", [None, "", "nonsense\n", "0123  config.json\n"])
def test_a_folder_that_is_not_a_bundle(folder: Path, text: str | None) -> None:
    (folder / "SHA256SUMS").unlink()
    if text is not None:
        (folder / "SHA256SUMS").write_text(text)
    with pytest.raises(BuildFault, match=r"tiny: .*SHA256SUMS") as caught:
        verify(folder)
    assert caught.value.findings[0].hint


def test_the_statement_of_how_it_was_made_holds(folder: Path) -> None:
    sums = listed(folder)
    made = pretty(statement.write(sums, Asked(recipe="tiny"), {}, {"pins": {}}))
    forged = {**sums, "README.md": hashlib.sha256(b"another card").hexdigest()}
    for known, problems in ((sums, ()), (forged, ("README.md has another sha256",))):
        (folder / "README.md").write_text("a card" if known is sums else "another card")
        (folder / "provenance.json").write_text(made)
        whole = {**known, "provenance.json": hashlib.sha256(made.encode()).hexdigest()}
        lines = "".join(f"{sha}  {name}\n" for name, sha in sorted(whole.items()))
        (folder / "SHA256SUMS").write_text(lines)
        folder.with_name("tiny.tar.gz").unlink(missing_ok=True)
        found = verify(folder).problems
        assert len(found) == len(problems)
        assert all(str(one).startswith(start) for one, start in zip(found, problems, strict=True))
    (folder / "provenance.json").write_text("{}")
    whole = {**forged, "provenance.json": hashlib.sha256(b"{}").hexdigest()}
    lines = "".join(f"{sha}  {name}\n" for name, sha in sorted(whole.items()))
    (folder / "SHA256SUMS").write_text(lines)
    (problem,) = verify(folder).problems
    assert str(problem).startswith("provenance.json cannot be read")
