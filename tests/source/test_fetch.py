"""Each kind of source: what it fetches, what it refuses, and that the lock holds."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from kit import faults
from kit.files import contents
from kit.hub import Hub, connected
from kit.stage import MakeJob

from tinybuild import source
from tinybuild.errors import SourceFault
from tinybuild.files import Memo
from tinybuild.source import pins

CONFIG = b'{"model_type": "llama"}'
MODEL = "mistral_common/data/mistral_instruct_tokenizer_240323.model.v3"
TOKEN = "hf_aVeryPrivateTokenThatNobodyMaySee"


def fetch(
    job: MakeJob,
    wish: Mapping[str, Any],
    slot: str = "source",
    locks: Mapping[str, Any] | None = None,
    **inputs: Path,
) -> tuple[Path, dict[str, Any]]:
    """The folder of the fetched files, and the pin."""
    settings = {"wishes": {slot: wish}, "base": "recipes", "locks": locks or {}}
    made = job(settings, **inputs)
    return made.out / slot, source.fetch(made)["pins"][slot]


def refused(job: MakeJob, wish: Mapping[str, Any], **more: Any) -> str:
    refusal = faults.refused(fetch, job, wish, **more)
    assert all(finding.key for finding in refusal.findings)
    return refusal.text


@pytest.fixture
def upstream(tmp_path: Path) -> Path:
    """A folder beside recipes/, with a config and a tokenizer."""
    (tmp_path / "recipes").mkdir()
    folder = tmp_path / "upstream"
    folder.mkdir()
    (folder / "config.json").write_bytes(CONFIG)
    (folder / "tokenizer.json").write_bytes(b"{}")
    return folder


# --- transformers ---------------------------------------------------------------------------------


def test_transformers_gives_the_default_config_and_a_blank_tokenizer(job: MakeJob) -> None:
    from transformers import AutoTokenizer, LlamaConfig

    folder, pin = fetch(job, {"transformers": "llama"})
    assert pin["wish"] == {"transformers": "llama"}
    assert pin["transformers"] == importlib.metadata.version("transformers")
    assert set(pin["files"]) == {"config.json", "tokenizer.json", "tokenizer_config.json"}
    assert LlamaConfig.from_pretrained(folder).to_dict() == LlamaConfig().to_dict() | {
        "architectures": None
    }
    assert len(AutoTokenizer.from_pretrained(folder)) == 4  # <pad> is one


def test_transformers_twice_gives_the_same_pin(job: MakeJob) -> None:
    assert fetch(job, {"transformers": "gpt2"})[1] == fetch(job, {"transformers": "gpt2"})[1]


def test_transformers_type_that_reads_text_has_a_blank_tokenizer(job: MakeJob) -> None:
    """XLM's class wants files: its tokens are made of bytes instead. ViT reads none."""
    from transformers import AutoTokenizer

    folder, _ = fetch(job, {"transformers": "xlm"})
    made = AutoTokenizer.from_pretrained(folder)
    roles = ("bos", "eos", "pad", "unk", "mask")
    assert len({getattr(made, f"{role}_token_id") for role in roles}) == len(made) == 5
    folder, pin = fetch(job, {"transformers": "vit"})
    assert set(pin["files"]) == {"config.json", "preprocessor_config.json"}


@pytest.mark.parametrize(("kind", "segments"), [("git", False), ("bert", True)])
def test_transformers_a_blank_tokenizer_gives_what_the_model_takes(
    job: MakeJob, kind: str, segments: bool
) -> None:
    from transformers import AutoTokenizer

    folder, _ = fetch(job, {"transformers": kind})
    made = AutoTokenizer.from_pretrained(folder)
    assert ("token_type_ids" in made("", return_tensors="pt")) == segments


def test_transformers_unknown_type(job: MakeJob) -> None:
    text = refused(job, {"transformers": "lama"})
    assert "has no model type 'lama'" in text
    assert "hint: did you mean" in text
    assert "llama" in text.partition("hint:")[2]


