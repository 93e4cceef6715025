"""Archives are streamed, bounded and safe; what is broken or unsafe is named."""

from __future__ import annotations

import gzip
import io
import lzma
import random
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kit import faults
from kit.archives import PACK, Files, tar, tar_of, zipped

from tinybuild.dataset.archives import Meter, check_zip, inner_name, is_archive, leaves, members
from tinybuild.errors import BuildFault


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


def unpacked(path: Path, scratch: Path, most: int = 10**6) -> list[tuple[str, bytes]]:
    found = leaves(path, path.name, meter=Meter(most=most), scratch=scratch)
    return [(name, stream.read()) for name, stream in found]


def refused(path: Path, data: bytes, scratch: Path, most: int = 10**6) -> str:
    path.write_bytes(data)
    refusal = faults.refused(unpacked, path, scratch, most)
    assert refusal.key[:2] == ("dataset", "source")
    assert str(path.parent) not in refusal.text
    return refusal.text


FILES = [("a/1.txt", b"one"), ("a/2.txt", b"two"), ("b.txt", b"")]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("x.tar", tar(FILES)),
        ("x.zip", zipped(FILES)),
        ("x.tgz", gzip.compress(tar(FILES))),
        *((f"x.tar{suffix}", pack(tar(FILES))) for suffix, pack in PACK.items()),
    ],
)
def test_every_kind_gives_its_files_in_order(
    name: str, data: bytes, tmp_path: Path, scratch: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    assert unpacked(path, scratch) == [(f"{name}!{file}", content) for file, content in FILES]
    assert is_archive(name)
    if not name.endswith(".zip"):
        found = members(path, name, meter=Meter(most=10**6))
        assert [(file, stream.read()) for file, stream in found] == FILES


@pytest.mark.parametrize(("name", "pack"), [("x.tar", tar), ("x.zip", zipped)])
def test_a_pointer_of_git_lfs_in_an_archive(
    name: str, pack: Callable[[Files], bytes], tmp_path: Path, scratch: Path
) -> None:
    begun = b"version https://git-lfs.github.com/spec/v1\n"
    pointer = begun + b"oid sha256:0\nsize 9\n"
    text = refused(tmp_path / name, pack([*FILES, ("c.png", pointer)]), scratch)
    assert f"{name}!c.png is a pointer of Git LFS, not the file itself" in text
    assert "git lfs pull" in text
    long = [("about.txt", begun + b"is how a pointer begins. " * 99)]
    (tmp_path / name).write_bytes(pack(long))
    assert unpacked(tmp_path / name, scratch) == [(f"{name}!about.txt", long[0][1])]


@pytest.mark.parametrize("suffix", PACK)
def test_a_compressed_file_is_one_file(suffix: str, tmp_path: Path, scratch: Path) -> None:
    path = tmp_path / f"x.txt{suffix}"
    path.write_bytes(PACK[suffix](b"some text"))
    assert unpacked(path, scratch) == [(path.name, b"some text")]
    assert inner_name(path.name) == "x.txt"
    assert not is_archive(path.name)


def test_a_sparse_file_is_refused(tmp_path: Path, scratch: Path) -> None:
    """512 bytes of it in the archive may be a terabyte outside."""
    info = tarfile.TarInfo("x.txt")
    info.pax_headers = {"GNU.sparse.map": "0,0", "GNU.sparse.size": "99999"}
    assert "x.txt is a sparse file" in refused(tmp_path / "x.tar", tar_of(info), scratch)


def test_several_streams_one_after_another_are_one_file(tmp_path: Path, scratch: Path) -> None:
    for suffix in (".gz", ".bz2", ".xz"):
        path = tmp_path / f"x.txt{suffix}"
        path.write_bytes(PACK[suffix](b"one ") + PACK[suffix](b"two"))
        assert unpacked(path, scratch) == [(path.name, b"one two")]


def test_openwebtext_is_a_tar_of_xz_of_tars(tmp_path: Path, scratch: Path) -> None:
    inner = [
        (f"openwebtext/{k}_data.xz", lzma.compress(tar([(f"{k}-{i}.txt", b"t") for i in (1, 2)])))
        for k in (1, 2)
    ]
    path = tmp_path / "openwebtext.tar.xz"
    path.write_bytes(lzma.compress(tar(inner)))
    assert [name for name, _ in unpacked(path, scratch)] == [
        f"openwebtext.tar.xz!openwebtext/{k}_data.xz!{k}-{i}.txt" for k in (1, 2) for i in (1, 2)
    ]


def test_a_zip_in_a_tar_and_a_tar_in_a_zip(tmp_path: Path, scratch: Path) -> None:
    path = tmp_path / "x.tar.gz"
    path.write_bytes(gzip.compress(tar([("in.zip", zipped([("in.tar", tar(FILES))]))])))
    assert unpacked(path, scratch) == [
        (f"x.tar.gz!in.zip!in.tar!{file}", content) for file, content in FILES
    ]
    assert not list(scratch.iterdir())


def test_a_name_may_stand_twice(tmp_path: Path, scratch: Path) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(tar([("a.txt", b"1"), ("./a.txt", b"2")]))
    assert [content for _, content in unpacked(path, scratch)] == [b"1", b"2"]


@settings(deadline=None, max_examples=30, suppress_health_check=list(HealthCheck))
@given(
    contents=st.lists(st.binary(max_size=3000), min_size=1, max_size=4),
    layers=st.lists(st.sampled_from([*PACK, ".tar", ".zip"]), max_size=3),
)
def test_what_is_packed_comes_back(
    contents: list[bytes], layers: list[str], tmp_path: Path, scratch: Path
) -> None:
    files = [(f"{i}.bin", content) for i, content in enumerate(contents)]
    name, data = "x.tar", tar(files)
    for layer in layers:
        if layer in PACK:
            data, name = PACK[layer](data), name + layer
        else:
            data = tar([(name, data)]) if layer == ".tar" else zipped([(name, data)])
            name = f"y{layer}"
    path = tmp_path / name
    path.write_bytes(data)
    if sum(layer in PACK for layer in layers) + len(layers) < 4:
        assert [content for _, content in unpacked(path, scratch)] == contents


def test_it_reads_only_as_far_as_it_must(tmp_path: Path, scratch: Path) -> None:
    path = tmp_path / "x.tar"
    whole = tar([(f"{i}.txt", b"x" * 10_000) for i in range(100)])
    path.write_bytes(whole[:500_000] + b"\xff" * 500_000)
    found = leaves(path, "x.tar", meter=Meter(most=10**6), scratch=scratch)
    assert [next(found)[0] for _ in range(3)] == ["x.tar!0.txt", "x.tar!1.txt", "x.tar!2.txt"]


# --- refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["../a.txt", "/etc/a.txt", "a/../../b.txt", "C:/a", "a\\..\\b"])
@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_names_that_lead_out(name: str, kind: str, tmp_path: Path, scratch: Path) -> None:
    data = tar([("ok.txt", b""), (name, b"x")])
    if kind == "zip":
        data = zipped([("ok.txt", b""), (name, b"x")])
    message = refused(tmp_path / f"x.{kind}", data, scratch)
    assert f"x.{kind}!{name!r} has a name that leads out of the archive" in message


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        (tarfile.SYMTYPE, "is a link"),
        (tarfile.LNKTYPE, "is a link"),
        (tarfile.CHRTYPE, "is a device or a pipe"),
        (tarfile.FIFOTYPE, "is a device or a pipe"),
    ],
)
def test_links_and_devices_in_a_tar(kind: bytes, what: str, tmp_path: Path, scratch: Path) -> None:
    info = tarfile.TarInfo("a.txt")
    info.type, info.linkname = kind, "/etc/passwd"
    message = refused(tmp_path / "x.tar", tar_of(info), scratch)
    assert message.startswith(f"x.tar!a.txt {what}\n  hint: ")


