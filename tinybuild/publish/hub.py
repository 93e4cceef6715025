"""One target compared with its repository, and what is different sent in one commit.

Whatever was cut before, the next run finds out what is there and does the rest: a repository
without files of ours gets them, a pull request with our title is brought up to date.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tinybuild.bundle import SIGNATURE, SUMS
from tinybuild.errors import Fault, SourceFault
from tinybuild.publish import terms
from tinybuild.publish.asking import persistently
from tinybuild.publish.changes import changed, described
from tinybuild.publish.difference import difference
from tinybuild.publish.files import Local, listed, ready
from tinybuild.publish.identity import alone, trusted
from tinybuild.publish.target import Change, Published, State, Target

if TYPE_CHECKING:
    from huggingface_hub import CommitInfo, HfApi

ITS_OWN = (".gitattributes", "README.md")  # what the Hub puts into new repositories
PAPERS = {"recipe.yaml", "report.json"}  # what each of ours lists in its SHA256SUMS
FEW = 5  # files that a message names


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A file of a repository. oid: the sha256 of one in LFS, else what git calls its bytes."""

    oid: str
    size: int
    lfs: bool

    def holds(self, file: Local) -> bool:
        return self.oid == (file.sha256 if self.lfs else file.blob)


@dataclass(frozen=True, kw_only=True)
class Held:
    """What a revision of a repository holds. ours: SHA256SUMS, the names in it, the signature."""

    commit: str = ""
    files: Mapping[str, Entry] = field(default_factory=dict)
    ours: frozenset[str] = frozenset()

    @property
    def fresh(self) -> bool:
        """Whether nobody has put anything there."""
        return self.files.keys() <= {ITS_OWN[0]}


def publish(target: Target) -> Published:
    """Publish a target. Raises BuildFault where it is not as it was built, SourceFault where the
    Hub does not take it."""
    files = ready(target)
    with trusted(target):
        return persistently(target.repo, lambda: Publishing(target, files).run())