def test_transformers_type_whose_default_config_cannot_be_made(job: MakeJob) -> None:
    text = refused(job, {"transformers": "gemma4_assistant"})
    assert "the default config of gemma4_assistant cannot be made" in text
    assert "hint:" in text


def test_transformers_look_is_light_and_names_the_version(tmp_path: Path) -> None:
    wish = source.Wish(
        slot="source", kind="transformers", data={"transformers": "x"}, base=tmp_path
    )
    versions = {name: importlib.metadata.version(name) for name in ("transformers", "tokenizers")}
    assert source.look(wish, Memo()) == versions


# --- path -----------------------------------------------------------------------------------------


def test_path_takes_what_describes_and_nothing_else(job: MakeJob, upstream: Path) -> None:
    wanted = {
        "config.json": CONFIG,
        "tokenizer.json": b"{}",
        "merges.txt": b"a b\n",
        "spiece.model": b"\x00",
        "source.spm": b"\x01",
        "cl100k.tiktoken": b"YQ== 0\n",
        "chat_template.jinja": b"{{ x }}",
        "dict.vocab": b"a\n",
        "merges.bpe": b"a b\n",
    }
    unwanted = (
        "model.safetensors",
        "pytorch_model.bin",
        "model.pt",
        "model.gguf",
        "modeling_x.py",
        "data.pkl",
        "model.safetensors.index.json",
        "pytorch_model.bin.index.json",
        ".hidden.json",
    )
    for name, content in wanted.items():
        (upstream / name).write_bytes(content)
    for name in unwanted:
        (upstream / name).write_bytes(b"weights")
    (upstream / "sub").mkdir()
    (upstream / "sub" / "config.json").write_bytes(b"{}")
    folder, pin = fetch(job, {"path": "../upstream"})
    assert contents(folder) == wanted
    assert set(pin["files"]) == set(wanted)
    assert pin["files"]["config.json"]["size"] == len(CONFIG)


def test_path_of_one_file(job: MakeJob, upstream: Path) -> None:
    folder, pin = fetch(job, {"path": "../upstream/config.json"})
    assert contents(folder) == {"config.json": CONFIG}
    assert set(pin) == {"wish", "files"}


def test_path_of_a_dataset_takes_data_files_at_any_depth(job: MakeJob, upstream: Path) -> None:
    (upstream / "a" / "b").mkdir(parents=True)
    (upstream / "a" / "b" / "rows.jsonl").write_bytes(b'{"x": 1}\n')
    (upstream / "rows.bin").write_bytes(b"x")
    folder, _ = fetch(job, {"path": "../upstream/a"}, slot="dataset")
    assert contents(folder) == {"b/rows.jsonl": b'{"x": 1}\n'}


def test_path_missing(job: MakeJob, upstream: Path, tmp_path: Path) -> None:
    text = refused(job, {"path": "../upstraem"})
    assert text.startswith("there is no ../upstraem")
    assert "seen from the folder recipes/ of the recipe" in text
    assert str(tmp_path) not in text


def test_path_empty_folder(job: MakeJob, upstream: Path) -> None:
    (upstream / "none").mkdir()
    text = refused(job, {"path": "../upstream/none"})
    assert "the folder ../upstream/none is empty" in text
    assert "hint: of use are *.json" in text


def test_path_pointer_of_git_lfs(job: MakeJob, upstream: Path) -> None:
    (upstream / "lfs").mkdir()
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
    (upstream / "lfs" / "tokenizer.json").write_text(pointer)
    text = refused(job, {"path": "../upstream/lfs"})
    assert "tokenizer.json: is a pointer of Git LFS, not the file itself" in text
    assert "hint: run `git lfs pull` where it lies" in text


