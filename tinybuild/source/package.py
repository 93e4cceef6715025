"""Files shipped inside an installed distribution."""

from __future__ import annotations

import base64
import functools
import importlib.metadata
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tinybuild.errors import SourceFault, did_you_mean, nearest
from tinybuild.files import Memo, sha256
from tinybuild.source.pins import Pin, Wish, fault, of_use, slot_key, useful, wanted


def look(wish: Wish, memo: Memo) -> Any:
    try:
        distribution = importlib.metadata.distribution(wish.data["package"])
    except importlib.metadata.PackageNotFoundError:
        return None
    return {
        "version": distribution.version,
        "files": {
            name: memo.sha256(str(distribution.locate_file(path)))
            for name, path in sorted(wish.data["files"].items())
        },
    }


def resolve(wish: Wish, lock: Mapping[str, Any] | None, out: Path) -> Pin:
    name = wish.data["package"]
    try:
        distribution = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        raise fault(
            wish, f"the package {name} is not installed", f"pip install -c constraints.txt {name}"
        ) from None
    record = {str(entry): entry for entry in distribution.files or ()}
    suffixes, use = useful(wish)
    files: dict[str, Callable[[], Path]] = {}
    for target, listed in sorted(wish.data["files"].items()):
        entry = record.get(listed)
        if entry is None or entry.hash is None:
            known = [k for k in record if not k.endswith((".py", ".pyc"))]
            raise SourceFault.of(
                f"{name} {distribution.version} ships no {listed}",
                key=(*slot_key(wish), "files", target),
                hint=did_you_mean(listed, known) if nearest(listed, known) else "see its RECORD",
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
    return Pin(facts={"version": distribution.version}, files=files)
