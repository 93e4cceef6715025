"""yaml-language-server, the one that editors run, asked over its standard input as they ask it.

`npm install yaml-language-server` in a folder, which TINYBUILD_NODE names, or `npm install -g`.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

NAME = "yaml-language-server"


@dataclass
class Editor:
    """A running server, and what it has found wrong: uri -> messages."""

    process: subprocess.Popen[bytes]
    sent: int = 0
    wrong: dict[str, list[str]] = field(default_factory=dict)

    def open(self, file: Path, text: str) -> list[str]:
        """What the server says of a text, as if it stood in that file."""
        document = {"uri": file.as_uri(), "languageId": "yaml", "version": 1, "text": text}
        self.tell("textDocument/didOpen", {"textDocument": document})
        while file.as_uri() not in self.wrong:
            self.take()
        return self.wrong[file.as_uri()]

    def offered(self, file: Path, text: str) -> dict[str, str]:
        """What can be typed where `|` stands in the text, and what is said of each."""
        before = text[: text.index("|")].split("\n")
        self.open(file, text.replace("|", ""))
        place = {"line": len(before) - 1, "character": len(before[-1])}
        asked = {"textDocument": {"uri": file.as_uri()}, "position": place}
        items = self.ask("textDocument/completion", asked)["items"]
        return {item["label"]: str(item.get("documentation", "")) for item in items}

    def ask(self, method: str, params: Any) -> Any:
        self.sent += 1
        self.send({"id": self.sent, "method": method, "params": params})
        while (answer := self.take()).get("id") != self.sent or "method" in answer:
            pass
        return answer["result"]

    def tell(self, method: str, params: Any) -> None:
        self.send({"method": method, "params": params})

    def send(self, message: dict[str, Any]) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        assert self.process.stdin is not None
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        self.process.stdin.flush()

    def take(self) -> dict[str, Any]:
        """The next message of the server; what it asks of an editor gets an empty answer."""
        assert self.process.stdout is not None
        length = 0
        while line := self.process.stdout.readline().strip():
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        assert length, "the server ended"
        message: dict[str, Any] = json.loads(self.process.stdout.read(length))
        if message.get("method") == "textDocument/publishDiagnostics":
            told = message["params"]
            self.wrong[told["uri"]] = [one["message"] for one in told["diagnostics"]]
        elif "method" in message and "id" in message:
            empty = [{}] if message["method"] == "workspace/configuration" else None
            self.send({"id": message["id"], "result": empty})
        return message


@contextlib.contextmanager
def editor(root: Path) -> Iterator[Editor]:
    """The server in a folder; the test is skipped, saying so, where none is installed."""
    folder = os.environ.get("TINYBUILD_NODE")
    path = os.pathsep.join([f"{folder}/node_modules/.bin"] if folder else []) or None
    program = shutil.which(NAME, path=path) or shutil.which(NAME)
    if program is None:
        pytest.skip(f"no {NAME} is installed: `npm install {NAME}`, TINYBUILD_NODE names where")
    # An environment without a proxy or a network of its own: the schema is a file beside it.
    process = subprocess.Popen(
        [program, "--stdio"], cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        made = Editor(process)
        made.ask("initialize", {"processId": None, "rootUri": root.as_uri(), "capabilities": {}})
        made.tell("initialized", {})
        store = {"yaml": {"schemaStore": {"enable": False}, "completion": True, "validate": True}}
        made.tell("workspace/didChangeConfiguration", {"settings": store})
        yield made
    finally:
        process.kill()
        process.communicate()
