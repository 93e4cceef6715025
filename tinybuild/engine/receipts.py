"""What a stage leaves beside its files: the receipt, its provenance, and notes of failures."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from tinybuild import wire
from tinybuild.files import PROVENANCE, RECEIPT, Entry, pretty
from tinybuild.paths import Data, Json
from tinybuild.wire import Misshapen


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """What came out of a stage: content only, no time, no host, no path of a machine."""

    files: Mapping[str, Entry]
    facts: Data


@dataclass(frozen=True, kw_only=True)
class State:
    """Everything that decides what a task makes, as JSON data that is only compared.

    inputs: need -> digest of what it names of another receipt (None: that is not there). upstream:
    slot -> what can be seen of it. code: digest of {file: sha256}, which stands once for all
    receipts in build/.code-DIGEST.json, to say which file changed. versions: of the toolchain.
    """

    settings: Data
    seed: int
    inputs: Data
    upstream: Data
    code: str
    versions: Data


@dataclass(frozen=True, kw_only=True)
class Provenance(State):
    """How a receipt came to be; nothing depends on it. receipt: sha256 of the receipt's text."""

    task: str
    receipt: str


@dataclass(frozen=True, kw_only=True)
class Said:
    """A finding, as it was told."""

    what: str
    where: str
    hint: str


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a task failed. kind: the fault's class. state: digest of the state it failed in: of
    another state it says nothing. report: what the validate stage measured, if it came to that.
    trace: of what a library raised of a source's file, where nobody foresaw that."""

    version: int
    task: str
    kind: str
    state: str
    findings: tuple[Said, ...]
    report: Data | None
    trace: str = ""


def papers(folder: str) -> tuple[Receipt, State] | tuple[None, None]:
    """The receipt and the state that a stage's folder tells; None and None unless they belong
    together: the provenance holds the receipt's digest, so an edited one is none, and is as it was
    written, to the byte."""
    text, paper = read(f"{folder}/{RECEIPT}"), read(f"{folder}/{PROVENANCE}")
    before = data(paper)
    try:
        told = wire.load(Provenance, before)
        if told.receipt == sha256(text) and pretty(before).encode() == paper:
            return wire.load(Receipt, data(text)), told
    except (Misshapen, ValueError):  # NaN, half of a character
        pass
    return None, None


def written(task: str, receipt: Receipt, state: State) -> dict[str, str]:
    """The two papers: name -> text."""
    text = pretty(wire.dump(receipt))
    before = {"task": task, "receipt": sha256(text.encode()), **wire.dump(state)}
    return {RECEIPT: text, PROVENANCE: pretty(before)}


def failure(text: bytes) -> Failure | None:
    try:
        return wire.load(Failure, data(text))
    except Misshapen:
        return None


def read(path: str) -> bytes:
    """A file's bytes; none where there is no file."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - read 12,000 times for 1,000 recipes
            return file.read()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return b""


def data(text: bytes) -> Json:
    """JSON data; None where the text is not JSON."""
    try:
        loaded: Json = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return loaded


def sha256(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()
