"""What went wrong, where, and what to do: the faults a user can cause and mend.

Everything raised on purpose is a `Fault`. It ends in exit code 1 and a message without a traceback;
any other exception is a bug of ours and keeps its traceback (exit code 2).
"""

from __future__ import annotations

import difflib
import importlib
import importlib.metadata
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

LONGEST, HALF = 3_000, 200  # characters of a line of a message, and what is shown of a longer one
# What no terminal, log or file takes as it is: halves of characters, and what steers a terminal.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """A text that may hold what an upstream says, as one that can be shown and written anywhere:
    of a line as long as a file, the beginning and the end."""
    text = _UNPRINTABLE.sub(lambda found: repr(found[0])[1:-1], text)
    if len(text) <= LONGEST:
        return text
    lines = text.split("\n")
    cut = (f"{line[:HALF]} ... {line[-HALF:]}" if len(line) > LONGEST else line for line in lines)
    return "\n".join(cut)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is wrong.

    `where` is a place a person can go to ("recipes/x.yaml:3:5", "model:x"). `key` is a path inside
    the recipe, for findings made where the recipe's file is not at hand; whoever holds the file
    turns it into a `where`.
    """

    what: str
    where: str = ""
    hint: str = ""
    key: tuple[str | int, ...] = ()

    def __post_init__(self) -> None:
        for name in ("what", "where", "hint"):
            object.__setattr__(self, name, printable(getattr(self, name)))

    def __str__(self) -> str:
        head = f"{self.where}: {self.what}" if self.where else self.what
        return f"{head}\n  hint: {self.hint}" if self.hint else head


class Fault(Exception):
    """One or more findings that stop a task. Subclasses name the kind of trouble."""

    def __init__(self, findings: Iterable[Finding]):
        self.findings = tuple(findings)
        super().__init__(self.findings)

    @classmethod
    def of(
        cls, what: str, *, where: str = "", hint: str = "", key: Iterable[str | int] = ()
    ) -> Fault:
        return cls([Finding(what=what, where=where, hint=hint, key=tuple(key))])

    def advise(self, key: tuple[str | int, ...], hint: str) -> None:
        """Give a hint to the findings of this key that have none."""
        self.findings = tuple(
            replace(found, hint=hint) if found.key == key and not found.hint else found
            for found in self.findings
        )

    def __str__(self) -> str:
        return "\n".join(str(finding) for finding in self.findings)


class RecipeFault(Fault):
    """The recipe asks for something that cannot be."""


class SourceFault(Fault):
    """An upstream is missing, unreadable, or not what its lock says."""


class BuildFault(Fault):
    """A stage could not make what it was asked for."""


class PackageFault(BuildFault):
    """A package that this needs is not installed, or does not load here."""

    @classmethod
    def lacking(
        cls, what: str, package: str, key: Iterable[str | int] = (), hint: str = ""
    ) -> Fault:
        """`what` needs the package (or the module of it); it is the subject of the sentence."""
        top = package.partition(".")[0]
        package = PACKAGES.get(top, top)
        return cls.of(
            f"{what} needs the package {package}, which is not installed or does not load here",
            key=key,
            hint=hint or install(package),
        )


class CheckFault(Fault):
    """The built model, tokenizer or dataset failed a check."""


# Modules whose package has another name.
PACKAGES = {
    "PIL": "pillow",
    "cv2": "opencv-python-headless",
    "google": "protobuf",
    "mistral_common": "mistral-common",
    "sentence_transformers": "sentence-transformers",
}
DISTRIBUTION = "tinybuild-models"  # tinybuild is somebody else's on PyPI
# What each extra of pyproject.toml installs.
EXTRAS = {
    "zoo": ("mistral-common", "protobuf", "sacremoses", "sentencepiece"),
    "media": ("pillow", "soundfile", "soxr"),
    "architectures": ("diffusers", "opencv-python-headless", "pytesseract", "scipy", "timm"),
    "formats": ("gguf", "peft", "sentence-transformers"),
    "sign": ("model-signing", "pyopenssl"),
    "store": ("s3fs",),
    "dask": ("distributed",),
}


# Each version loads beside one build of torch (timm brings torchvision); where that is not PyPI's,
# the index of the build has theirs as well.
COMPILED = ("torchvision", "torchaudio")
BUILDS = "https://download.pytorch.org/whl"


def install(package: str) -> str:
    """The command that installs a package: by the extra that brings it, or by itself. In a copy of
    the repository constraints.txt names the versions. What is compiled for torch comes from where
    torch came from; where it is installed already, it is that which does not load."""
    extra = next((extra for extra, names in EXTRAS.items() if package in names), None)
    here = Path("tinybuild/errors.py").absolute() == Path(__file__).absolute()
    options = ["-c constraints.txt"] if here else []
    wanted = package if extra is None else f"'{DISTRIBUTION}[{extra}]'"
    wanted = f"-e '.[{extra}]'" if here and extra is not None else wanted
    if package in (*COMPILED, "timm"):
        build = version("torch").partition("+")[2]
        options += [f"--extra-index-url {BUILDS}/{build}"] if build else []
        known = version(package).partition("+")[0] if package in COMPILED else ""
        if known:
            options += ["--force-reinstall", "--no-deps"] if build else ["--force-reinstall"]
            wanted = f"{package}=={known}" if build else package
    return " ".join(["pip install", *options, wanted])


def version(package: str) -> str:
    """The version of an installed package; "" where it is not there."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def require(what: str, module: str, key: Iterable[str | int] = ()) -> None:
    """Raises PackageFault where a module that `what` needs cannot be imported."""
    try:
        importlib.import_module(module)
    except (ImportError, OSError):  # OSError: a library that it binds is not there
        raise PackageFault.lacking(what, module, key) from None


def first_line(error: BaseException) -> str:
    """The first line of what an error says that says something; "" where none does."""
    return next((text for line in str(error).splitlines() if (text := line.strip())), "")


def nearest(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """The known names most like `name`, best first; also those that contain it, or are in it."""
    known = sorted(set(known))
    close = difflib.get_close_matches(name, known, n=count, cutoff=0.6)
    inside = [k for k in known if len(name) > 3 and (name in k or (k in name and len(k) > 2))]
    close += [k for k in inside if k not in close]
    return close[:count]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint that names the nearest known names, or lists all of them when none is near."""
    known = sorted(set(known))
    close = nearest(name, known)
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"known: {', '.join(known)}" if known else ""
