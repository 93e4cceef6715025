"""A Hub on this machine, whose repositories are those of a folder in the layout of its cache.

Libraries and tests that ask the Hub by themselves (also those that turn offline mode off) get from
it what the real one would say: the files that there are, and that others are not there.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath
from urllib.parse import parse_qs, unquote, urlsplit

from tinybuild.files import below
from tinybuild.paths import Json

KINDS = ("models", "datasets", "spaces")  # as its paths name them; models may be left out


@dataclass(frozen=True, kw_only=True)
class Repo:
    """A repository at a revision that is asked for. folder: None where there is no such one."""

    name: str
    commit: str
    folder: Path | None

    @functools.cached_property
    def files(self) -> Mapping[str, Path]:
        assert self.folder is not None
        return {name: self.folder / name for name in below(str(self.folder))}


@dataclass
class Hub:
    """A running Hub. lacked: the repositories that were asked for and are not there."""

    cache: Path
    url: str = ""
    lacked: dict[str, None] = field(default_factory=dict)

    def home(self, kind: str, parts: Sequence[str]) -> tuple[str, Path, Sequence[str]] | None:
        """A repository's name and folder, and what a path asks of it: OWNER/NAME/... or NAME/..."""
        for length in (2, 1):
            folder = self.cache / f"{kind}--{'--'.join(parts[:length])}"
            if len(parts) >= length and (folder / "refs").is_dir():
                return "/".join(parts[:length]), folder, parts[length:]
        self.lacked[f"{'' if kind == 'models' else f'{kind}/'}{'/'.join(parts[:2])}"] = None
        return None


def _repo(name: str, home: Path, revision: str) -> Repo:
    ref = home / "refs" / revision
    plain = re.fullmatch(r"[\w./-]+", revision) is not None and ".." not in revision
    commit = ref.read_text(encoding="utf-8") if plain and ref.is_file() else revision
    folder = home / "snapshots" / commit
    return Repo(name=name, commit=commit, folder=folder if plain and folder.is_dir() else None)


@functools.cache
def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _entry(name: str, path: Path) -> dict[str, Json]:
    return {"type": "file", "path": name, "oid": _digest(path), "size": path.stat().st_size}


def _tree(repo: Repo, inside: str, deep: bool) -> list[dict[str, Json]]:
    """What is in a folder of a repository; in the folders in it, too, where that is asked."""
    top = f"{inside}/" if inside else ""
    files = {name: path for name, path in repo.files.items() if name.startswith(top)}
    folders = {str(above) for name in files for above in PurePosixPath(name).parents} - {
        ".",
        inside,
    }
    folders = {name for name in folders if name.startswith(top)}
    listed: list[dict[str, Json]] = [
        {
            "type": "directory",
            "path": name,
            "oid": hashlib.sha1(name.encode()).hexdigest(),
            "size": 0,
        }
        for name in folders
    ]
    listed += [_entry(name, path) for name, path in files.items()]
    shown = (one for one in listed if deep or "/" not in str(one["path"]).removeprefix(top))
    return sorted(shown, key=lambda one: str(one["path"]))


class _Asked(BaseHTTPRequestHandler):
    """One connection to a Hub."""

    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.answer()

    def do_HEAD(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        self.answer()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: pytest shows what tests print."""

    def send(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, code: str, **headers: str) -> None:
        said = b'{"error": "not found"}'
        self.send(404, said, X_Error_Code=code, X_Error_Message=code, **headers)

    def json(self, told: Json) -> None:
        self.send(200, json.dumps(told).encode(), Content_Type="application/json")

    def answer(self) -> None:
        url = urlsplit(self.path)
        posted = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = [unquote(part) for part in url.path.strip("/").split("/")]
        api = parts[0] == "api"
        parts = parts[1:] if api else parts
        kind = parts[0] if parts and parts[0] in KINDS else "models"
        parts = parts[1:] if parts and parts[0] == kind else parts
        if not parts or (api and kind not in url.path) or any(part in ("", "..") for part in parts):
            self.refuse("NotFound")  # what is asked of no repository: who one is, telemetry
            return
        found = self.hub.home(kind, parts)
        if found is None:
            self.refuse("RepoNotFound")
            return
        name, home, (what, *rest) = found[0], found[1], [*found[2], *([] if found[2] else ["info"])]
        repo = _repo(name, home, rest[0] if rest else "main")
        if repo.folder is None:
            self.refuse("RevisionNotFound")
        elif not api and what in ("resolve", "raw"):
            self.file(repo, "/".join(rest[1:]))
        elif api and what in ("info", "revision"):
            self.info(repo)
        elif api and what == "tree":
            query = parse_qs(url.query)
            deep = query.get("recursive", [""])[0].lower() == "true"
            self.json(_tree(repo, "/".join(rest[1:]), deep))
        elif api and what == "paths-info":
            wanted = _paths(posted)
            self.json([one for one in _tree(repo, "", True) if one["path"] in wanted])
        elif api and what == "refs":
            self.refs(home)
        else:
            self.refuse("NotFound")

    def info(self, repo: Repo) -> None:
        files = [_entry(name, path) for name, path in sorted(repo.files.items())]
        siblings: Json = [
            {"rfilename": one["path"], "size": one["size"], "blobId": one["oid"]} for one in files
        ]
        told = {"id": repo.name, "sha": repo.commit, "siblings": siblings, "tags": []}
        self.json({**told, "private": False, "gated": False, "disabled": False})

    def refs(self, home: Path) -> None:
        branches: list[Json] = [
            {
                "name": name,
                "ref": f"refs/heads/{name}",
                "targetCommit": (home / "refs" / name).read_text(),
            }
            for name in below(str(home / "refs"))
        ]
        self.json({"branches": branches, "tags": [], "converts": []})

    def file(self, repo: Repo, name: str) -> None:
        path = repo.files.get(name)
        if path is None:
            self.refuse("EntryNotFound", X_Repo_Commit=repo.commit)
            return
        data = path.read_bytes()
        headers = {
            "X_Repo_Commit": repo.commit,
            "ETag": f'"{_digest(path)}"',
            "Accept_Ranges": "bytes",
        }
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if asked is None:
            self.send(200, data, **headers)
            return
        start, stop = int(asked[1]), min(int(asked[2] or len(data)) + 1, len(data))
        if start >= len(data):
            self.send(416, b"", Content_Range=f"bytes */{len(data)}")
            return
        said = f"bytes {start}-{stop - 1}/{len(data)}"
        self.send(206, data[start:stop], Content_Range=said, **headers)


def _paths(posted: bytes) -> list[str]:
    """The paths of a request for some files, which is a form or JSON."""
    text = posted.decode("utf-8", "replace")
    if text.startswith("{"):
        given = json.loads(text).get("paths", [])
        return [given] if isinstance(given, str) else [str(one) for one in given]
    return parse_qs(text).get("paths", [])


@contextlib.contextmanager
def serve(cache: Path) -> Iterator[Hub]:
    """A Hub on a free port of the loopback, until the end of the block."""
    hub = Hub(cache=cache)
    handler = type("Asked", (_Asked,), {"hub": hub})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads, server.block_on_close = True, False
        hub.url = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield hub
        finally:
            server.shutdown()