def test_path_folder_with_only_weights(job: MakeJob, upstream: Path) -> None:
    (upstream / "w").mkdir()
    (upstream / "w" / "model.safetensors").write_bytes(b"x")
    text = refused(job, {"path": "../upstream/w"})
    assert "the folder ../upstream/w holds no file that is of use" in text


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin", "modeling.py", "x.pkl"])
def test_path_of_one_file_that_is_weights_or_code(job: MakeJob, upstream: Path, name: str) -> None:
    (upstream / name).write_bytes(b"x")
    text = refused(job, {"path": f"../upstream/{name}"})
    assert f"../upstream/{name} is not a config or tokenizer file" in text
    assert "hint: of use are *.json" in text


def test_path_symlink_that_leads_out(job: MakeJob, upstream: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.json").write_text("{}")
    (upstream / "special.json").symlink_to(tmp_path / "secret.json")
    with pytest.raises(
        SourceFault, match=r"'special\.json' leads out of its folder through a link"
    ):
        fetch(job, {"path": "../upstream"})


def test_path_symlink_that_stays_inside(job: MakeJob, upstream: Path) -> None:
    (upstream / "more.json").symlink_to(upstream / "config.json")
    folder, _ = fetch(job, {"path": "../upstream"})
    assert contents(folder)["more.json"] == CONFIG
    assert not (folder / "more.json").is_symlink()


@pytest.mark.parametrize("name", ["a b.json", "ünï-漢字.json", "'quoted\".json", "-rf.json"])
def test_path_odd_file_names(job: MakeJob, upstream: Path, name: str) -> None:
    (upstream / name).write_bytes(b"1")
    folder, pin = fetch(job, {"path": "../upstream"})
    assert contents(folder)[name] == b"1"
    assert name in pin["files"]


def test_path_oversized_file(job: MakeJob, upstream: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (upstream / "huge.json").open("wb") as file:
        file.truncate(pins.LARGEST + 1)  # sparse: takes no room
    text = refused(job, {"path": "../upstream"})
    assert "huge.json of path ../upstream has 100,000,001 bytes; at most 100,000,000" in text


def test_path_look_follows_the_bytes(upstream: Path) -> None:
    wish = source.Wish(
        slot="source", kind="path", data={"path": "../upstream"}, base=upstream.parent / "recipes"
    )
    before = source.look(wish, Memo())
    assert set(before) == {"config.json", "tokenizer.json"}
    (upstream / "config.json").write_bytes(b"[]")
    after = source.look(wish, Memo())
    assert after["config.json"] != before["config.json"]
    assert after["tokenizer.json"] == before["tokenizer.json"]


# --- package --------------------------------------------------------------------------------------


def test_package_takes_a_real_file_and_pins_its_version(job: MakeJob) -> None:
    folder, pin = fetch(job, {"package": "mistral-common", "files": {"tokenizer.model": MODEL}})
    assert pin["version"] == importlib.metadata.version("mistral-common")
    wanted = "9addc8bdce5988448ae81b729336f43a81262160ae8da760674badab9d4c7d33"
    assert pin["files"] == {"tokenizer.model": {"sha256": wanted, "size": 587_591}}
    assert [path.name for path in folder.iterdir()] == ["tokenizer.model"]


def test_package_without_that_file(job: MakeJob) -> None:
    wish = {"package": "mistral-common", "files": {"tokenizer.model": MODEL[:-1] + "9"}}
    text = refused(job, wish)
    assert f"ships no {MODEL[:-1]}9" in text
    assert "hint:" in text


def test_package_that_is_not_installed(job: MakeJob) -> None:
    text = refused(job, {"package": "no-such-package", "files": {"a.json": "b.json"}})
    assert "the package no-such-package is not installed" in text
    assert "hint: pip install" in text
    text = refused(job, {"package": "mistral-comon", "files": {"a.json": "b.json"}})
    assert "hint: did you mean mistral-common? If not, install it" in text


@pytest.mark.parametrize("listed", ["mistral_common/__init__.py", MODEL])
def test_package_file_named_like_code(job: MakeJob, listed: str) -> None:
    text = refused(job, {"package": "mistral-common", "files": {"modeling_x.py": listed}})
    assert "modeling_x.py is not the name of a config or tokenizer file" in text
    assert "hint: of use are *.json" in text


def test_package_of_data(job: MakeJob) -> None:
    version = importlib.metadata.version("mistral-common")
    files = {"rows.csv": f"mistral_common-{version}.dist-info/METADATA"}
    folder, _ = fetch(job, {"package": "mistral-common", "files": files}, slot="dataset")
    assert list(contents(folder)) == ["rows.csv"]
    text = refused(job, {"package": "mistral-common", "files": {"x.py": MODEL}}, slot="dataset")
    assert "x.py is not the name of a data file" in text


def test_package_file_that_was_altered_after_install(
    job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source.package, "sha256", lambda path: "0" * 64)
    text = refused(job, {"package": "mistral-common", "files": {"tokenizer.model": MODEL}})
    assert "is not the file that mistral-common" in text
    assert "hint: pip install --force-reinstall" in text


def test_package_look_sees_version_and_bytes(tmp_path: Path) -> None:
    data = {"package": "mistral-common", "files": {"tokenizer.model": MODEL}}
    wish = source.Wish(slot="source", kind="package", data=data, base=tmp_path)
    seen = source.look(wish, Memo())
    assert seen["version"] == importlib.metadata.version("mistral-common")
    assert seen["files"]["tokenizer.model"].startswith("9addc8bdce59")
    gone = source.Wish(slot="source", kind="package", data={"package": "nope-x"}, base=tmp_path)
    assert source.look(gone, Memo()) is None


# --- recipe ---------------------------------------------------------------------------------------


def test_recipe_takes_config_and_tokenizer_but_no_weights(job: MakeJob, tmp_path: Path) -> None:
    model, tokenizer = tmp_path / "m", tmp_path / "t"
    for folder, names in (
        (model, ("config.json", "model.safetensors", "receipt.json", "provenance.json")),
        (tokenizer, ("tokenizer.json", "receipt.json", "provenance.json")),
    ):
        folder.mkdir()
        for name in names:
            (folder / name).write_text(name)
    inputs = {"source.model": model, "source.tokenizer": tokenizer}
    folder, pin = fetch(job, {"recipe": "llama"}, **inputs)
    assert set(contents(folder)) == {"config.json", "tokenizer.json"}
    assert pin["wish"] == {"recipe": "llama"}


def test_recipe_that_makes_neither(job: MakeJob) -> None:
    text = refused(job, {"recipe": "rows"})
    assert "the recipe rows makes neither a model nor a tokenizer" in text


# --- locks ----------------------------------------------------------------------------------------


def test_lock_that_holds(job: MakeJob) -> None:
    wish = {"package": "mistral-common", "files": {"tokenizer.model": MODEL}}
    _, pin = fetch(job, wish)
    _, again = fetch(job, wish, locks={"source": json.loads(json.dumps(pin))})
    assert again == pin


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"tokenizer.model": {"sha256": "0" * 64, "size": 587_591}}, "is not the locked one"),
        ({}, "but not in the lock"),
        ({"gone.json": {"sha256": "0" * 64, "size": 1}}, "gone.json is in the lock but not in"),
    ],
)
def test_lock_that_does_not_hold(job: MakeJob, files: dict[str, Any], words: str) -> None:
    wish = {"package": "mistral-common", "files": {"tokenizer.model": MODEL}}
    _, pin = fetch(job, wish)
    text = refused(job, wish, locks={"source": {**pin, "files": files}})
    assert words in text
    assert "hint: tinybuild update x accepts what is there now" in text


