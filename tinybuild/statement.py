"""provenance.json of a bundle: how it was made, as others read it.

An in-toto statement, version 1 (https://in-toto.io/Statement/v1), whose predicate is SLSA's
provenance, version 1 (https://slsa.dev/spec/v1.0/provenance). It is not signed by itself, and names
no time, so that two builds of a recipe leave the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tinybuild import wire
from tinybuild.bundle import DATASET, MADE, MAKINGS, SUMS, alone
from tinybuild.paths import Data, mapping


@dataclass(frozen=True, kw_only=True)
class Resource:
    """A file, a repository or a distribution. digest: algorithm -> hexadecimal digits; gitCommit is
    the commit of a repository. uri: hf://OWNER/NAME@COMMIT, or a package URL."""

    name: str = ""
    uri: str = ""
    digest: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a build depends on beside the files that it read. recipe: its name, which the seeds
    depend on. zoo: what zoo.yaml said of publishing, which the cards follow."""

    recipe: str
    zoo: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class BuildDefinition:
    buildType: Literal["urn:tinybuild:recipe:v1"]
    externalParameters: Asked
    resolvedDependencies: tuple[Resource, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Builder:
    """version: of each program and library that decides the bytes of a bundle, tinybuild's own."""

    id: Literal["urn:tinybuild"]
    version: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class RunDetails:
    builder: Builder


@dataclass(frozen=True, kw_only=True)
class Provenance:
    buildDefinition: BuildDefinition
    runDetails: RunDetails


@dataclass(frozen=True, kw_only=True)
class Statement:
    """subject: each file of the bundle but this one and SHA256SUMS, which names this one too."""

    _type: Literal["https://in-toto.io/Statement/v1"]
    subject: tuple[Resource, ...]
    predicateType: Literal["https://slsa.dev/provenance/v1"]
    predicate: Provenance

    @property
    def asked(self) -> Asked:
        return self.predicate.buildDefinition.externalParameters

    @property
    def toolchain(self) -> Mapping[str, str]:
        return self.predicate.runDetails.builder.version


def write(sums: Mapping[str, str], asked: Asked, toolchain: Mapping[str, str], lock: Data) -> Data:
    """The statement as JSON data. sums: file of the bundle -> its sha256. lock: that of the bundle,
    whose pins name what was read."""
    own = {file: digest for file, digest in sums.items() if file.startswith(MAKINGS)}
    read = (*_resources(own), *_pinned(mapping(lock["pins"])))
    made = Statement(
        _type="https://in-toto.io/Statement/v1",
        subject=tuple(_resources(sums)),
        predicateType="https://slsa.dev/provenance/v1",
        predicate=Provenance(
            buildDefinition=BuildDefinition(
                buildType="urn:tinybuild:recipe:v1",
                externalParameters=asked,
                resolvedDependencies=read,
            ),
            runDetails=RunDetails(builder=Builder(id="urn:tinybuild", version=toolchain)),
        ),
    )
    told: Data = wire.dump(made)
    return told


def read(folder: Path) -> Statement:
    """That of a bundle. Raises OSError, ValueError (wire.Misshapen too), RecursionError."""
    return wire.load(Statement, json.loads((folder / MADE).read_bytes()))


def unlike(told: Statement, listed: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """(file, what of it is not as the statement says), of files and sha256 as SHA256SUMS lists
    them. A dataset that was published by itself is held to its part of the statement."""
    told_of = {one.name: one.digest.get("sha256", "") for one in told.subject}
    inside = f"{DATASET}/"
    have = [any(file.startswith(inside) for file in files) for files in (told_of, listed)]
    if have == [True, False]:
        told_of = {file: told_of[at] for file, at in alone(told_of).items()}
    for file in sorted({*told_of, *listed} - {MADE, SUMS}):
        if file not in listed:
            yield file, f"is in {MADE} and not in {SUMS}"
        elif file not in told_of:
            yield file, f"is in {SUMS} and not in {MADE}"
        elif told_of[file] != listed[file]:
            yield file, f"has another sha256 in {MADE} than in {SUMS}"


def _resources(sums: Mapping[str, str]) -> Iterator[Resource]:
    for file, digest in sorted(sums.items()):
        yield Resource(name=file, digest={"sha256": digest})


def _pinned(pins: Data) -> Iterator[Resource]:
    """What the pins of a lock hold: repositories at their commits, and the files that were read."""
    for slot, pin in sorted(pins.items()):
        told = mapping(pin)
        wish, commit = mapping(told["wish"]), told.get("commit")
        if isinstance(commit, str):
            kind = "datasets/" if DATASET in (slot, told.get("type")) else ""
            uri = f"hf://{kind}{wish['hub']}@{commit}"
            yield Resource(name=slot, uri=uri, digest={"gitCommit": commit})
        if isinstance(told.get("version"), str):
            yield Resource(name=slot, uri=f"pkg:pypi/{wish['package']}@{told['version']}")
        for file, entry in sorted(mapping(told["files"]).items()):
            yield Resource(name=f"{slot}/{file}", digest={"sha256": str(mapping(entry)["sha256"])})
