"""What the loopback Hub does when it is written to: repositories, commits, pull requests, LFS,
collections, and the front matter of cards.

A mixin of `hub.Handler`: `write` takes a request that is one of these, and says whether it did.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import yaml

if TYPE_CHECKING:
    from kit.hub import Hub, Repo

WHEN = "2026-11-29T12:00:00.000Z"
# Of the licences that the Hub knows by name; https://huggingface.co/docs/hub/repositories-licenses
LICENSES = frozenset(
    (
        *("apache-2.0", "mit", "bsd-3-clause", "cc-by-4.0", "cc-by-sa-4.0", "cc0-1.0", "odc-by"),
        *("gpl-3.0", "llama2", "llama3.1", "gemma", "openrail", "unknown", "other"),
    )
)


@dataclass
class Discussion:
    """A pull request: its title, description, state, and the branch that it goes to."""

    title: str
    text: str
    status: str = "open"
    author: str = "zoo-bot"
    edits: int = 0


@dataclass
class Collection:
    """A list of repositories, by its owner."""

    title: str
    owner: str
    private: bool
    items: list[tuple[str, str]] = field(default_factory=list)

    @property
    def slug(self) -> str:
        name = self.title.lower().replace(" ", "-")
        return f"{self.owner}/{name}-{hashlib.sha1(name.encode()).hexdigest()[:24]}"

    def json(self, most: int | None = None) -> dict[str, Any]:
        """As an answer has it; in a list of collections, with few items and no place."""
        items = [
            {"_id": f"{number:024x}", "id": name, "type": kind, "position": number}
            for number, (kind, name) in enumerate(self.items[:most])
        ]
        return {
            **{"slug": self.slug, "title": self.title, "items": items, "private": self.private},
            **{"owner": {"name": self.owner}, "lastUpdated": WHEN, "theme": "green", "upvotes": 0},
            **({"position": 0} if most is None else {}),
        }


def metadata(content: str) -> list[str]:
    """What the Hub says against a card: its rules for the keys that cards of ours have."""
    if not content.startswith("---\n") or "\n---" not in content[4:]:
        return []
    try:
        data = yaml.safe_load(content[4:].partition("\n---")[0]) or {}
    except yaml.YAMLError as error:
        return [str(error)]
    wrong = []

    def texts(value: object) -> bool:
        return isinstance(value, list) and all(isinstance(item, str) for item in value)

    def code(value: object) -> bool:
        return isinstance(value, str) and (
            len(value) in (2, 3) or value in ("code", "multilingual")
        )

    rules: Mapping[str, Callable[[Any], bool]] = {
        "license": lambda v: (set(v) if isinstance(v, list) else {v}) <= LICENSES,
        "license_name": lambda v: isinstance(v, str) and v == v.lower() and " " not in v,
        "base_model": lambda v: texts(v) or isinstance(v, str),
        "datasets": texts,
        "tags": texts,
        "language": lambda v: all(map(code, v if isinstance(v, list) else [v])),
        "library_name": lambda v: isinstance(v, str),
        "pipeline_tag": lambda v: isinstance(v, str),
    }
    for key, holds in rules.items():
        if key in data and not holds(data[key]):
            wrong.append(f'"{key}" must be one of the values that the Hub knows')
    return wrong


class Writes(BaseHTTPRequestHandler):
    """The requests that change a Hub."""

    hub: Hub
    send: Callable[..., None]
    refuse: Callable[..., None]

    def write(self, parts: list[str]) -> bool:
        """Answer a request that writes, or that reads what only writers read."""
        if self.command in ("POST", "PUT"):
            length = int(self.headers.get("Content-Length") or 0)
            if parts[-2:-1] == ["paths-info"]:
                return False
            self.given = self.rfile.read(length)
            if (
                parts[0] != "put"
                and parts[-1] != "validate-yaml"
                and "Authorization" not in self.headers
            ):
                self.say(401, {"error": "Invalid username or password."})
                return True
        if parts[0] == "put":
            self.hub.stored[hashlib.sha256(self.given).hexdigest()] = self.given
            self.send(200)
        elif parts[:2] == ["api", "collections"]:
            self.collections(parts[2:])
        elif parts == ["api", "repos", "create"]:
            self.create(json.loads(self.given))
        elif parts == ["api", "validate-yaml"]:
            errors = [{"message": text} for text in metadata(json.loads(self.given)["content"])]
            self.say(400 if errors else 200, {"errors": errors, "warnings": []})
        elif parts[-4:] == ["info", "lfs", "objects", "batch"]:
            self.batch(json.loads(self.given))
        else:
            return self.of_repo(parts)
        return True

    def say(self, status: int, body: Any, **headers: str) -> None:
        self.send(status, json.dumps(body).encode(), Content_Type="application/json", **headers)

    def create(self, asked: Mapping[str, Any]) -> None:
        prefix = "datasets/" if asked.get("type") == "dataset" else ""
        name = f"{prefix}{asked['organization']}/{asked['name']}"
        url = f"{self.hub.url}/{name}"
        if name in self.hub.repos:
            self.say(409, {"error": "You already created this repo", "url": url})
            return
        repo = self.hub.repo(name)
        repo.private = asked.get("visibility") == "private"
        repo.commit({".gitattributes": b"*.safetensors filter=lfs\n"})
        self.say(200, {"url": url})

    def batch(self, asked: Mapping[str, Any]) -> None:
        """Where to put each file that the Hub does not have."""
        objects = []
        for one in asked["objects"]:
            have = one["oid"] in self.hub.stored
            href = f"{self.hub.url}/put/{one['oid']}"
            objects.append({**one, **({} if have else {"actions": {"upload": {"href": href}}})})
        self.say(200, {"transfer": "basic", "objects": objects})

    def of_repo(self, parts: list[str]) -> bool:
        """api/KIND/OWNER/NAME/..., of those that are not merely reading files."""
        if parts[0] != "api" or parts[1] not in ("models", "datasets") or len(parts) < 5:
            return False
        prefix = "datasets/" if parts[1] == "datasets" else ""
        name, what, rest = f"{prefix}{parts[2]}/{parts[3]}", parts[4], parts[5:]
        if what not in ("preupload", "commit", "discussions"):
            return False
        repo = self.hub.repos.get(name)
        if repo is None or repo.gated:
            self.refuse(404, "RepoNotFound")
        elif what == "preupload":
            self.preupload(repo, rest[0], json.loads(self.given))
        elif what == "commit":
            self.commit(name, repo, rest[0])
        else:
            self.discuss(name, repo, rest)
        return True

    def preupload(self, repo: Repo, revision: str, asked: Mapping[str, Any]) -> None:
        from kit.hub import IN_LFS, _etag, _sha256

        now = repo.commits[repo.refs.get(revision, revision)]
        files = []
        for one in asked["files"]:
            path, large = one["path"], one["path"].endswith(IN_LFS)
            oid = None
            if path in now:
                oid = _sha256(now[path]) if large else _etag(now[path])
            mode = "lfs" if large else "regular"
            files.append({"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        self.say(200, {"files": files})

    def commit(self, name: str, repo: Repo, revision: str) -> None:
        lines = [json.loads(line) for line in self.given.splitlines()]
        (header,) = (line["value"] for line in lines if line["key"] == "header")
        head = repo.refs[revision]
        base = header.get("parentCommit") or head
        asked = parse_qs(urlsplit(self.path).query).get("create_pr") == ["1"]
        if base != head and not asked:
            self.say(412, {"error": "A commit has happened since. Please refresh and try again."})
            return
        files = dict(repo.commits[base])
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.stored[value["oid"]]
            elif line["key"] == "deletedFile":
                del files[value["path"]]
        answer = {"commitUrl": f"{self.hub.url}/{name}/commit/x"}
        ref = revision
        if asked:
            number = len(repo.discussions) + 1
            repo.discussions.append(Discussion(header["summary"], header["description"]))
            ref, answer["pullRequestUrl"] = (
                f"refs/pr/{number}",
                f"{self.hub.url}/{name}/discussions/{number}",
            )
        sha = repo.commit(files, ref)
        repo.messages.append((ref, header["summary"], header["description"]))
        answer |= {"commitOid": sha, "commitUrl": f"{self.hub.url}/{name}/commit/{sha}"}
        self.say(200, answer)

    def discuss(self, name: str, repo: Repo, rest: list[str]) -> None:
        if not rest:
            open_ones = [
                self.one(name, number, each)
                for number, each in enumerate(repo.discussions, 1)
                if each.status == "open"
            ]
            self.say(200, {"discussions": open_ones, "count": len(open_ones), "start": 0})
            return
        number = int(rest[0])
        each = repo.discussions[number - 1]
        if rest[1:2] == ["comment"]:
            each.text, each.edits = json.loads(self.given)["content"], each.edits + 1
            self.say(200, {"updatedComment": self.event(each)})
        else:
            more = {"events": [self.event(each)], "filesWithConflicts": []}
            changes = {"base": "refs/heads/main"}
            self.say(200, {**self.one(name, number, each), **more, "changes": changes})

    def one(self, name: str, number: int, each: Discussion) -> dict[str, Any]:
        kind, _, plain = name.rpartition("datasets/")
        return {
            **{"num": number, "title": each.title, "status": each.status, "createdAt": WHEN},
            **{"author": {"name": each.author}, "isPullRequest": True},
            "repo": {"name": plain, "type": "dataset" if kind or "datasets/" in name else "model"},
        }

    def event(self, each: Discussion) -> dict[str, Any]:
        data = {"edited": each.edits > 0, "hidden": False, "latest": {"raw": each.text}}
        return {
            **{"id": "c0ffee", "type": "comment", "createdAt": WHEN, "data": data},
            "author": {"name": each.author},
        }

    def collections(self, rest: list[str]) -> None:
        if self.command == "GET" and not rest:
            owner = parse_qs(urlsplit(self.path).query)["owner"]
            self.say(200, [c.json(4) for c in self.hub.collections if c.owner in owner])
        elif not rest:
            asked = json.loads(self.given)
            made = Collection(asked["title"], asked["namespace"], asked["private"])
            self.hub.collections.append(made)
            self.say(200, made.json())
        else:
            slug = "/".join(rest[:2])
            (found,) = (c for c in self.hub.collections if c.slug == slug)
            if self.command == "POST":
                item = json.loads(self.given)["item"]
                found.items.append((item["type"], item["id"]))
            self.say(200, found.json())
