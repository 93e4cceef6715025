"""What the loopback Hub does for clients that speak Xet: tokens, and a store of chunks (a CAS).

A mixin of `hub.Handler`; `Hub.xet` says whether files in LFS are offered so. The format is that of
https://huggingface.co/docs/xet: a xorb is chunks one after the other, each with eight bytes before
it, a shard says which chunks of which xorbs a file is. Chunks come as they are: tests ask the
client not to compress them (HF_XET_XORB_COMPRESSION_POLICY=none).
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kit.hub import Hub

CHUNK = 1 << 16
HEAD = 8  # bytes before a chunk
ROW = 48  # bytes of each entry of a shard
CAS_TOKEN = "Bearer a-token-of-the-store-alone"
ALL = b"\xff" * 32  # ends a section


def _head(size: int) -> bytes:
    return b"\0" + size.to_bytes(3, "little") + b"\0" + size.to_bytes(3, "little")


def xorb(data: bytes) -> bytes:
    chunks = [data[start : start + CHUNK] for start in range(0, len(data), CHUNK)]
    return b"".join(_head(len(chunk)) + chunk for chunk in chunks)


def chunks(packed: bytes) -> Iterator[bytes]:
    place = 0
    while place + HEAD <= len(packed):
        size = int.from_bytes(packed[place + 1 : place + 4], "little")
        assert packed[place + 4] == 0, "the client was asked not to compress"
        yield packed[place + HEAD : place + HEAD + size]
        place += HEAD + size


def _hex(raw: bytes) -> str:
    """A hash as Xet writes it: four numbers of eight bytes."""
    return "".join(f"{number:016x}" for number in struct.unpack("<4Q", raw))


def files(shard: bytes, xorbs: dict[str, list[bytes]]) -> Iterator[tuple[str, bytes]]:
    """(sha256, bytes) of each file that a shard tells of."""
    place = ROW  # after the header
    while (raw := shard[place : place + 32]) != ALL:
        flags, count = struct.unpack("<2I", shard[place + 32 : place + 40])
        data = b""
        for number in range(1, count + 1):
            at = place + ROW * number
            start, end = struct.unpack("<2I", shard[at + 40 : at + 48])
            data += b"".join(xorbs[_hex(shard[at : at + 32])][start:end])
        place += ROW * (1 + count * (2 if flags >> 31 else 1))
        told = _hex(shard[place : place + 32]) if flags >> 30 & 1 else ""
        assert told == hashlib.sha256(data).hexdigest(), f"{_hex(raw)} is not what was told"
        place += ROW
        yield told, data


class Xet(BaseHTTPRequestHandler):
    """The requests of the store, and those for a token of it."""

    hub: Hub
    send: Callable[..., None]

    def store(self, path: str) -> bool:
        """Answer a request that is of Xet; whether it was one."""
        if re.search(r"/xet-(read|write)-token/", path):
            until = str(int(time.time()) + 3600)
            told = {
                "casUrl": f"{self.hub.url}/cas",
                "exp": int(until),
                "accessToken": CAS_TOKEN[7:],
            }
            more = {"X_Xet_Cas_Url": told["casUrl"], "X_Xet_Access_Token": told["accessToken"]}
            self.send(200, json.dumps(told).encode(), X_Xet_Token_Expiration=until, **more)
        elif not path.startswith("/cas/"):
            return False
        else:
            self._store(path.split("/")[2:])
        return True

    def _store(self, parts: list[str]) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if parts[:2] == ["v1", "xorbs"]:
            self.hub.xorbs[parts[-1]] = [*chunks(body)]
            self.send(200, b'{"was_inserted": true}')
        elif parts[:2] == ["v1", "shards"]:
            self.hub.stored |= dict(files(body, self.hub.xorbs))
            self.send(200, b'{"result": 1}')
        elif parts[:2] == ["v1", "reconstructions"]:
            self.send(200, json.dumps(self._terms(parts[2])).encode())
        elif parts[0] == "xorb":
            start, stop = map(int, self.headers["Range"].removeprefix("bytes=").split("-"))
            packed = xorb(self._data(parts[1]))
            said = f"bytes {start}-{stop}/{len(packed)}"
            self.send(206, packed[start : stop + 1], parts[1], Content_Range=said)
        else:
            self.send(404)  # of no version that is known here, or a chunk that nobody has

    def _data(self, sha: str) -> bytes:
        """The file of a repository that is offered by this hash: here its sha256."""
        every = (f for r in self.hub.repos.values() for c in r.commits.values() for f in c.values())
        return next(data for data in every if hashlib.sha256(data).hexdigest() == sha)

    def _terms(self, sha: str) -> dict[str, Any]:
        data = self._data(sha)
        whole = {"start": 0, "end": -(-len(data) // CHUNK)}
        fetched = {
            "range": whole,
            "url": f"{self.hub.url}/cas/xorb/{sha}",
            "url_range": {"start": 0, "end": len(xorb(data)) - 1},
        }
        term = {"hash": sha, "unpacked_length": len(data), "range": whole}
        return {"offset_into_first_range": 0, "terms": [term], "fetch_info": {sha: [fetched]}}
