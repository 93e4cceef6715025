"""Publishing to the loopback Hub with the real client: what is refused, sent, and repeated."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from kit.hub import Hub, Trouble, connected

from tinybuild import publish
from tinybuild.errors import Fault, SourceFault
from tinybuild.files import sha256
from tinybuild.publish import asking

TOKEN = "hf_aVeryPrivateTokenThatNobodyMaySee"
REPO = "my-org/tiny-x"
CARD = "---\nlicense: mit\ntags:\n- tinybuild\n---\n\n# x\n"
GREEN = json.dumps({"version": 1, "checks": [{"name": "reload", "state": "passed"}]})
FILES = {
    "README.md": CARD,
    "config.json": '{"hidden_size": 16}',
    "model.safetensors": "W" * 3000,
    "recipe.yaml": "version: 1\n",
    "recipe.lock.json": '{"pins": {}, "version": 1}',
    "report.json": GREEN,
}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with connected(tmp_path, monkeypatch, TOKEN) as server:
        yield server


def lay(folder: Path, files: Mapping[str, str] = FILES) -> dict[str, str]:
    """A bundle with these files and their SHA256SUMS; name -> sha256, as its receipt has it."""
    for old in sorted(folder.rglob("*")) if folder.exists() else ():
        if old.is_file():
            old.unlink()
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    sums = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in files.items()}
    (folder / "SHA256SUMS").write_text("".join(f"{sums[n]}  {n}\n" for n in sorted(sums)))
    return {**sums, "SHA256SUMS": sha256(folder / "SHA256SUMS")}


def target(tmp_path: Path, files: Mapping[str, str] = FILES, **more: object) -> publish.Target:
    folder = tmp_path / "dist" / "x"
    folder.mkdir(parents=True, exist_ok=True)
    made = publish.Target(
        name="x",
        kind="model",
        repo=REPO,
        folder=str(folder),
        receipt=lay(folder, files),
        private=False,
        direct=False,
        redistribute=False,
        sources=(),
        dry=False,
    )
    return dataclasses.replace(made, **more)  # type: ignore[arg-type]


def on_disk(tmp_path: Path) -> dict[str, bytes]:
    folder = tmp_path / "dist" / "x"
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*")}


def published(hub: Hub, ref: str = "main") -> dict[str, bytes]:
    repo = hub.repos[REPO]
    files = dict(repo.commits[repo.refs[ref]])
    files.pop(".gitattributes", None)
    return files


CHANGED = {**FILES, "config.json": '{"hidden_size": 32}', "model.safetensors": "X" * 4000}


# --- what is sent ---------------------------------------------------------------------------------


def test_a_first_version_is_a_commit_of_a_new_repository(hub: Hub, tmp_path: Path) -> None:
    done = publish.publish(target(tmp_path, private=True))
    assert (done.state, done.repo) == ("created", REPO)
    assert published(hub) == on_disk(tmp_path)
    assert hub.repos[REPO].private
    assert [c.what for c in done.changes] == ["added"] * 7
    assert len(hub.repos[REPO].messages) == 1


def test_identical_bytes_are_no_commit(hub: Hub, tmp_path: Path) -> None:
    publish.publish(target(tmp_path))
    hub.log.clear()
    done = publish.publish(target(tmp_path))
    assert (done.state, done.changes) == ("same", ())
    assert len(hub.repos[REPO].messages) == 1
    assert len(hub.log) <= 3
    assert not hub.asked("POST")


def test_a_change_is_a_pull_request_of_the_changed_files(hub: Hub, tmp_path: Path) -> None:
    publish.publish(target(tmp_path))
    before = published(hub)
    hub.log.clear()
    done = publish.publish(target(tmp_path, CHANGED))
    assert done.state == "pull request"
    assert done.url == f"{hub.url}/{REPO}/discussions/1"
    assert {c.path: c.what for c in done.changes} == dict.fromkeys(
        ("SHA256SUMS", "config.json", "model.safetensors"), "changed"
    )
    assert published(hub) == before
    assert published(hub, "refs/pr/1") == on_disk(tmp_path)
    assert len(hub.asked("PUT")) == 1
    text = hub.repos[REPO].discussions[0].text
    assert "| `config.json` | changed | 19 | 19 |" in text
    assert "README.md" not in text
    assert "| `config.json` | `hidden_size` | `16` | `32` |" in text


def test_a_direct_change_is_a_commit(hub: Hub, tmp_path: Path) -> None:
    publish.publish(target(tmp_path))
    done = publish.publish(target(tmp_path, CHANGED, direct=True))
    assert done.state == "committed"
    assert published(hub) == on_disk(tmp_path)
    assert hub.repos[REPO].discussions == []


def sign(tmp_path: Path, files: Mapping[str, str], salt: str = "") -> None:
    """A signature as OpenSSF Model Signing lays it out; what signs it is not looked at here."""
    folder = tmp_path / "dist" / "x"
    names = (*files, "SHA256SUMS")
    told = [{"name": name, "digest": sha256(folder / name)} for name in names]
    payload = base64.b64encode(json.dumps({"predicate": {"resources": told}}).encode()).decode()
    text = json.dumps({"dsseEnvelope": {"payload": payload, "signatures": [salt]}})
    (folder / "model.sig").write_text(text)


def test_a_signature_goes_along(hub: Hub, tmp_path: Path) -> None:
    publish.publish(target(tmp_path))
    made = target(tmp_path)
    sign(tmp_path, FILES)
    done = publish.publish(dataclasses.replace(made, direct=True))
    assert [(c.path, c.what) for c in done.changes] == [("model.sig", "added")]
    assert "model.sig" in published(hub)
    sign(tmp_path, FILES, salt="signed once more")
    assert publish.publish(made).state == "same"
    made = target(tmp_path, CHANGED, direct=True)
    sign(tmp_path, CHANGED)
    publish.publish(made)
    assert published(hub)["model.sig"] == (tmp_path / "dist/x/model.sig").read_bytes()
    made = target(tmp_path, FILES, direct=True)  # not signed: the old signature goes
    publish.publish(made)
    assert "model.sig" not in published(hub)
    sign(tmp_path, {"README.md": CARD})
    with pytest.raises(Fault, match=r"model\.sig is not of these files: sign the bundle again"):
        publish.publish(made)


def test_files_that_are_gone_are_deleted_and_those_of_others_stay(hub: Hub, tmp_path: Path) -> None:
    publish.publish(target(tmp_path, {**FILES, "old.json": "{}"}, direct=True))
    repo = hub.repos[REPO]
    repo.commit({**repo.files, "NOTES.txt": b"by hand"})
    done = publish.publish(target(tmp_path, direct=True))
    assert {c.path: c.what for c in done.changes} == {
        "old.json": "deleted",
        "SHA256SUMS": "changed",
    }
    assert done.kept == ("NOTES.txt",)
    assert published(hub) == {**on_disk(tmp_path), "NOTES.txt": b"by hand"}


def test_a_pull_request_that_is_open_is_brought_up_to_date(hub: Hub, tmp_path: Path) -> None:
    publish.publish(target(tmp_path))
    publish.publish(target(tmp_path, {**CHANGED, "added.json": "{}"}))
    again = publish.publish(target(tmp_path, {**CHANGED, "added.json": "{}"}))
    repo = hub.repos[REPO]
    assert (again.state, len(repo.messages)) == ("waiting", 2)
    done = publish.publish(target(tmp_path, CHANGED))
    assert done.state == "pull request"
    assert done.url == f"{hub.url}/{REPO}/discussions/1"
    assert len(repo.discussions) == 1
    assert published(hub, "refs/pr/1") == on_disk(tmp_path)
    assert "added.json" not in repo.discussions[0].text
    repo.merge(1)
    assert publish.publish(target(tmp_path, CHANGED)).state == "same"


def test_a_pull_request_that_touches_other_files_is_not_ours(hub: Hub, tmp_path: Path) -> None:
    publish.publish(target(tmp_path))
    publish.publish(target(tmp_path, CHANGED))
    repo = hub.repos[REPO]
    held = repo.commits[repo.refs["refs/pr/1"]]
    repo.commit({**held, "modeling_x.py": b"import os"}, "refs/pr/1")
    done = publish.publish(target(tmp_path, CHANGED))
    assert done.url.endswith("/discussions/2")
    assert published(hub, "refs/pr/2") == on_disk(tmp_path)


def test_a_dry_run_sends_nothing(hub: Hub, tmp_path: Path) -> None:
    assert publish.publish(target(tmp_path, dry=True)).state == "would create"
    assert not hub.asked("POST")
    publish.publish(target(tmp_path))
    before = len(hub.asked("POST"))
    done = publish.publish(target(tmp_path, CHANGED, dry=True))
    assert done.state == "would propose"
    assert "| `config.json` | changed | 19 | 19 |" in done.description
    would = publish.publish(target(tmp_path, CHANGED, dry=True, direct=True)).state
    assert would == "would commit"
    assert len(hub.asked("POST")) == before


def test_a_dataset_of_its_own(hub: Hub, tmp_path: Path) -> None:
    data = {
        "dataset/README.md": CARD,
        "dataset/data/train.parquet": "PAR1",
        "dataset/recipe.yaml": "x",
        "provenance.json": "{}",
        "recipes/up.yaml": "y",
    }
    made = target(tmp_path, {**FILES, **data}, kind="dataset", repo="my-org/rows")
    publish.publish(made)
    repo = hub.repos["datasets/my-org/rows"]
    held = {name: data for name, data in repo.files.items() if name != ".gitattributes"}
    assert set(held) == {
        *("README.md", "data/train.parquet", "recipe.yaml"),
        *("recipe.lock.json", "report.json", "SHA256SUMS", "provenance.json", "recipes/up.yaml"),
    }
    sums = dict(reversed(line.split("  ")) for line in held.pop("SHA256SUMS").decode().splitlines())
    assert sums == {name: hashlib.sha256(data).hexdigest() for name, data in held.items()}
    assert publish.publish(made).state == "same"


# --- what is refused ------------------------------------------------------------------------------


def refused(made: publish.Target) -> str:
    with pytest.raises(Fault) as caught:
        publish.publish(made)
    assert TOKEN not in str(caught.value)
    return str(caught.value)


def test_a_bundle_that_is_not_what_was_built(hub: Hub, tmp_path: Path) -> None:
    made = target(tmp_path)
    folder = tmp_path / "dist" / "x"
    (folder / "config.json").write_text("{}")
    (folder / "pickle.bin").write_text("x")
    (folder / "recipe.yaml").unlink()
    text = refused(made)
    assert "config.json is not what SHA256SUMS says" in text
    assert "pickle.bin is in no receipt" in text
    assert "recipe.yaml is missing" in text
    assert "hint: tinybuild build -a x" in text
    assert hub.log == []


def test_sums_that_were_edited_along(hub: Hub, tmp_path: Path) -> None:
    made = target(tmp_path)
    lay(tmp_path / "dist" / "x", CHANGED)
    assert "config.json is not what the receipt says" in refused(made)


def test_a_report_that_is_not_green(hub: Hub, tmp_path: Path) -> None:
    red = json.dumps({"version": 1, "checks": [{"name": "reload", "state": "failed"}]})
    assert "the check reload failed" in refused(target(tmp_path, {**FILES, "report.json": red}))
    assert "report.json" in refused(target(tmp_path, {**FILES, "report.json": "["}))
    bare = json.dumps({"version": 1, "checks": []})
    assert "no check passed" in refused(target(tmp_path, {**FILES, "report.json": bare}))


def test_a_link_is_not_followed(hub: Hub, tmp_path: Path) -> None:
    made = target(tmp_path)
    link = tmp_path / "dist" / "x" / "config.json"
    link.rename(tmp_path / "away.json")
    link.symlink_to(tmp_path / "away.json")
    assert "config.json is not a plain file" in refused(made)


def test_a_repository_of_somebody_else(hub: Hub, tmp_path: Path) -> None:
    hub.repo(REPO).commit({"model.safetensors": b"real", "config.json": b"{}"})
    text = refused(target(tmp_path, direct=True))
    assert f"{REPO} holds files that tinybuild did not publish: config.json, model.safeten" in text
    assert "hint:" in text
    assert not hub.asked("POST")


def test_sums_of_somebody_else(hub: Hub, tmp_path: Path) -> None:
    hub.repo(REPO).commit({"SHA256SUMS": b"0  theirs.bin\n", "theirs.bin": b"x"})
    assert "SHA256SUMS, theirs.bin" in refused(target(tmp_path, direct=True))


def test_a_card_that_stands_there_is_changed_by_a_pull_request(hub: Hub, tmp_path: Path) -> None:
    hub.repo(REPO).commit({".gitattributes": b"", "README.md": b"# made on the web"})
    assert publish.publish(target(tmp_path)).state == "pull request"
    assert published(hub)["README.md"] == b"# made on the web"


def test_a_card_that_the_hub_does_not_take(hub: Hub, tmp_path: Path) -> None:
    bad = CARD.replace("mit", "no-such-licence")
    text = refused(target(tmp_path, {**FILES, "README.md": bad}))
    assert '"license" must be one of' in text
    assert published(hub) == {}


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"gated": "manual", "cardData": {"license": "llama3.1"}}, "is gated"),
        ({"cardData": {"license": "cc-by-nc-nd-4.0"}}, "its licence is cc-by-nc-nd-4.0"),
        ({"cardData": {"license": "other"}}, "its licence is other"),
        ({}, "names no licence"),
    ],
)
def test_tokens_of_a_source_that_may_not_be_passed_on(
    hub: Hub, tmp_path: Path, told: dict[str, object], words: str
) -> None:
    upstream = hub.repo("meta/llama")
    commit = upstream.commit({"config.json": b"{}"})
    upstream.told = told
    origin = publish.Origin(what="tokens", kind="model", repo="meta/llama", commit=commit)
    made = target(tmp_path, sources=(origin,))
    text = refused(made)
    assert "tokens of meta/llama" in text
    assert words in text
    assert "publish.redistribute" in text
    assert REPO not in hub.repos
    dry = publish.publish(dataclasses.replace(made, dry=True))
    assert words in dry.warnings[0]
    done = publish.publish(dataclasses.replace(made, redistribute=True))
    assert done.state == "created"
    assert words in done.warnings[0]


def test_tokens_of_a_free_source(hub: Hub, tmp_path: Path) -> None:
    upstream = hub.repo("google/mt5")
    commit = upstream.commit({"config.json": b"{}"})
    upstream.told = {"cardData": {"license": "apache-2.0"}}
    origin = publish.Origin(what="tokens", kind="model", repo="google/mt5", commit=commit)
    assert publish.publish(target(tmp_path, sources=(origin,))).warnings == ()


def test_without_a_token(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN")
    text = refused(target(tmp_path))
    assert "the Hub does not take the token" in text
    assert "hf auth login" in text


# --- bad luck -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("way", "when"),
    [
        ("new", "after"),
        ("direct", "before"),
        ("pull request", "after"),
        pytest.param("new", "before", marks=pytest.mark.slow),
        pytest.param("direct", "after", marks=pytest.mark.slow),
        pytest.param("pull request", "before", marks=pytest.mark.slow),
        pytest.param("open", "before", marks=pytest.mark.slow),
        pytest.param("open", "after", marks=pytest.mark.slow),
    ],
)
def test_a_publish_cut_at_any_request_is_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str, when: str
) -> None:
    """Each request in turn is the last that the Hub sees of a run; the next run does the rest, and
    at the end there is one commit or one pull request, whole."""
    for number in range(30):
        place = tmp_path / str(number)
        place.mkdir()
        with monkeypatch.context() as patch, connected(place, patch, TOKEN) as hub:
            patch.setattr(asking, "TRIES", 1)
            if not _cut(hub, place, way, (number, when)):
                assert number > 3
                return
    raise AssertionError("it never ends")


def _cut(hub: Hub, place: Path, way: str, stop: tuple[int, str]) -> bool:
    """Whether the run was cut; what it left is made whole by the next, and left alone after."""
    if way != "new":
        publish.publish(target(place))
    if way == "open":
        publish.publish(target(place, {**CHANGED, "more.json": "{}"}))
    before = len(hub.repos[REPO].messages) if way != "new" else 0
    made = target(place, FILES if way == "new" else CHANGED, direct=way == "direct")
    hub.stop = stop
    said = "cannot be reached"
    try:
        publish.publish(made)
    except SourceFault as fault:
        said = str(fault)
    assert "cannot be reached" in said
    assert TOKEN not in said
    cut, hub.dead, hub.stop = hub.dead, False, None
    for _ in range(2):
        publish.publish(made)
        repo = hub.repos[REPO]
        assert len(repo.messages) == before + 1, (way, stop)
        proposed = way not in ("new", "direct")
        assert published(hub, "refs/pr/1" if proposed else "main") == on_disk(place)
        assert len(repo.discussions) == proposed
        assert not any("more.json" in each.text for each in repo.discussions)
    return cut


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            ConnectionError("error sending request for url (http://x:secret@h/)"),
            "cannot be reached",
        ),
        (TimeoutError("timed out"), "cannot be reached"),
        (PermissionError("401"), "does not take the token"),
    ],
)
def test_the_library_for_large_files_cannot_go_on(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError, said: str
) -> None:
    """hf_xet raises Python's own errors."""
    from huggingface_hub import _commit_api as client

    calls, waited = list[object](), list[float]()
    monkeypatch.setattr("time.sleep", waited.append)

    def upload(**more: object) -> None:
        calls.append(more)
        if len(calls) < 9:
            raise error

    monkeypatch.setattr(client, "_upload_lfs_files", upload)
    files = {**FILES, "model.safetensors": "x" * 100}
    text = refused(target(tmp_path, files))
    assert said in text
    assert "secret" not in text
    assert ("do the same again" in text) == ("reached" in said)
    assert len(calls) == (4 if "reached" in said else 1)


def test_a_busy_hub_is_waited_for(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    monkeypatch.setattr("time.sleep", waited.append)
    busy = Trouble(where="repos/create", status=429, headers={"Retry-After": "7"}, body=b"{}")
    hub.troubles += [busy, Trouble(where="commit/main", status=503, body=b"{}")]
    assert publish.publish(target(tmp_path)).state == "created"
    assert 8 in waited


# --- collections ----------------------------------------------------------------------------------


def test_a_collection_lists_what_was_published(hub: Hub, tmp_path: Path) -> None:
    items = (("model", REPO), ("dataset", "my-org/rows"))
    wish = publish.Listing(owner="my-org", title="Tiny models", private=False, items=items)
    assert publish.collect(wish).added == (REPO, "my-org/rows")
    assert publish.collect(wish).added == ()
    (made,) = hub.collections
    assert made.items == [("model", REPO), ("dataset", "my-org/rows")]
