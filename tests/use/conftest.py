"""One small zoo for the tests of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from kit.zoo import LIGHT, doit, make

LOGGED = "from tinybuild.tasks import *\nopen('log', 'a').write('built\\n')\n"


@pytest.fixture(scope="session")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two datasets, and a dodo.py that writes a line to `log` each time that somebody builds."""
    more = LIGHT.replace("5", "9")
    root = make(tmp_path_factory.mktemp("use") / "zoo", rows=LIGHT, more=more)
    (root / "dodo.py").write_text(LOGGED)
    return root


@pytest.fixture(scope="session")
def dist(zoo: Path) -> Path:
    """The bundles of the zoo, built."""
    assert doit(zoo, "rows", "more").code == 0
    return zoo / "dist"
