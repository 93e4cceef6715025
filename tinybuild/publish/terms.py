"""Whether what a bundle passes on of its sources may be passed on, as far as the Hub knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from tinybuild.errors import SourceFault
from tinybuild.publish.target import Origin, Target

if TYPE_CHECKING:
    from huggingface_hub import HfApi

UNKNOWN = ("other", "unknown")


def warnings(api: HfApi, target: Target) -> tuple[str, ...]:
    """A sentence for each source that is gated, or whose licence does not say that it may be passed
    on. Nothing is asked where the bundle passes nothing on."""
    told = [(origin, reason(api, origin)) for origin in target.sources]
    return tuple(
        f"{target.name} holds {origin.what} of {origin.repo}, {why}" for origin, why in told if why
    )


def reason(api: HfApi, origin: Origin) -> str:
    """What stands against passing a source on; "" where nothing is known to."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    try:
        info = api.repo_info(origin.repo, repo_type=origin.kind)
    except GatedRepoError:
        return "which is gated"
    except RepositoryNotFoundError:
        return "which is not there any more, or is private"
    if getattr(info, "gated", False):
        return "which is gated"
    if getattr(info, "private", False):
        return "which is private"
    data = getattr(info, "card_data", None)
    said = cast("Mapping[str, object]", data.to_dict() if data is not None else {}).get("license")
    licences = [str(one) for one in (said if isinstance(said, list) else [said]) if one]
    if not licences:
        return "which names no licence"
    doubtful = [one for one in licences if one in UNKNOWN or "-nd" in one]
    return f"and its licence is {doubtful[0]}" if doubtful else ""


def allowed(target: Target, warnings: tuple[str, ...]) -> None:
    """Raises SourceFault where there are warnings that the recipe does not answer."""
    if warnings and not target.redistribute:
        hint = (
            "where its terms allow that, write publish.redistribute: true into the recipe; "
            "else train a tokenizer of your own (tokenizer: {method: train})"
        )
        raise SourceFault.of("; ".join(warnings), key=("publish",), hint=hint)
