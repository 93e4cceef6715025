"""A Hub on the loopback: repositories with commits, refs, files and refusals, and a log.

It answers what huggingface_hub asks for when files are read: model and dataset info, the tree,
paths-info, refs, and HEAD and GET of resolve/REVISION/FILE, with byte ranges. Errors carry the
X-Error-Code of the real Hub. Large files are kept in LFS and come, as on the Hub, from elsewhere.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import re
import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import pytest

from kit.writes import Collection, Discussion, Writes
from kit.xet import CAS_TOKEN, Xet

IN_LFS = (".parquet", ".arrow", ".gz", ".xz", ".bz2", ".zst", ".tar", ".zip", ".safetensors")


@dataclass(kw_only=True)
class Trouble:
    """What happens to requests instead of the answer, or to it, so many `times`.

    where: text of "METHOD path?query" that the request must hold. `status` and `headers`: the
    answer instead (`body` too, where it is given). Without a status the right answer comes, but
    with another `body` of a file, `short` bytes less of it than were announced, cut by a reset
    after `reset` bytes of all that is sent, or with `slow` seconds between one byte and the next.
    """

    where: str = ""
    times: int = 1
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    short: int = 0
    reset: int | None = None
    slow: float = 0


@dataclass
class Repo:
    """Commits (sha -> files) and refs (branch or tag -> sha). `gated`: everything is refused.

    large: files that are kept in LFS beside those whose suffix says so. told: what its metadata
    says besides (gated, cardData). messages: (ref, summary, description) of each commit that came
    over the network.
    """

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    gated: bool = False
    large: set[str] = field(default_factory=set)
    private: bool = False
    told: dict[str, Any] = field(default_factory=dict)
    messages: list[tuple[str, str, str]] = field(default_factory=list)
    discussions: list[Discussion] = field(default_factory=list)

    @property
    def files(self) -> dict[str, bytes]:
        """What main holds."""
        return self.commits[self.refs["main"]]

    def merge(self, number: int) -> None:
        """Merge a pull request that nothing stands against."""
        self.refs["main"] = self.refs[f"refs/pr/{number}"]
        self.discussions[number - 1].status = "merged"

    def commit(self, files: Mapping[str, bytes], ref: str = "main") -> str:
        """A new commit with exactly these files; `ref` moves to it."""
        text = repr((len(self.commits), sorted(files.items())))
        sha = hashlib.sha1(text.encode()).hexdigest()
        self.commits[sha] = dict(files)
        self.refs[ref] = sha
        return sha


@dataclass
class Hub:
    """The server's state. `log` holds "METHOD path" of each request; `broken` answers 500 to all.

    `tokens` holds the Authorization headers that came, `leaked` those that came to where files in
    LFS are kept, which is no part of the Hub. `sent` counts the bytes of each file's body, `ranges`
    holds the ranges that were asked for. `cut`: so many bytes into its next body, the connection
    breaks. `deaf`: ranges are not heeded. `closed`: the code and status that files are refused
    with. `troubles`: what happens to requests; the first that fits is taken. `secret`: the only
    token that is accepted, where there is one.
    `moved`: old names of repositories -> new ones. `stop`: (n, when): n more requests are answered;
    then connections break, the first of them "before" anything was done or "after" all was,
    without its answer, and the Hub is `dead`. `stored`: files in LFS that were put.
    `trusts`: what a workflow's run gets a token for ("datasets/OWNER/NAME"). `xet`: files in LFS
    are offered by Xet; `xorbs`: chunks that were put so.
    """

    repos: dict[str, Repo] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    leaked: list[str] = field(default_factory=list)
    sent: Counter[str] = field(default_factory=Counter)
    ranges: list[tuple[str, int, int]] = field(default_factory=list)
    broken: bool = False
    deaf: bool = False
    cut: int | None = None
    closed: tuple[str, int] | None = None
    troubles: list[Trouble] = field(default_factory=list)
    moved: dict[str, str] = field(default_factory=dict)
    secret: str | None = None
    stop: tuple[int, str] | None = None
    dead: bool = False
    stored: dict[str, bytes] = field(default_factory=dict)
    trusts: set[str] = field(default_factory=set)
    collections: list[Collection] = field(default_factory=list)
    xet: bool = False
    xorbs: dict[str, list[bytes]] = field(default_factory=dict)
    url: str = ""

    def repo(self, name: str) -> Repo:
        return self.repos.setdefault(name, Repo())

    def dataset(self, name: str) -> Repo:
        return self.repo(f"datasets/{name}")

    def asked(self, text: str) -> list[str]:
        """The requests whose path contains `text`."""
        return [line for line in self.log if text in line]

    def trouble(self, line: str) -> Trouble | None:
        """The trouble that a request has; it is used up once."""
        for trouble in self.troubles:
            if trouble.times > 0 and trouble.where in line:
                trouble.times -= 1
                return trouble
        return None


def _etag(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _entry(path: str, data: bytes) -> dict[str, Any]:
    """A file in a listing of the tree."""
    entry = {"type": "file", "path": path, "oid": _etag(data), "size": len(data)}
    if path.endswith(IN_LFS):
        entry["lfs"] = {"oid": _sha256(data), "size": len(data), "pointerSize": 130}
    return entry


def _listing(
    files: Mapping[str, bytes], below: str = "", *, deep: bool = False
) -> list[dict[str, Any]]:
    """What is in a folder of a repository, in the folders in it as well where that is asked."""
    top = f"{below}/" if below else ""
    inside = {path: data for path, data in files.items() if path.startswith(top)}
    folders = {
        parent.as_posix()
        for path in inside
        for parent in PurePosixPath(path).parents
        if parent.as_posix().startswith(top) and parent != PurePosixPath(".")
    }
    entries = [_entry(*file) for file in inside.items()]
    entries += [
        {"type": "directory", "path": p, "oid": _etag(p.encode()), "size": 0} for p in folders
    ]
    near = [e for e in entries if deep or "/" not in e["path"].removeprefix(top)]
    return sorted(near, key=lambda entry: str(entry["path"]))


class _Bad:
    """What a handler writes to: a connection that is slow, or that is reset after some bytes."""

    def __init__(self, connection: socket.socket, reset: int | None, slow: float):
        self.connection, self.left, self.slow = connection, reset, slow
        self.closed = False

    def write(self, data: bytes) -> int:
        if self.slow:
            for byte in data:
                self.connection.sendall(bytes([byte]))
                threading.Event().wait(self.slow)  # tests do away with time.sleep
            return len(data)
        assert self.left is not None
        self.connection.sendall(data[: self.left])
        self.left -= len(data[: self.left])
        if not self.left:
            off = struct.pack("ii", 1, 0)  # what is closed now is reset
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, off)
            self.connection.close()
            raise ConnectionAbortedError
        return len(data)

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass


class Handler(Writes, Xet, BaseHTTPRequestHandler):
    hub: Hub  # set by `serve`
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers and body are sent one after the other
    trouble: Trouble | None = None

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):
            super().handle()

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        self.answer()

    def do_PUT(self) -> None:
        self.answer()

    def send(self, status: int, body: bytes = b"", name: str = "", **headers: str) -> None:
        self.send_response(status)
        for header, value in headers.items():
            self.send_header(header.replace("_", "-"), value)
        trouble = self.trouble
        if name and trouble is not None and trouble.body is not None:
            body = trouble.body
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if name and trouble is not None and trouble.short:
            body, self.close_connection = body[: -trouble.short], True
        if name and self.hub.cut is not None and len(body) > self.hub.cut:
            body, self.hub.cut = body[: self.hub.cut], None
            self.close_connection = True
        self.wfile.write(body)
        if name:
            self.hub.sent[name] += len(body)

    def refuse(self, status: int, code: str, **headers: str) -> None:
        self.send(status, b"{}", X_Error_Code=code, X_Error_Message=code, **headers)

    def json(self, body: Any) -> None:
        self.send(200, json.dumps(body).encode(), Content_Type="application/json")

    def suffer(self) -> bool:
        """What a trouble does to a request; whether it was the answer."""
        self.trouble = trouble = self.hub.trouble(f"{self.command} {unquote(self.path)}")
        if trouble is None:
            return False
        if trouble.reset is not None or trouble.slow:
            bad = _Bad(self.connection, trouble.reset, trouble.slow)
            self.wfile, self.close_connection = bad, True  # type: ignore[assignment]
        if trouble.status is None:
            return False
        headers = {name.replace("-", "_"): value for name, value in trouble.headers.items()}
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send(trouble.status, trouble.body or b"", **headers)
        return True

    def answer(self) -> None:
        """Answer, or break the connection where the test asks for it."""
        stop = self.hub.stop
        if stop is None or stop[0] > 0:
            self.hub.stop = stop and (stop[0] - 1, stop[1])
            self.obey()
            return
        sent, self.wfile = self.wfile, io.BytesIO()
        if stop[1] == "after" and not self.hub.dead:
            self.obey()
        self.hub.dead, self.close_connection, self.wfile = True, True, sent

    def obey(self) -> None:
        url = urlsplit(self.path)
        self.hub.log.append(f"{self.command} {unquote(url.path)}")
        elsewhere = url.path.startswith(("/elsewhere/", "/cas/"))
        if self.headers.get("Authorization", CAS_TOKEN) != CAS_TOKEN:
            (self.hub.leaked if elsewhere else self.hub.tokens).append(
                self.headers["Authorization"]
            )
        if self.hub.broken:
            self.send(500, b"the server has a bad day")
            return
        if self.suffer():
            return
        parts = [unquote(part) for part in url.path.strip("/").split("/")]
        if self.store(url.path):
            return
        if elsewhere:
            self.body("/".join(parts[3:]), self.hub.repos[parts[1]].commits)
            return
        if parts in (["id-token"], ["oauth", "token"]):
            self.identify(parts[0])
            return
        sent = self.headers.get("Authorization")
        if self.hub.secret is not None and sent not in (None, f"Bearer {self.hub.secret}"):
            said = "Invalid credentials in Authorization header"
            self.send(401, b"{}", X_Error_Message=said)
        elif not self.write(parts):
            self.ask(parts)

    def identify(self, step: str) -> None:
        """A workflow's run says who it is (GitHub's part), and gets a token for one repository."""
        if step == "id-token":
            self.json({"value": "identity-of-a-run"})
            return
        said = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        if said["resource"] in self.hub.trusts and said["subject_token"] == "identity-of-a-run":
            self.json({"access_token": f"hf_jwt_{said['resource']}", "expires_in": 3600})
        else:
            self.send(400, b'{"error": "invalid_grant"}')

    def ask(self, parts: list[str]) -> None:
        """[api/][models/|datasets/]OWNER/NAME/..."""
        api = parts[0] == "api"
        parts = parts[1:] if api else parts
        kind = parts[0] if parts[0] in ("models", "datasets") else "models"
        parts = parts[1:] if parts[0] == kind else parts
        if api and not parts:
            self.search(kind)
            return
        if parts[0] in self.hub.moved:
            new = self.path.replace(parts[0], self.hub.moved[parts[0]], 1)
            self.send(307, Location=new)
            return
        name, rest = "/".join(parts[:2]), parts[2:]
        repo = self.hub.repos.get(name if kind == "models" else f"datasets/{name}")
        if repo is None:
            self.refuse(404, "RepoNotFound")
        elif repo.gated:
            self.refuse(403, "GatedRepo")
        elif api and rest[:1] == ["refs"]:
            self.refs(repo)
        elif api and rest[:1] in (["tree"], ["paths-info"]):
            self.tree(repo, rest)
        elif api:
            self.info(name, repo, rest[1] if rest else "main")
        else:
            self.file(kind, name, repo, rest[1], "/".join(rest[2:]))

    def refs(self, repo: Repo) -> None:
        branches = [
            {"name": name, "ref": f"refs/heads/{name}", "targetCommit": sha}
            for name, sha in repo.refs.items()
        ]
        self.json({"branches": branches, "tags": [], "converts": []})

    def search(self, kind: str) -> None:
        """api/KIND?author=...&search=...: the repositories of an owner, or whose name holds it."""
        query = parse_qs(urlsplit(self.path).query)
        names = [
            name.removeprefix("datasets/")
            for name in self.hub.repos
            if name.startswith("datasets/") == (kind == "datasets")
        ]
        author, text = query.get("author", [""])[0], query.get("search", [""])[0].lower()
        names = [n for n in names if n.startswith(f"{author}/" if author else "")]
        self.json([{"id": name} for name in names if text in name.lower()])

    def info(self, name: str, repo: Repo, revision: str) -> None:
        sha = repo.refs.get(revision, revision)
        if sha not in repo.commits:
            self.refuse(404, "RevisionNotFound")
            return
        siblings = []
        for path, data in sorted(repo.commits[sha].items()):
            file = {"rfilename": path, "size": len(data), "blobId": _etag(data)}
            if path in repo.large:
                file["lfs"] = {"sha256": _sha256(data), "size": len(data), "pointerSize": 130}
            siblings.append(file)
        body = {"id": name, "sha": sha, "siblings": siblings, "private": repo.private}
        self.json({**body, "gated": False, **repo.told})

    def tree(self, repo: Repo, rest: list[str]) -> None:
        """api/KIND/NAME/tree/REVISION?recursive=true, and POST paths-info/REVISION."""
        sha = repo.refs.get(rest[1], rest[1])
        if sha not in repo.commits:
            self.refuse(404, "RevisionNotFound")
            return
        query, below = parse_qs(urlsplit(self.path).query), "/".join(rest[2:])
        files = _listing(repo.commits[sha], below, deep=query.get("recursive") == ["true"])
        if rest[0] == "paths-info":
            length = int(self.headers["Content-Length"])
            wanted = parse_qs(self.rfile.read(length).decode())["paths"]
            files = [e for e in _listing(repo.commits[sha], deep=True) if e["path"] in wanted]
        elif below and not files:
            self.refuse(404, "EntryNotFound")
            return
        # As the Hub does it, in pages; the next one is named in a header.
        start, page = int(query.get("cursor", ["0"])[0]), 1000
        body = json.dumps(files[start : start + page]).encode()
        more = {}
        if start + page < len(files):
            place = f"{self.hub.url}{urlsplit(self.path).path}"
            more["Link"] = f'<{place}?recursive=true&cursor={start + page}>; rel="next"'
        self.send(200, body, Content_Type="application/json", **more)

    def file(self, kind: str, name: str, repo: Repo, revision: str, path: str) -> None:
        sha = repo.refs.get(revision, revision)
        if sha not in repo.commits:
            self.refuse(404, "RevisionNotFound")
            return
        data = repo.commits[sha].get(path)
        if self.hub.closed is not None:
            self.refuse(self.hub.closed[1], self.hub.closed[0])
        elif data is None:
            self.refuse(404, "EntryNotFound", X_Repo_Commit=sha)
        elif path in repo.large or (kind == "datasets" and path.endswith(IN_LFS)):
            port = urlsplit(self.hub.url).port
            within = quote(f"datasets/{name}" if kind == "datasets" else name, safe="")
            place = f"http://localhost:{port}/elsewhere/{within}"
            top = f"{self.hub.url}/api/{kind}/{name}/xet-read-token/{sha}"
            offered = {"X_Xet_Hash": _sha256(data), "Link": f'<{top}>; rel="xet-auth"'}
            self.send(
                302,
                Location=f"{place}/x/{quote(path)}?at={sha}",
                X_Repo_Commit=sha,
                X_Linked_Size=str(len(data)),
                X_Linked_ETag=f'"{_sha256(data)}"',
                **(offered if self.hub.xet else {}),
            )
        else:
            self.part(path, data, X_Repo_Commit=sha, ETag=f'"{_etag(data)}"')

    def body(self, path: str, commits: Mapping[str, Mapping[str, bytes]]) -> None:
        (sha,) = parse_qs(urlsplit(self.path).query)["at"]
        self.part(path, commits[sha][path])

    def part(self, path: str, data: bytes, **headers: str) -> None:
        """A file, or the range of it that was asked for."""
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if asked is None or self.hub.deaf:
            self.send(200, data, path, **headers)
            return
        start, stop = int(asked[1]), min(int(asked[2]) + 1, len(data))
        if start >= len(data):
            self.send(416, Content_Range=f"bytes */{len(data)}")
            return
        self.hub.ranges.append((path, start, stop))
        said = f"bytes {start}-{stop - 1}/{len(data)}"
        self.send(206, data[start:stop], path, Content_Range=said, **headers)


@contextlib.contextmanager
def serve() -> Iterator[Hub]:
    """A running Hub on a free port of the loopback; stopped at the end."""
    hub = Hub()
    handler = type("Handler", (Handler,), {"hub": hub})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        server.block_on_close = False
        hub.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def connected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, token: str) -> Iterator[Hub]:
    """A loopback Hub that the real client speaks to, with an empty cache and a token."""
    from huggingface_hub import constants
    from huggingface_hub.utils import _http

    with serve() as server:
        template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "home"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(_http.time, "sleep", lambda seconds: None)
        monkeypatch.setenv("HF_TOKEN", token)
        yield server
