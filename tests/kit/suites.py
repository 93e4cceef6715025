"""A suite of somebody's tests, and the real pytest run in it."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from kit import warm
from kit.zoo import environment


@dataclass(frozen=True, kw_only=True)
class Ran:
    code: int
    out: str

    @property
    def outcomes(self) -> dict[str, str]:
        """test -> PASSED, FAILED or ERROR."""
        found = re.findall(r"^([A-Z]+) \S+?::(\S+)", self.out, flags=re.MULTILINE)
        return {test: outcome for outcome, test in found}


def suite(folder: Path, text: str, **others: str) -> Path:
    """A folder with test_it.py, and NAME.py for each of the others."""
    folder.mkdir(exist_ok=True)
    (folder / "pytest.ini").touch()
    for name, content in {"test_it": text, **others}.items():
        (folder / f"{name}.py").write_text(content)
    return folder


def pytest_in(folder: Path, *arguments: str, **env: str) -> Ran:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-rA", "-p", "no:cacheprovider", *arguments],
        cwd=folder,
        env=warm.joined(environment(**env)),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return Ran(code=done.returncode, out=done.stdout + done.stderr)
