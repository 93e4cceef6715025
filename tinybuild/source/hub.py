"""Config and tokenizer files of a model repository of the Hugging Face Hub."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tinybuild.files import Memo
from tinybuild.paths import Data, Json
from tinybuild.source.kinds import Request, Resolved
from tinybuild.source.pins import Wish, check_sizes, fault, taken

if TYPE_CHECKING:
    from huggingface_hub import HfApi

T = TypeVar("T")


def look(wish: Wish, memo: Memo) -> Json:
    return None  # the lock decides; nothing is asked of the network


def resolve(request: Request) -> Resolved:
    from huggingface_hub import HfApi

    wish, lock = request.wish, request.lock
    repo, revision = wish.text(), wish.text("revision", "main")
    api = HfApi()
    if lock is not None:
        commit, names = lock.facts["commit"], list(lock.files)
    else:
        info = ask(wish, lambda: api.model_info(repo, revision=revision, files_metadata=True))
        commit = str(info.sha)
        chosen = {
            file.rfilename: file.size or 0
            for file in info.siblings or ()
            if taken(wish, file.rfilename)
        }
        if not chosen:
            raise fault(wish, f"{repo} at {revision} holds no config or tokenizer file")
        check_sizes(wish, chosen.items())
        names = sorted(chosen)
    return Resolved(
        facts={"commit": commit},
        files={name: functools.partial(_download, wish, api, repo, commit, name) for name in names},
    )


def _download(wish: Wish, api: HfApi, repo: str, commit: str, name: str) -> Path:
    return Path(ask(wish, lambda: api.hf_hub_download(repo, name, revision=commit)))


def ask(wish: Wish, question: Callable[[], T]) -> T:
    """Put a question to the Hub; its refusals become faults. Tokens never appear in them."""
    import httpx2
    from huggingface_hub import errors

    repo, revision = wish.text(), wish.text("revision", "main")
    noun = "dataset" if wish.slot == "dataset" else "model"
    try:
        return question()
    except errors.GatedRepoError:
        hint = f"accept its terms on the Hub, then log in: hf auth login ({repo})"
        raise fault(wish, f"{repo} is gated", hint) from None
    except errors.RepositoryNotFoundError:
        hint = "check the name; a private one needs a login: hf auth login"
        raise fault(wish, f"the Hub has no {noun} {repo} that you may see", hint) from None
    except errors.RevisionNotFoundError:
        raise fault(
            wish,
            f"{repo} has no revision {revision}",
            "check the branch, tag or commit",
            "revision",
        ) from None
    except errors.EntryNotFoundError as error:
        raise fault(wish, f"{repo}: {error}", "its lock may be stale; delete it") from None
    except (
        errors.HfHubHTTPError,
        errors.LocalEntryNotFoundError,
        errors.OfflineModeIsEnabled,
        httpx2.HTTPError,
        ConnectionError,
        TimeoutError,
    ) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        hint = "check the network (and HF_ENDPOINT, HF_HUB_OFFLINE), then run doit again"
        raise fault(wish, f"the Hub cannot be reached for {repo}: {reason}", hint) from None


def made_from(wish: Data, facts: Mapping[str, str]) -> str:
    return f"`{wish['hub']}` on the Hub at commit `{facts['commit']}`"
