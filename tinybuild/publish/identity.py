"""Who publishes without a secret: a workflow, which the Hub trusts for one repository."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from tinybuild.errors import SourceFault
from tinybuild.publish.target import Target

RESOURCE = "HF_OIDC_RESOURCE"  # what the Hub's client asks a token for
# GitHub sets these where a job has the permission id-token: write.
ISSUER = ("ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN")


@contextlib.contextmanager
def trusted(target: Target) -> Iterator[None]:
    """Inside, the Hub's client trades the identity of a workflow's run for a token of the target's
    repository. Nothing of it where somebody gave a token, or this is no such run. Raises
    SourceFault where the Hub does not trust the workflow."""
    given = os.environ.get("HF_TOKEN") or os.environ.get(RESOURCE)
    if given or any(name not in os.environ for name in ISSUER):
        yield
        return
    os.environ[RESOURCE] = target.repo if target.kind == "model" else f"datasets/{target.repo}"
    try:
        _exchanged(target.repo, target.name)
        yield
    finally:
        del os.environ[RESOURCE]


def _exchanged(repo: str, name: str) -> None:
    """The trade, whose token the client keeps until it expires; first, so that a refusal of it is
    not taken for one of the repository."""
    from huggingface_hub import get_token
    from huggingface_hub.errors import HfHubHTTPError, OIDCError

    try:
        get_token()
    except (OIDCError, HfHubHTTPError):
        raise SourceFault.of(
            f"the Hub does not trust this workflow for {repo}",
            hint="in the settings of that repository on the Hub, add this repository and workflow "
            "under Trusted Publishers; a repository that is not there yet is made by a person "
            "first, from a checkout and with a token of their own (hf auth login): "
            f"tinybuild publish {name}",
        ) from None


def alone() -> bool:
    """Whether what publishes is trusted for one repository, which has to be there."""
    return RESOURCE in os.environ