# --- hub ------------------------------------------------------------------------------------------


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with connected(tmp_path, monkeypatch, TOKEN) as server:
        yield server


FILES = {
    "config.json": CONFIG,
    "tokenizer.json": b'{"version": "1.0"}',
    "tokenizer_config.json": b"{}",
    "additional_chat_templates/tool.jinja": b"{{ tools }}",
    "README.md": b"# x",
    "model.safetensors": b"W" * 1000,
    "pytorch_model.bin": b"W" * 1000,
    "model.safetensors.index.json": b"{}",
    "modeling_x.py": b"raise SystemExit",
    "onnx/config.json": b"{}",
}


def test_hub_fetches_what_describes_and_never_weights_or_code(job: MakeJob, hub: Hub) -> None:
    sha = hub.repo("owner/name").commit(FILES)
    folder, pin = fetch(job, {"hub": "owner/name"})
    wanted = {
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "additional_chat_templates/tool.jinja",
    }
    assert contents(folder) == {name: FILES[name] for name in wanted}
    assert pin["commit"] == sha
    assert set(pin["files"]) == wanted
    for suffix in (".safetensors", ".bin", ".py", ".index.json", ".md", "onnx"):
        assert hub.asked(suffix) == []
    assert {line.rpartition("/resolve/")[2] for line in hub.asked("/resolve/")} == {
        f"{sha}/{name}" for name in wanted
    }