class Publishing:
    """One attempt: what is on the Hub, and what is to be there."""

    def __init__(self, target: Target, files: Mapping[str, Local]):
        from huggingface_hub import HfApi

        self.api: HfApi = HfApi()
        self.target, self.files = target, files
        self.main: Held | None = None
        self.warnings: tuple[str, ...] = ()

    def run(self) -> Published:
        from huggingface_hub.errors import RepositoryNotFoundError

        target = self.target
        try:
            self.main = self.held("main")
        except RepositoryNotFoundError:
            if target.dry:
                self.warnings = terms.warnings(self.api, target)
                return self.of("would create")
        if self.main and not self.main.ours and self.main.files.keys() - ITS_OWN:
            raise _taken(target, sorted(self.main.files.keys() - ITS_OWN))
        if self.main and not self.changes(self.main):
            return self.of("same")
        self.warnings = terms.warnings(self.api, target)
        direct = target.direct or self.main is None or self.main.fresh
        if target.dry:
            return self.of("would commit" if direct else "would propose")
        terms.allowed(target, self.warnings)
        if self.main is None and alone():
            raise _absent(target)
        if self.main is None:
            self.api.create_repo(
                target.repo, repo_type=target.kind, private=target.private or None, exist_ok=True
            )
            self.main = self.held("main")
        if direct:
            state: State = "created" if self.main.fresh else "committed"
            return self.of(state, str(self.commit(self.main, "main").commit_url))
        return self.propose(self.main)

    # --- what is there ----------------------------------------------------------------------------

    def held(self, revision: str) -> Held:
        """What a revision holds."""
        from huggingface_hub.hf_api import RepoFile

        repo, kind = self.target.repo, self.target.kind
        commit = self.api.repo_info(repo, repo_type=kind, revision=revision).sha
        assert commit is not None
        tree = self.api.list_repo_tree(repo, repo_type=kind, revision=commit, recursive=True)
        files = {
            file.path: Entry(
                oid=file.lfs.sha256 if file.lfs else file.blob_id,
                size=file.size,
                lfs=file.lfs is not None,
            )
            for file in tree
            if isinstance(file, RepoFile)
        }
        return Held(commit=commit, files=files, ours=self.ours(commit, files))

    def ours(self, commit: str, files: Mapping[str, Entry]) -> frozenset[str]:
        """SHA256SUMS, the names in it, and the signature; nothing where there is none, or it is
        not one of ours."""
        if SUMS not in files:
            return frozenset()
        if files[SUMS].holds(self.files[SUMS]):  # ours of today: nothing to fetch
            return frozenset((*self.files, SIGNATURE))
        with tempfile.TemporaryDirectory(prefix="tinybuild-") as folder:
            text = self.fetched(SUMS, commit, folder).read_text(encoding="utf-8", errors="replace")
        names = listed(text)
        return frozenset((SUMS, SIGNATURE, *names) if names.keys() >= PAPERS else ())

    def others(self, held: Held) -> dict[str, Entry]:
        """What a revision holds that is neither ours nor to be."""
        known = {*self.files, *held.ours}
        return {name: entry for name, entry in held.files.items() if name not in known}

    @property
    def kept(self) -> tuple[str, ...]:
        others = self.others(self.main or Held())
        return tuple(sorted(name for name in others if name not in ITS_OWN))

    def changes(self, held: Held) -> tuple[Change, ...]:
        """What has to be done to what a revision holds, so that it holds the bundle. The same files
        signed once more are the same."""
        found = tuple(changed(held.files, self.files, held.ours))
        again = [(change.path, change.what) for change in found] == [(SIGNATURE, "changed")]
        return () if again else found

    # --- what is done -----------------------------------------------------------------------------

    @property
    def title(self) -> str:
        return f"Update {self.target.name} from its recipe"

    @functools.cached_property
    def description(self) -> str:
        """The files that change; and what that changes in the bundle, where one is published."""
        main = self.main or Held()
        changes = self.changes(main)
        text = described(self.target.name, changes)
        if not main.ours or not changes:
            return text
        # Those that are the same need not be fetched.
        held: dict[str, Path | bytes] = {
            name: file.data for name, file in self.files.items() if name in main.files
        }
        with tempfile.TemporaryDirectory(prefix="tinybuild-") as folder:
            for change in changes:
                if change.before is not None:
                    held[change.path] = self.fetched(change.path, main.commit, folder)
            return f"{text}\n\n{difference(self.target.name, held, self.files)}"

    def fetched(self, path: str, commit: str, folder: str) -> Path:
        """A file of a commit, in a folder of our own: the user's cache is left alone."""
        return Path(
            self.api.hf_hub_download(
                self.target.repo,
                path,
                repo_type=self.target.kind,
                revision=commit,
                cache_dir=folder,
            )
        )

    def commit(self, held: Held, revision: str, *, propose: bool = False) -> CommitInfo:
        """One commit of what is different, on what was looked at."""
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        operations: list[CommitOperationAdd | CommitOperationDelete] = []
        for change in self.changes(held):
            if change.what == "deleted":
                operations.append(CommitOperationDelete(path_in_repo=change.path))
            else:
                data = self.files[change.path].data
                operations.append(CommitOperationAdd(change.path, data))
        return self.api.create_commit(
            self.target.repo,
            operations,
            commit_message=self.title,
            commit_description=self.description,
            repo_type=self.target.kind,
            revision=revision,
            create_pr=propose,
            parent_commit=held.commit,
        )

    def propose(self, main: Held) -> Published:
        """A pull request with the bundle: the one that is open, or a new one."""
        for number, held in self.proposed(main):
            state: State = "waiting"
            if self.changes(held):
                self.commit(held, f"refs/pr/{number}")
                state = "pull request"
            self.tell(number)
            place = f"datasets/{self.target.repo}" if self.target.kind == "dataset" else ""
            place = f"{self.api.endpoint}/{place or self.target.repo}/discussions/{number}"
            return self.of(state, place)
        return self.of("pull request", str(self.commit(main, "main", propose=True).pr_url))

    def proposed(self, main: Held) -> Iterable[tuple[int, Held]]:
        """The open pull requests of ours: with our title, and no file of others touched."""
        repo, kind = self.target.repo, self.target.kind
        open_ones = self.api.get_repo_discussions(
            repo, repo_type=kind, discussion_type="pull_request", discussion_status="open"
        )
        for each in open_ones:
            if each.title == self.title and each.is_pull_request:
                held = self.held(f"refs/pr/{each.num}")
                if self.others(held) == self.others(main):
                    yield each.num, held

    def tell(self, number: int) -> None:
        """Let a pull request's description be that of the changes to main."""
        repo, kind = self.target.repo, self.target.kind
        details = self.api.get_discussion_details(repo, number, repo_type=kind)
        first = next((event for event in details.events if event.type == "comment"), None)
        if first is not None and getattr(first, "content", "") != self.description:
            self.api.edit_discussion_comment(
                repo, number, first.id, self.description, repo_type=kind
            )

    def of(self, state: State, url: str = "") -> Published:
        return Published(
            name=self.target.name,
            kind=self.target.kind,
            repo=self.target.repo,
            state=state,
            url=url,
            changes=self.changes(self.main or Held()),
            kept=self.kept,
            warnings=self.warnings,
            description=self.description,
        )


def _absent(target: Target) -> Fault:
    return SourceFault.of(
        f"{target.repo} is not on the Hub yet, and a workflow that the Hub trusts cannot create it",
        hint=f"a person does, once, with a token of their own (hf auth login): tinybuild publish "
        f"{target.name}",
    )


def _taken(target: Target, names: Sequence[str]) -> Fault:
    more = f" and {len(names) - FEW} more" if len(names) > FEW else ""
    return SourceFault.of(
        f"{target.repo} holds files that tinybuild did not publish: {', '.join(names[:FEW])}{more}",
        key=("publish", "repo" if target.kind == "model" else "dataset_repo"),
        hint="name another repository; or delete these files there, if nobody needs them",
    )
