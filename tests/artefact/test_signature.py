"""Bundles are signed in the format of OpenSSF Model Signing, and verified by the signer's key."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from kit.zoo import LIGHT, doit, edit, make

from tinybuild.artefact import signature, verify
from tinybuild.errors import BuildFault

pytest.importorskip("model_signing")


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A private key and its public one, as PEM."""
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric import ec

    folder, key = tmp_path_factory.mktemp("keys"), ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(
        form.Encoding.PEM, form.PrivateFormat.TraditionalOpenSSL, form.NoEncryption()
    )
    public = key.public_key().public_bytes(
        form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo
    )
    (folder / "key.pem").write_bytes(private)
    (folder / "key.pub").write_bytes(public)
    return folder / "key.pem", folder / "key.pub"


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory, keys: tuple[Path, Path]) -> Path:
    """A zoo with one bundle, which is signed."""
    root = make(tmp_path_factory.mktemp("zoo") / "zoo", a=LIGHT)
    assert doit(root).code == 0
    done = doit(root, "sign", "a", "--key", str(keys[0]))
    assert (done.code, done.out) == (0, "signed dist/a/model.sig\n"), done.err
    return root


@pytest.fixture
def signed(zoo: Path, tmp_path: Path) -> Path:
    """The signed bundle under another name, as a download has it."""
    return shutil.copytree(zoo / "dist/a", tmp_path / "a-download")


def test_a_signature_holds_here_and_elsewhere(
    zoo: Path, signed: Path, keys: tuple[Path, Path]
) -> None:
    done = doit(zoo, "verify", "a", "--public-key", str(keys[1]))
    assert done.code == 0, done.out
    assert f"its signature is that of {keys[1]}" in done.out
    assert "--public-key FILE verifies the signature" in doit(zoo, "verify", "a").out
    (signed / ".gitattributes").write_text("* -text")  # the Hub's own
    (signed / ".cache/huggingface").mkdir(parents=True)
    (signed / ".cache/huggingface/x").write_text("the client's own")
    assert verify.verify(signed, keys[1]).problems == ()
    shutil.rmtree(signed / ".cache")
    command = [str(Path(sys.executable).with_name("model_signing")), "verify", "key", str(signed)]
    options = ["--signature", str(signed / "model.sig"), "--public_key", str(keys[1])]
    other = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    assert "Verification succeeded" in other.stdout, other.stderr


def forge(folder: Path, change: Callable[[dict[str, object]], object]) -> None:
    """Change what a signature says, without the key."""
    told = json.loads((folder / "model.sig").read_text())
    payload = json.loads(base64.b64decode(told["dsseEnvelope"]["payload"]))
    change(payload)
    told["dsseEnvelope"]["payload"] = base64.b64encode(json.dumps(payload).encode()).decode()
    (folder / "model.sig").write_text(json.dumps(told))


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda root: (root / "model.sig").unlink(), "model.sig is missing: the bundle is not"),
        (lambda root: (root / "model.sig").write_text("{}"), "model.sig does not hold: "),
        (lambda root: (root / "model.sig").write_text(""), "model.sig does not hold: "),
        (
            lambda root: (root / "new").write_text("x"),
            "model.sig does not hold: Signature mismatch",
        ),
        (
            lambda root: forge(root, lambda payload: payload.update(x=1)),
            "model.sig does not hold: ",
        ),
    ],
)
def test_a_signature_that_does_not_hold(
    signed: Path, keys: tuple[Path, Path], harm: Callable[[Path], object], said: str
) -> None:
    harm(signed)
    problems = [str(problem) for problem in verify.verify(signed, keys[1]).problems]
    assert any(problem.startswith(said) for problem in problems), problems


def test_another_key(signed: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric import ec

    other = ec.generate_private_key(ec.SECP256R1()).public_key()
    (tmp_path / "other.pub").write_bytes(
        other.public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    )
    (problem,) = verify.verify(signed, tmp_path / "other.pub").problems
    assert str(problem).startswith("model.sig does not hold: ")


def test_what_is_no_key(signed: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "no.pem").write_text("no key")
    for path, said in ((tmp_path / "no.pem", "no.pem is not a "), (tmp_path / "x", "No such file")):
        with pytest.raises(BuildFault, match=said):
            verify.verify(signed, path)
        with pytest.raises(BuildFault, match=said):
            signature.sign(signed, path, "dist/a")
    with pytest.raises(BuildFault, match="is not a public key"):
        verify.verify(signed, keys[0])
    assert not list(signed.parent.glob(".*.sig"))


def test_a_bundle_built_anew_has_no_signature(zoo: Path, keys: tuple[Path, Path]) -> None:
    root = shutil.copytree(zoo, zoo.with_name("again"))
    assert doit(root).code == 0
    assert (root / "dist/a/model.sig").is_file()
    edit(root, "a", "{samples: 5}", "{samples: 4}")
    assert doit(root).code == 0
    assert not (root / "dist/a/model.sig").exists()
    (root / "dist/a/README.md").write_text("another card")
    done = doit(root, "sign", "--key", str(keys[0]))
    assert done.code == 1
    assert "README.md has other bytes" in done.err
    assert "--key FILE" in doit(root, "sign", "a").err


def test_without_the_library(signed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "model_signing", None)
    with pytest.raises(BuildFault, match=r"\[sign\]"):
        verify.verify(signed, signed)
