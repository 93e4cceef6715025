"""A bundle's signature, in the format of OpenSSF Model Signing (OMS): model.sig in its folder.

Signing is the user's wish and no stage: a signature differs each time, so it is neither in
SHA256SUMS nor in the archive, and a bundle that is built anew has none. Other programs that read
OMS verify it, too (https://github.com/ossf/model-signing-spec).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType

from tinybuild import bundle
from tinybuild.errors import BuildFault, first_line, install

MAKE = "openssl ecparam -name prime256v1 -genkey -noout -out key.pem makes one"
SHOW = "openssl ec -in key.pem -pubout -out key.pub makes that of a private key"


def sign(folder: Path, key: Path, shown: str) -> Path:
    """Sign all files of a bundle with an elliptic private key (PEM, as `openssl ecparam` makes it).
    Raises BuildFault where the key is none, or the library is not there."""
    library = _library(shown)
    _key(key, shown, private=True)
    path = folder / bundle.SIGNATURE
    aside = folder.with_name(f".{folder.name}.sig")
    path.unlink(missing_ok=True)
    try:
        library.signing.Config().use_elliptic_key_signer(private_key=key).sign(folder, aside)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    return path


def verify(folder: Path, key: Path, shown: str, abroad: tuple[str, ...]) -> str:
    """What is wrong with a bundle's signature, by the public key (PEM) of the signer; "" where it
    holds. abroad: files and folders that are not the bundle's. Raises BuildFault."""
    library = _library(shown)
    _key(key, shown, private=False)
    path = folder / bundle.SIGNATURE
    if not path.is_file():
        return "is missing: the bundle is not signed"
    checker = library.verifying.Config().use_elliptic_key_verifier(public_key=key)
    files = library.hashing.Config().set_ignored_paths(paths=(bundle.SIGNATURE, *abroad))
    return _wrong(lambda: checker.set_hashing_config(files).verify(folder, path))


def _wrong(check: Callable[[], None]) -> str:
    """What a check of the library says; it raises any of many classes for data that is damaged."""
    try:
        check()
    except Exception as error:  # noqa: BLE001 - what it raises for damaged data is its own
        return f"does not hold: {_line(error)}"
    return ""


def covered(folder: Path) -> Mapping[str, str]:
    """{file: sha256} that a bundle's signature speaks of; {} where it is damaged. It is not
    verified: that needs the signer's key."""
    try:
        told = json.loads((folder / bundle.SIGNATURE).read_bytes())
        payload = json.loads(base64.b64decode(told["dsseEnvelope"]["payload"]))
        resources = payload["predicate"]["resources"]
        return {str(one["name"]): str(one["digest"]) for one in resources}
    except (ValueError, KeyError, TypeError, RecursionError):  # binascii.Error is a ValueError
        return {}


def _library(shown: str) -> ModuleType:
    try:
        import model_signing
    except ImportError:
        what = "signatures need the package model-signing, which is not installed"
        raise BuildFault.of(what, where=shown, hint=install("model-signing")) from None
    found: ModuleType = model_signing
    return found


def _key(path: Path, shown: str, *, private: bool) -> None:
    """Raises BuildFault where a file does not hold such an elliptic key."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    what, hint = ("a private", MAKE) if private else ("a public", SHOW)
    try:
        data = path.read_bytes()
        key: object = (
            serialization.load_pem_private_key(data, password=None)
            if private
            else serialization.load_pem_public_key(data)
        )
    except OSError as error:
        raise BuildFault.of(f"{path}: {error.strerror}", where=shown, hint=hint) from None
    except (ValueError, TypeError) as error:  # TypeError: it wants a password
        why = f"{path.name} is not {what} key: {_line(error)}"
        raise BuildFault.of(why, where=shown, hint=hint) from None
    if not isinstance(key, ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey):
        raise BuildFault.of(f"{path.name} is not an elliptic key", where=shown, hint=hint)


def _line(error: Exception) -> str:
    return first_line(error) or type(error).__name__
