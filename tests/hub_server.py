"""A Hub on the loopback: model repositories with commits, refs, files and refusals, and a log.

It answers what huggingface_hub asks for when files are read: model info with siblings, and HEAD and
GET of resolve/REVISION/FILE. Errors carry the X-Error-Code of the real Hub.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit


@dataclass
class Repo:
    """Commits (sha -> files) and refs (branch or tag -> sha). `gated`: everything is refused."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    gated: bool = False

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

    `tokens` holds the Authorization headers that came.
    """

    repos: dict[str, Repo] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    broken: bool = False
    url: str = ""

    def repo(self, name: str) -> Repo:
        return self.repos.setdefault(name, Repo())

    def asked(self, text: str) -> list[str]:
        """The requests whose path contains `text`."""
        return [line for line in self.log if text in line]


def _etag(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self.answer()

        def do_GET(self) -> None:
            self.answer()

        def send(self, status: int, body: bytes = b"", **headers: str) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def refuse(self, status: int, code: str, **headers: str) -> None:
            self.send(status, b"{}", X_Error_Code=code, X_Error_Message=code, **headers)

        def answer(self) -> None:
            path = unquote(urlsplit(self.path).path)
            hub.log.append(f"{self.command} {path}")
            if "Authorization" in self.headers:
                hub.tokens.append(self.headers["Authorization"])
            if hub.broken:
                self.send(500, b"the server has a bad day")
                return
            parts = path.strip("/").split("/")
            if parts[:2] == ["api", "models"]:
                name, rest = "/".join(parts[2:4]), parts[4:]
            else:
                name, rest = "/".join(parts[:2]), parts[2:]
            repo = hub.repos.get(name)
            if repo is None:
                self.refuse(404, "RepoNotFound")
            elif repo.gated:
                self.refuse(403, "GatedRepo")
            elif parts[0] == "api":
                self.info(name, repo, rest[1] if rest else "main")
            else:
                self.file(repo, rest[1], "/".join(rest[2:]))

        def info(self, name: str, repo: Repo, revision: str) -> None:
            sha = repo.refs.get(revision, revision)
            if sha not in repo.commits:
                self.refuse(404, "RevisionNotFound")
                return
            siblings = [
                {"rfilename": path, "size": len(data), "blobId": _etag(data)}
                for path, data in sorted(repo.commits[sha].items())
            ]
            body = {"id": name, "sha": sha, "siblings": siblings, "private": False, "gated": False}
            self.send(200, json.dumps(body).encode(), Content_Type="application/json")

        def file(self, repo: Repo, revision: str, path: str) -> None:
            sha = repo.refs.get(revision, revision)
            if sha not in repo.commits:
                self.refuse(404, "RevisionNotFound")
                return
            data = repo.commits[sha].get(path)
            if data is None:
                self.refuse(404, "EntryNotFound", X_Repo_Commit=sha)
                return
            self.send(200, data, X_Repo_Commit=sha, ETag=f'"{_etag(data)}"')

    return Handler


@contextlib.contextmanager
def serve() -> Iterator[Hub]:
    """A running Hub on a free port of the loopback; stopped at the end."""
    hub = Hub()
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub)) as server:
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