def test_hub_takes_a_revision(job: MakeJob, hub: Hub) -> None:
    repo = hub.repo("owner/name")
    first = repo.commit({"config.json": CONFIG}, ref="v1")
    repo.commit({"config.json": b"{}"})
    folder, pin = fetch(job, {"hub": "owner/name", "revision": "v1"})
    assert pin["commit"] == first
    assert (folder / "config.json").read_bytes() == CONFIG


def test_hub_lock_pins_the_commit_after_main_moved(
    job: MakeJob, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    repo = hub.repo("owner/name")
    first = repo.commit(FILES)
    _, pin = fetch(job, {"hub": "owner/name"})
    repo.commit({**FILES, "config.json": b'{"model_type": "gpt2"}', "added.json": b"{}"})
    hub.log.clear()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "another-cache"))
    folder, again = fetch(job, {"hub": "owner/name"}, locks={"source": pin})
    assert again == pin
    assert again["commit"] == first
    assert (folder / "config.json").read_bytes() == CONFIG
    assert hub.asked("/resolve/")
    assert all(first in line for line in hub.log)  # main is not even asked about
    _, fresh = fetch(job, {"hub": "owner/name"})
    assert fresh["commit"] != first


def test_hub_locked_and_cached_works_without_network(job: MakeJob, hub: Hub) -> None:
    hub.repo("owner/name").commit(FILES)
    folder, pin = fetch(job, {"hub": "owner/name"})
    hub.log.clear()
    hub.broken = True
    again, same = fetch(job, {"hub": "owner/name"}, locks={"source": pin})
    assert same == pin
    assert contents(again) == contents(folder)
    assert hub.log == []


def test_hub_changed_bytes_under_a_locked_commit(
    job: MakeJob, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    repo = hub.repo("owner/name")
    sha = repo.commit(FILES)
    _, pin = fetch(job, {"hub": "owner/name"})
    repo.commits[sha]["config.json"] = b'{"model_type": "evil"}'
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "another-cache"))
    text = refused(job, {"hub": "owner/name"}, locks={"source": pin})
    assert "config.json of hub owner/name is not the locked one" in text


def test_hub_locked_file_of_another_size_is_not_fetched(job: MakeJob, hub: Hub) -> None:
    """A lock says how large a file is; weights under another name would be fetched otherwise."""
    sha = hub.repo("owner/name").commit({"config.json": CONFIG, "model.json": b"W" * 1000})
    entry = {"sha256": hashlib.sha256(b"W" * 1000).hexdigest(), "size": 3}
    wish = {"hub": "owner/name"}
    pin = {"wish": wish, "commit": sha, "files": {"model.json": entry}}
    text = refused(job, wish, locks={"source": pin})
    assert "model.json of hub owner/name is not the locked one (1,000 bytes, locked 3)" in text
    assert "hint: tinybuild update x accepts what is there now" in text
    assert hub.asked("/resolve/") == []


def test_hub_file_gone_from_a_locked_commit(
    job: MakeJob, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    repo = hub.repo("owner/name")
    sha = repo.commit(FILES)
    _, pin = fetch(job, {"hub": "owner/name"})
    del repo.commits[sha]["tokenizer.json"]
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "another-cache"))
    text = refused(job, {"hub": "owner/name"}, locks={"source": pin})
    assert "tokenizer.json" in text
    assert "hint: tinybuild update x accepts what is there now" in text