def test_a_link_in_a_zip(tmp_path: Path, scratch: Path) -> None:
    info = zipfile.ZipInfo("a.txt")
    info.create_system, info.external_attr = 3, 0o120777 << 16
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(info, "/etc/passwd")
    path = tmp_path / "x.zip"
    assert refused(path, buffer.getvalue(), scratch).startswith("x.zip!a.txt is a link")
    with pytest.raises(BuildFault, match="is a link"):
        check_zip(path, "x.zip", 100)


def test_an_encrypted_zip(tmp_path: Path, scratch: Path) -> None:
    data = bytearray(zipped([("a.txt", b"x")]))
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    message = refused(tmp_path / "x.zip", bytes(data), scratch)
    assert message.startswith("x.zip!a.txt is encrypted")


@pytest.mark.parametrize("suffix", PACK)
def test_a_bomb(suffix: str, tmp_path: Path, scratch: Path) -> None:
    data = PACK[suffix](bytes(3_000_000))
    message = refused(tmp_path / f"x.txt{suffix}", data, scratch)
    assert f"x.txt{suffix}: more than 1,000,000 bytes are unpacked from it" in message
    assert "dataset.source.max_read" in message


def test_a_bomb_in_a_zip_and_in_a_tar(tmp_path: Path, scratch: Path) -> None:
    message = refused(tmp_path / "x.zip", zipped([("a.txt", bytes(3_000_000))]), scratch)
    assert message.startswith("x.zip!a.txt: more than 1,000,000 bytes")
    many = zipped([(f"{i}.txt", bytes(300_000)) for i in range(9)])
    assert "3.txt: more than 1,000,000 bytes" in refused(tmp_path / "x.zip", many, scratch)
    info = tarfile.TarInfo("a.txt")
    info.size = 10**12
    message = refused(tmp_path / "x.tar", info.tobuf(), scratch)
    assert message.startswith("x.tar!a.txt: more than 1,000,000 bytes")
    with pytest.raises(BuildFault, match=r"x\.zip: more than 1,000,000 bytes"):
        check_zip(tmp_path / "x.zip", "x.zip", 10**6)


