"""Files shipped inside an installed distribution."""

from __future__ import annotations

import base64
import functools
import importlib.metadata
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from tinybuild.errors import SourceFault, did_you_mean, install, nearest
from tinybuild.files import Memo, sha256
from tinybuild.paths import Data, Json, mapping
from tinybuild.source.kinds import Kind, Request, Resolved
from tinybuild.source.pins import Wish, fault, of_use, slot_key, useful, wanted

FEW = 12  # files that a hint lists


def _files(wish: Wish) -> list[tuple[str, str]]:
    """(name here, path in the package), sorted."""
    return sorted((name, str(path)) for name, path in mapping(wish.data["files"]).items())


def look(wish: Wish, memo: Memo) -> Json:
    for folder in sys.path:  # another distribution of the name would be an entry there
        memo.see(folder or ".")
    try:
        distribution = importlib.metadata.distribution(wish.text())
    except importlib.metadata.PackageNotFoundError:
        return None
    return {
        "version": distribution.version,
        "files": {
            name: memo.sha256(str(distribution.locate_file(path))) for name, path in _files(wish)
        },
    }


def resolve(request: Request) -> Resolved:
    wish = request.wish
    name = wish.text()
    try:
        distribution = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        installed = (str(other.name or "") for other in importlib.metadata.distributions())
        there = {other.replace("_", "-") for other in installed}
        near = did_you_mean(name, there) if nearest(name, there) else ""
        hint = f"{near} If not, install it" if near else install(name)
        raise fault(wish, f"the package {name} is not installed", hint) from None
    record = {str(entry): entry for entry in distribution.files or ()}
    suffixes, use = useful(wish)
    files: dict[str, Callable[[], Path]] = {}
    for target, listed in _files(wish):
        entry = record.get(listed)
        if entry is None or entry.hash is None:
            known = [k for k in record if wanted(k, suffixes) and ".dist-info/" not in k]
            few = nearest(listed, known) or known[:FEW]
            more = f", and {len(known) - FEW} more" if len(few) == FEW < len(known) else ""
            raise SourceFault.of(
                f"{name} {distribution.version} ships no {listed}",
                key=(*slot_key(wish), "files", target),
                hint=f"{did_you_mean(listed, few) or 'it ships no file that is of use'}{more}",
            )
        if not wanted(target, suffixes):
            raise SourceFault.of(
                f"{target} is not the name of a {use} file",
                key=(*slot_key(wish), "files", target),
                hint=of_use(suffixes),
            )
        path = Path(str(distribution.locate_file(entry)))
        listed_sha = base64.urlsafe_b64decode(entry.hash.value + "=").hex()
        if not path.is_file() or sha256(path) != listed_sha:
            raise SourceFault.of(
                f"{listed} is not the file that {name} {distribution.version} was installed with",
                key=(*slot_key(wish), "files", target),
                hint=f"pip install --force-reinstall --no-deps {name}=={distribution.version}",
            )
        files[target] = functools.partial(Path, path)
    return Resolved(facts={"version": distribution.version}, files=files)


def _made_from(wish: Data, facts: Mapping[str, str]) -> str:
    files = ", ".join(f"`{path}`" for path in mapping(wish["files"]).values())
    return f"{files} of the package {wish['package']} {facts['version']}"


def _license(wish: Data) -> str:
    """What the package's metadata says by an SPDX expression that is one licence."""
    try:
        said = importlib.metadata.metadata(str(wish["package"])).get_all("License-Expression")
    except importlib.metadata.PackageNotFoundError:
        return ""
    (text,) = said or [""]
    return "" if " " in text else text.lower()


KIND = Kind(
    look=look,
    resolve=resolve,
    made_from=_made_from,
    rows_of=lambda wish: f"package `{wish['package']}`",
    facts=("version",),
    locked=True,
    here=True,
    license=_license,
)
