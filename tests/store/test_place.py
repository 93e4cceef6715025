"""Where the store is: what the environment says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tinybuild.errors import Fault
from tinybuild.store.place import Place, place

HOME = Path("~/.cache/tinybuild/store").expanduser()


@pytest.mark.parametrize(
    ("environment", "where"),
    [
        ({}, Place(folder=HOME)),
        ({"XDG_CACHE_HOME": "/cache"}, Place(folder=Path("/cache/tinybuild/store"))),
        ({"XDG_CACHE_HOME": "cache"}, Place(folder=HOME)),  # the specification: ignore it
        ({"TINYBUILD_STORE": "kept"}, Place(folder=Path("/zoo/kept"))),
        ({"TINYBUILD_STORE": "/mnt/kept"}, Place(folder=Path("/mnt/kept"))),
        ({"TINYBUILD_STORE": "s3://b/k"}, Place(folder=HOME, far="s3://b/k")),
        (
            {"TINYBUILD_STORE": "s3://b/k", "TINYBUILD_STORE_MODE": "read"},
            Place(folder=HOME, far="s3://b/k", writes=False),
        ),
        ({"TINYBUILD_STORE": "off"}, None),
        ({"TINYBUILD_STORE": "0"}, None),
    ],
)
def test_where_it_is(environment: dict[str, str], where: Place | None) -> None:
    assert place(environment, Path("/zoo")) == where


def test_what_was_signed_off(tmp_path: Path) -> None:
    one, two = "1" * 64, "2" * 64
    (tmp_path / "sums").write_text(f"# of May\n{one}  {two}  model:x\n\n")
    found = place({"TINYBUILD_STORE_SUMS": "sums"}, tmp_path)
    assert found is not None
    assert found.signed == {two: one}
    (tmp_path / "sums").write_text(f"{one}  {two}\n{one}\n")
    with pytest.raises(Fault, match="sums:2: the line does not begin with two sha256"):
        place({"TINYBUILD_STORE_SUMS": "sums"}, tmp_path)