def test_a_bomb_of_a_header(tmp_path: Path, scratch: Path) -> None:
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 10**9
    message = refused(tmp_path / "x.tar", info.tobuf(tarfile.GNU_FORMAT), scratch)
    assert message.startswith("x.tar cannot be unpacked: a header of 1,000,000,000 bytes")


def test_xz_may_not_ask_for_gigabytes(tmp_path: Path, scratch: Path) -> None:
    filters = [{"id": lzma.FILTER_LZMA1, "preset": 0, "dict_size": 4096}]
    data = bytearray(lzma.compress(b"x", lzma.FORMAT_ALONE, filters=filters))
    data[1:5] = struct.pack("<I", 1 << 30)
    message = refused(tmp_path / "x.txt.xz", bytes(data), scratch)
    assert message.startswith("x.txt.xz cannot be unpacked: Memory usage limit exceeded")


def test_archives_in_archives_have_a_depth(tmp_path: Path, scratch: Path) -> None:
    data = b"deep"
    for _ in range(4):
        data = gzip.compress(data)
    path = tmp_path / "x.txt.gz.gz.gz.gz"
    path.write_bytes(data)
    assert unpacked(path, scratch) == [(path.name, b"deep")]
    message = refused(tmp_path / f"{path.name}.gz", gzip.compress(data), scratch)
    assert "archives in archives, more than 4 deep" in message


@pytest.mark.parametrize("suffix", PACK)
def test_a_truncated_or_damaged_compressed_file(suffix: str, tmp_path: Path, scratch: Path) -> None:
    data = PACK[suffix](random.Random(0).randbytes(200_000))
    all_broken = [data[:-5], data[:1000], b"no such thing"]
    if suffix != ".zst":  # which has no checksum, as pyarrow writes it
        all_broken.append(data[:1000] + bytes(2000) + data[3000:])
    for broken in all_broken:
        message = refused(tmp_path / f"x.txt{suffix}", broken, scratch)
        assert message.startswith(f"x.txt{suffix} cannot be unpacked: ")
        assert "hint: the file is truncated or damaged" in message


def test_a_truncated_or_damaged_tar(tmp_path: Path, scratch: Path) -> None:
    data = tar([(f"{i}.txt", bytes([65 + i]) * 2000) for i in range(5)])
    path = tmp_path / "x.tar"
    size = 512 + 2048
    for end in (100, 600, size, size + 100, 2 * size, 5 * size):
        assert "cannot be unpacked" in refused(path, data[:end], scratch)
    damaged = data[: 2 * size] + b"\xff" * 512 + data[2 * size + 512 :]
    assert "x.tar cannot be unpacked: " in refused(path, damaged, scratch)
    assert "x.tar cannot be unpacked: " in refused(path, b"", scratch)
    path.write_bytes(data)
    assert len(unpacked(path, scratch)) == 5


def test_a_truncated_or_damaged_zip(tmp_path: Path, scratch: Path) -> None:
    data = zipped([("a.txt", bytes(range(256)) * 10)])
    path = tmp_path / "x.zip"
    for end in (0, 10, len(data) - 10):
        assert "x.zip cannot be unpacked: " in refused(path, data[:end], scratch)
    damaged = bytearray(data)
    damaged[60] ^= 0xFF
    assert "x.zip!a.txt cannot be unpacked: " in refused(path, bytes(damaged), scratch)