def test_hub_refusals(job: MakeJob, hub: Hub) -> None:
    repo = hub.repo("owner/name")
    repo.commit({"model.safetensors": b"W"})
    hub.repo("owner/gated").gated = True
    texts = {
        "missing": refused(job, {"hub": "owner/missing"}),
        "revision": refused(job, {"hub": "owner/name", "revision": "v9"}),
        "gated": refused(job, {"hub": "owner/gated"}),
        "weights": refused(job, {"hub": "owner/name"}),
    }
    assert "the Hub has no model owner/missing" in texts["missing"]
    assert "owner/name has no revision v9" in texts["revision"]
    assert "owner/gated is gated" in texts["gated"]
    assert "accept its terms" in texts["gated"]
    assert "owner/name at main holds no config or tokenizer file" in texts["weights"]
    hub.broken = True
    broken = refused(job, {"hub": "owner/name"})
    assert "the Hub cannot be reached for owner/name" in broken
    assert "500" in broken
    assert hub.asked("/resolve/") == []


def test_hub_that_is_not_there(job: MakeJob, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # the discard port: refused
    text = refused(job, {"hub": "owner/name"})
    assert "the Hub cannot be reached for owner/name" in text
    assert "HF_ENDPOINT" in text


def test_hub_oversized_file_is_not_fetched(
    job: MakeJob, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pins, "LARGEST", 10)
    hub.repo("owner/name").commit({"config.json": CONFIG})
    text = refused(job, {"hub": "owner/name"})
    assert "config.json of hub owner/name has 23 bytes; at most 10 are fetched" in text
    assert hub.asked("/resolve/") == []


def test_hub_name_that_leads_out(job: MakeJob, hub: Hub, tmp_path: Path) -> None:
    hub.repo("owner/name").commit({"config.json": CONFIG, "../../evil.jinja": b"x"})
    with pytest.raises((SourceFault, ValueError)):
        fetch(job, {"hub": "owner/name"})
    assert not list(tmp_path.glob("out-*/**/evil.jinja"))
    assert not list(tmp_path.glob("evil.jinja"))


def test_hub_token_is_sent_and_appears_nowhere(job: MakeJob, hub: Hub, tmp_path: Path) -> None:
    hub.repo("owner/name").commit(FILES)
    hub.repo("owner/gated").gated = True
    _, pin = fetch(job, {"hub": "owner/name"})
    said = [
        refused(job, {"hub": "owner/gated"}),
        refused(job, {"hub": "owner/missing"}),
        refused(job, {"hub": "owner/name", "revision": "v9"}),
    ]
    hub.broken = True
    said.append(refused(job, {"hub": "owner/name"}))
    assert f"Bearer {TOKEN}" in hub.tokens  # the client did have it
    assert not any(TOKEN in text for text in said)
    assert TOKEN not in json.dumps(pin)
    written = contents(tmp_path)
    assert written
    assert not any(TOKEN.encode() in data for data in written.values())


def test_hub_look_asks_nothing(hub: Hub, tmp_path: Path) -> None:
    wish = source.Wish(slot="source", kind="hub", data={"hub": "owner/name"}, base=tmp_path)
    assert source.look(wish, Memo()) is None
    assert hub.log == []


# --- wishes ---------------------------------------------------------------------------------------


def test_wishes_in_their_order(tmp_path: Path) -> None:
    data = {
        "dataset": {"samples": 1, "source": {"path": "rows.jsonl"}},
        "tokenizer": {"method": "keep", "source": {"hub": "a/b"}},
        "source": {"transformers": "llama"},
    }
    found = source.wishes(data, tmp_path)
    assert [(wish.slot, wish.kind) for wish in found] == [
        ("source", "transformers"),
        ("tokenizer", "hub"),
        ("dataset", "path"),
    ]
    assert source.wishes({"model": {}}, tmp_path) == ()
