"""Asks the Hub what moved: one request a repository, and more only of those that did."""

from __future__ import annotations

import dataclasses
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tinybuild.compare import Side, compare
from tinybuild.compare.differences import Change
from tinybuild.dataset import formats
from tinybuild.drift import rows
from tinybuild.drift.moved import Answers, Moved, Questions, Said, State
from tinybuild.drift.pair import Asked, Pair
from tinybuild.errors import Fault
from tinybuild.files import copy, digest, inside, sha256
from tinybuild.source.hub import Head, head
from tinybuild.source.pins import taken, title
from tinybuild.source.repository import README

AT_ONCE = 8  # repositories that are asked at the same time


def ask(questions: Questions) -> Answers:
    """What became of the upstream of each pin, in their order. Writes nothing."""
    asked = [Asked.of(question) for question in questions.every]
    heads = {(one.address.noun, one.wish.text(), one.revision): one for one in asked}
    # Pins that are the same are compared once.
    keys = [digest([one.dataset, dict(one.wish.data), one.pin.json()]) for one in asked]
    with ThreadPoolExecutor(AT_ONCE) as threads:
        told = dict(zip(heads, threads.map(_head_or_fault, heads.values()), strict=True))
        alike = dict(zip(keys, asked, strict=True))
        compared = [
            (one, told[one.address.noun, one.wish.text(), one.revision]) for one in alike.values()
        ]
        moved = dict(zip(alike, threads.map(_moved, compared), strict=True))
    return Answers(
        every=tuple(
            dataclasses.replace(moved[key], recipe=question.recipe, slot=question.slot)
            for key, question in zip(keys, questions.every, strict=True)
        )
    )


def _head_or_fault(asked: Asked) -> Head | Fault:
    try:
        return head(asked.address, asked.revision)
    except Fault as fault:
        return fault


def _moved(both: tuple[Asked, Head | Fault]) -> Moved:
    """What became of the upstream of one pin; its owner is filled in by who knows it."""
    asked, now = both
    known = Moved(
        recipe="",
        slot="",
        source=title(asked.wish),
        state="same",
        revision=asked.revision,
        locked=asked.commit,
    )
    if isinstance(now, Fault):
        return dataclasses.replace(known, state="refused", refusals=_said(now))
    known = dataclasses.replace(known, now=now.commit)
    try:
        return _compared(asked, now, known)
    except Fault as fault:
        return dataclasses.replace(known, state="refused", refusals=_said(fault))


def _said(fault: Fault) -> tuple[Said, ...]:
    return tuple(Said(what=finding.what, hint=finding.hint) for finding in fault.findings)


def _compared(asked: Asked, now: Head, known: Moved) -> Moved:
    before, unread = dict(asked.pin.facts), list[str]()
    old: Head | None = None
    if now.commit != asked.commit:
        try:
            old = head(dataclasses.replace(asked.address, commit=asked.commit), asked.commit)
            before = {"license": old.facts.get("license", ""), **before}
        except Fault as fault:
            unread.append(fault.findings[0].what)
    changes = tuple(
        Change(name=name, before=before[name], after=now.facts.get(name, ""))
        for name in ("license", "language", "gated")
        if name in before and before[name] != now.facts.get(name, "")
    )
    known = dataclasses.replace(known, facts=changes)
    if now.commit != asked.commit:
        with tempfile.TemporaryDirectory() as folder:
            pair = Pair(asked=asked, old=old, new=now, folder=Path(folder), unread=unread)
            known = (_of_dataset if asked.dataset else _of_model)(pair, known)
    used = bool(known.files or known.facts or known.rows)
    moved: State = "commit" if now.commit != asked.commit else "same"
    return dataclasses.replace(known, state="moved" if used else moved, unread=tuple(unread))


def _of_model(pair: Pair, known: Moved) -> Moved:
    """Config keys, tokens and templates of the files that differ."""
    locked, wish = pair.asked.pin.files, pair.asked.wish
    names = sorted({*locked, *(name for name in pair.new.files if taken(wish, name))})
    changed = tuple(name for name in names if pair.changed(name))
    old, new = (pair.folder / side for side in ("old", "new"))
    for name in changed:
        before, after = pair.sides(name)
        if name in locked and (before is None or sha256(before) != locked[name].sha256):
            pair.unread.append(f"what changed in {name} cannot be shown: the locked one is gone")
            continue
        for path, side in ((before, old), (after, new)):
            if path is not None:
                copy(path, inside(side, name))
    told = compare(wish.text(), Side.of(old), Side.of(new))
    pair.unread.extend(told.unread)
    return dataclasses.replace(
        known,
        files=changed,
        settings=told.settings,
        templates=told.templates,
        vocabularies=told.vocabularies,
    )


def _of_dataset(pair: Pair, known: Moved) -> Moved:
    """Rows and columns, as the card says them, else as the files that differ have them."""
    names = pair.asked.pin.files.keys() - {README}
    if pair.old is not None:
        every = pair.old.files.keys() | pair.new.files.keys()
        names |= {name for name in every if formats.counts(name)}
    else:
        pair.unread.append("which files came or went beside those that were read is not known")
    changed = tuple(sorted(name for name in names if pair.changed(name)))
    splits = rows.said(*pair.sides(README)) if pair.changed(README) else ()
    if changed and not splits:
        splits = rows.held(pair, changed)
    return dataclasses.replace(known, files=changed, rows=splits)
