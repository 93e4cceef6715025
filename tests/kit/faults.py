"""Refusals: one helper with one set of guarantees."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from tinybuild.errors import Fault, Finding


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """What a call was refused with."""

    fault: type[Fault]
    findings: tuple[Finding, ...]
    text: str

    @property
    def only(self) -> Finding:
        """The finding, where there is exactly one."""
        (finding,) = self.findings
        return finding

    @property
    def what(self) -> str:
        return self.only.what

    @property
    def hint(self) -> str:
        return self.only.hint

    @property
    def key(self) -> tuple[str | int, ...]:
        """The place in the recipe of the first finding."""
        return self.findings[0].key


def refused(call: Callable[..., Any], *args: Any, **more: Any) -> Refusal:
    """What `call(*args, **more)` is refused with.

    Holds for every refusal: it is a Fault (not a bug) with at least one finding, each of which says
    what is wrong and where in the recipe or in which file, and no message names a folder of this
    machine.
    """
    with pytest.raises(Fault) as caught:
        call(*args, **more)
    findings = caught.value.findings
    assert findings, "a refusal without findings"
    for finding in findings:
        assert finding.what, "a finding that says nothing"
        assert finding.key or finding.where, f"nobody knows where: {finding.what}"
    text = str(caught.value)
    assert tempfile.gettempdir() not in text, text
    return Refusal(fault=type(caught.value), findings=tuple(findings), text=text)
