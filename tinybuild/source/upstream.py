"""Files of one commit of a dataset repository, read by byte ranges and never beyond a limit."""

from __future__ import annotations

import functools
import hashlib
import io
import itertools
from collections.abc import Mapping, Sequence
from typing import IO, Any

from tinybuild.dataset.ranged import Spent, left
from tinybuild.errors import Fault
from tinybuild.files import POINTER, POINTS, PUSH
from tinybuild.paths import Data
from tinybuild.source.hub import ask
from tinybuild.source.pins import Entry, Listed
from tinybuild.source.ranges import Ranges, Written
from tinybuild.source.refusal import NETWORK, Address

RETRIES = 5  # as many as huggingface_hub makes
SMALL = 200  # bytes: no pointer of Git LFS that git-lfs writes has more


class Upstream:
    """A `dataset.ranged.Repository`; it remembers which ranges were read. What is `held` on this
    machine is not asked for; it counts as if it were."""

    def __init__(
        self, address: Address, commit: str, files: Mapping[str, Listed], limit: int, held: Ranges
    ):
        self.address, self.commit, self.files = address, commit, files
        self.limit, self.held = limit, held
        self.label = address.repo
        self.sizes = {name: listed.size for name, listed in files.items()}
        self.configs: Sequence[Data] = ()
        self.about: Data = {}
        self.used = 0
        self.ranges: dict[str, dict[tuple[int, int], str]] = {}
        self.digests: dict[str, Any] = {}
        self.blobs: dict[str, Any] = {}  # git's digest, of files that are not in LFS

    def read(self, name: str, start: int, stop: int) -> bytes:
        """The bytes from start to before stop; raises Spent, SourceFault."""
        whole = io.BytesIO()
        self.copy(name, start, stop, whole)
        return whole.getvalue()

    def copy(
        self, name: str, start: int, stop: int, file: IO[bytes], inner: Sequence[int] = ()
    ) -> None:
        """Write a range to where `file` stands: at most one request, unless the connection breaks.

        What is remembered of it are the ranges between `inner` (places within it, ascending).
        """
        if stop <= start:
            return
        if stop - start > left(self):
            raise Spent
        if start and self.files[name].size <= SMALL and name not in self.digests:
            self.read(name, 0, self.files[name].size)  # it may be a pointer
        places, at, tries = [start, *inner, stop], start, 0
        ranges = list(itertools.pairwise(places))
        before = self.ranges.setdefault(name, {})
        digest = self.digests.setdefault(name, hashlib.sha256())
        blob = self.blobs.setdefault(name, hashlib.sha1(b"blob %d\0" % self.files[name].size))
        # What was read before, for another config, counts once.
        sink = _Sink(file, ranges, () if set(ranges) <= before.keys() else (digest, blob))
        oid = self.files[name].oid
        while data := self.held.found(oid, at, stop):
            sink.write(data)
            at += len(data)
        with self.held.writing(oid, at) as kept:
            sink.kept = kept
            while at < stop:
                begun = at
                at = ask(self.address, functools.partial(self._take, name, at, stop, sink), name)
                tries = tries + 1 if at == begun else 0
                if at < stop and tries > RETRIES:
                    what = f"{name} breaks off at byte {at:,} of {stop:,}"
                    raise self.address.fault(what, f"{NETWORK} {self.address.again}")
        if start == 0 and sink.begun == POINTS:
            raise self.address.fault(f"{name} of {self.label} {POINTER}", PUSH)
        self.used += stop - start
        before.update((place, digest.hexdigest()) for place, digest in sink.digests.items())
        self._check(name)

    def _take(self, name: str, start: int, stop: int, file: _Sink) -> int:
        """Ask for a range once; the place up to which it came."""
        import httpx2
        from huggingface_hub import get_session, hf_hub_url
        from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

        url = hf_hub_url(self.label, name, repo_type="dataset", revision=self.commit)
        # Encoded answers would be other bytes than those that were asked for.
        headers = {
            **build_hf_headers(),
            "Range": f"bytes={start}-{stop - 1}",
            "Accept-Encoding": "identity",
        }
        with get_session().stream("GET", url, headers=headers, follow_redirects=True) as response:
            if response.status_code == 416:
                raise self._other(name)
            hf_raise_for_status(response)
            said = f"bytes {start}-{stop - 1}/{self.files[name].size}"
            whole = response.status_code == 200 and (start, stop) == (0, self.files[name].size)
            if not whole and response.headers.get("content-range") != said:
                raise self._other(name)
            at = start
            try:
                for piece in response.iter_bytes():
                    if at + len(piece) > stop:
                        raise self._other(name)
                    file.write(piece)
                    at += len(piece)
            except httpx2.TransportError:
                pass  # the connection broke: the caller goes on from here
        return at

    def _other(self, name: str) -> Fault:
        what = f"{name} of {self.label} came in other bytes than were asked for"
        return self.address.fault(what, "a proxy may stand between; check HF_ENDPOINT")

    def _check(self, name: str) -> None:
        """A file that was read from its first byte to its last must be the one that is listed."""
        listed = self.files[name]
        at = 0
        for start, stop in self.ranges[name]:
            if start != at:
                return
            at = stop
        if at != listed.size:
            return
        kind, taken = ("sha256", self.digests) if len(listed.oid) == 64 else ("sha1", self.blobs)
        oid = taken[name].hexdigest()
        if oid != listed.oid:
            raise self.address.fault(
                f"{name} of {self.label} is not the file that the Hub lists "
                f"({kind} {oid[:12]}, listed {listed.oid[:12]})",
                "run it again; if it stays so, the repository is damaged",
            )

    def pinned(self) -> dict[str, Entry]:
        """What a lock keeps of each file that was read: the bytes, and the file they are of."""
        return {
            name: Entry(
                sha256=self.digests[name].hexdigest(),
                size=sum(stop - start for start, stop in ranges),
                ranges={f"{start}-{stop}": digest for (start, stop), digest in ranges.items()},
                whole=self.files[name],
            )
            for name, ranges in sorted(self.ranges.items())
        }


class _Sink:
    """Writes to a file, to a digest of each range and one of all, and to what is kept."""

    def __init__(self, file: IO[bytes], ranges: Sequence[tuple[int, int]], whole: Sequence[Any]):
        self.file, self.whole = file, whole
        self.kept: Written | None = None
        self.begun = b""  # as much as tells a pointer
        self.digests: dict[tuple[int, int], Any] = {place: hashlib.sha256() for place in ranges}
        self.left = [stop - start for start, stop in ranges]
        self.queue = list(self.digests.values())

    def write(self, piece: bytes) -> None:
        self.file.write(piece)
        if len(self.begun) < len(POINTS):
            self.begun = (self.begun + piece)[: len(POINTS)]
        if self.kept is not None:
            self.kept.write(piece)
        for digest in self.whole:
            digest.update(piece)
        while piece:
            now = piece[: self.left[0]]
            self.queue[0].update(now)
            self.left[0] -= len(now)
            piece = piece[len(now) :]
            if not self.left[0]:
                del self.left[0], self.queue[0]
