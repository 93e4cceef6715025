"""What the kit promises to the tests that use it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from kit import warm, zoo

# Whom a light worker of a process like doit was forked from.
ASK = """
from tinybuild.workers import Pool
pool = Pool()
print(pool.call("builtins:eval", "__import__('os').getppid()"))
pool.stop()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux alone")
@pytest.mark.parametrize(("more", "shared"), [({}, True), ({"HF_HOME": "/nowhere"}, False)])
def test_workers_share_what_was_imported_in_their_environment(
    more: dict[str, str], shared: bool, tmp_path: Path
) -> None:
    result = zoo.run(tmp_path, [sys.executable, "-c", ASK], **more)
    assert result.code == 0, result.err
    kept = {process.pid for process in warm.kept().processes}
    assert (int(result.out) in kept) is shared
