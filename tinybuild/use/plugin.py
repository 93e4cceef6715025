"""The pytest plugin: `tiny("llama")`, `@pytest.mark.tiny(...)`, `--tiny-zoo` and `--tiny-as`.

pytest loads it wherever tinybuild is installed, so it does nothing until a test asks for it.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

if TYPE_CHECKING:
    from tinybuild.errors import Fault
    from tinybuild.paths import Json
    from tinybuild.use.loaded import Bundle
    from tinybuild.use.zoo import Zoo

MARK = (
    "tiny(*names, **abilities): run the test once for each of these bundles, or for each that is "
    'all this: tiny(kind="moe", tp=2, modality="image"); the fixture of the same name takes it'
)
VARIABLE = "TINYBUILD_AS"  # what is laid out already, for the workers of pytest-xdist


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("tinybuild", "tiny models")
    group.addoption(
        "--tiny-zoo",
        metavar="DIR",
        help="the zoo, or a folder of built bundles [TINYBUILD_ZOO, or the nearest zoo above]",
    )
    group.addoption(
        "--tiny-as",
        metavar="PUBLIC/ID=NAME",
        action="append",
        default=[],
        help="load the bundle NAME where a test asks the Hub for PUBLIC/ID; can be repeated",
    )
    parser.addini("tiny_zoo", "the zoo, or a folder of built bundles, beside the ini-file")
    parser.addini("tiny_as", "lines of PUBLIC/ID=NAME, as --tiny-as", type="linelist", default=[])


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", MARK)


# --- the bundles of a run -------------------------------------------------------------------------


@dataclass
class Run:
    """What one run of pytest has built. known: name -> what is wrong with it, "" where nothing is.
    whole: whether that is the whole zoo. wanted: names that marks ask for. shared: where the
    workers of pytest-xdist leave what they know for one another."""

    zoo: Zoo
    shared: Path | None
    known: dict[str, str] = field(default_factory=dict)
    whole: bool = False
    wanted: set[str] = field(default_factory=set)

    def bundle(self, name: str, scratch: Path) -> Bundle:
        """A bundle, built before; where it cannot be, the test fails."""
        from tinybuild.use.loaded import Bundle

        if name not in self.known:
            with self._together():
                if name not in self.known:
                    self._build(name)
        if self.known[name]:
            pytest.fail(f"there is no bundle {name}\n{self.known[name]}", pytrace=False)
        return Bundle(self.zoo.bundles / name, scratch)

    def able(self, wanted: Mapping[str, Json]) -> list[str]:
        """The bundles of the zoo that are all this. Raises Fault, also where there are none."""
        from tinybuild.catalog.query import matching, unknown
        from tinybuild.catalog.rows import rows
        from tinybuild.errors import RecipeFault

        with self._together():
            if not self.whole:
                self._note(self.zoo.built([]))
                self.whole = True
        mine = [row for row in rows(self.zoo.bundles) if self.known.get(row.name) == ""]
        names = [row.name for row in matching(mine, wanted)]
        if not names:
            said = ", ".join(f"{key}={value!r}" for key, value in wanted.items())
            what, hint = (
                f"no bundle of the zoo is all this: {said}",
                "; ".join(unknown(mine, wanted)),
            )
            raise RecipeFault.of(what, hint=hint)
        return names

    def _build(self, name: str) -> None:
        """All that marks want at once; where that cannot be begun, this one alone."""
        from tinybuild.errors import Fault

        for names in ({name, *self.wanted} - {*self.known}, {name}):
            try:
                self._note(self.zoo.built(sorted(names)))
                return
            except Fault as fault:
                said = str(fault)
        self.known[name] = said

    def _note(self, built: Mapping[str, Fault | None]) -> None:
        self.known |= {name: "" if fault is None else str(fault) for name, fault in built.items()}

    @contextlib.contextmanager
    def _together(self) -> Iterator[None]:
        """One worker at a time, with what the others know."""
        from tinybuild.files import locked, write

        if self.shared is None:
            yield
            return
        place = self.shared / "tinybuild.json"
        with locked(place, lambda: None):
            if place.is_file():
                told = json.loads(place.read_text(encoding="utf-8"))
                self.known |= told["known"]
                self.whole |= told["whole"]
            yield
            write(place, json.dumps({"known": self.known, "whole": self.whole}))


RUN = pytest.StashKey[Run]()


def _run(config: pytest.Config) -> Run:
    """The run that a config is of. A worker of pytest-xdist has a folder below that of the run."""
    if RUN not in config.stash:
        own = config.getoption("basetemp", None) if hasattr(config, "workerinput") else None
        shared = Path(own).parent if own else None
        config.stash[RUN] = Run(zoo=_zoo(config), shared=shared)
    return config.stash[RUN]


def _zoo(config: pytest.Config) -> Zoo:
    """The zoo that the options, or the ini-file, name."""
    from tinybuild.errors import Fault
    from tinybuild.use.zoo import find

    given: object = config.known_args_namespace.tiny_zoo
    if not given and (named := config.getini("tiny_zoo")):
        given = (config.inipath or config.rootpath / "ini").parent / str(named)
    try:
        return find(str(given) if given else None, config.rootpath)
    except Fault as fault:
        raise pytest.UsageError(str(fault)) from None


class Tiny:
    """The fixture: tiny("llama") is a bundle, tiny() the one of the test's mark."""

    def __init__(self, run: Run, scratch: Path, marked: str = ""):
        self._run, self._scratch, self._marked = run, scratch, marked

    def __call__(self, name: str = "") -> Bundle:
        if not name and not self._marked:
            pytest.fail("tiny() is the bundle of a mark: give a name, or mark the test", False)
        return self._run.bundle(name or self._marked, self._scratch)


@pytest.fixture
def tiny(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """Tiny models, tokenizers and datasets, built by their recipes: tiny("llama").model()."""
    scratch = tmp_path_factory.mktemp("tiny")
    made = Tiny(_run(request.config), scratch, getattr(request, "param", ""))
    if hasattr(request, "param"):
        made()  # what is marked and cannot be had is an error before the test begins
    return made


# --- marks ----------------------------------------------------------------------------------------


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    mark = metafunc.definition.get_closest_marker("tiny")
    if mark is None:
        return
    name = metafunc.definition.nodeid
    if "tiny" not in metafunc.fixturenames:
        _refuse(f"{name} is marked tiny, and does not take the fixture tiny")
    if bool(mark.args) == bool(mark.kwargs):
        _refuse(f"{name}: the mark tiny takes names of bundles, or what they must be able to")
    names = [str(each) for each in mark.args] or _able(metafunc.config, name, mark.kwargs)
    metafunc.parametrize("tiny", names, indirect=True, ids=names)


def _able(config: pytest.Config, test: str, wanted: Mapping[str, Json]) -> list[str]:
    from tinybuild.errors import Fault

    try:
        return _run(config).able(wanted)
    except Fault as fault:
        said = str(fault)
    _refuse(f"{test}: {said}")


def _refuse(what: str) -> NoReturn:
    pytest.fail(what, pytrace=False)


@pytest.hookimpl(trylast=True)  # when others have deselected
def pytest_collection_modifyitems(config: pytest.Config, items: Sequence[pytest.Item]) -> None:
    """Marked bundles are built in one go, when the first is needed."""
    called = (getattr(item, "callspec", None) for item in items)
    names = {call.params["tiny"] for call in called if call and "tiny" in call.params}
    if names:
        _run(config).wanted |= {name for name in names if isinstance(name, str)}


# --- no network -----------------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    return (yield from _guarded(item))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    return (yield from _guarded(item))


def _guarded(item: pytest.Item) -> Generator[None, object, object]:
    """A phase of a test that uses tiny models fails where it asks for another machine, also where
    a library caught the refusal."""
    if "tiny" not in getattr(item, "fixturenames", ()) and not _aliases(item.config):
        return (yield)
    from tinybuild.use.guard import shut

    with shut() as tried:
        try:
            result = yield
        except BaseException as error:
            if tried:
                error.add_note(_asked(item, tried))
            raise
    if tried:
        pytest.fail(_asked(item, tried), pytrace=False)
    return result


def _asked(item: pytest.Item, tried: Sequence[str]) -> str:
    hosts = ", ".join(dict.fromkeys(tried))
    return f"{item.nodeid} asked for {hosts}; tests with tiny models need no network"


# --- bundles by the Hub's names -------------------------------------------------------------------

LAID = pytest.StashKey[contextlib.ExitStack]()
LACKED = pytest.StashKey[Mapping[str, None]]()  # what was asked of the Hub that no option names


def _aliases(config: pytest.Config) -> list[str]:
    given: list[str] = config.known_args_namespace.tiny_as
    return [*config.getini("tiny_as"), *given]


@pytest.hookimpl(tryfirst=True)  # before a conftest.py imports a library that reads these variables
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    from_ini_and_options = _aliases(early_config)
    if from_ini_and_options and os.environ.get(VARIABLE) != "\n".join(from_ini_and_options):
        _lay(early_config, from_ini_and_options)


def _lay(config: pytest.Config, texts: Sequence[str]) -> None:
    """Builds and lays out the bundles, for this process and those it starts."""
    from tinybuild.errors import Fault
    from tinybuild.use import hubcache, hubserver

    if "huggingface_hub.constants" in sys.modules:
        what = "--tiny-as: huggingface_hub was imported before, by another plugin of pytest"
        raise pytest.UsageError(f"{what}; leave it out: -p no:NAME")
    zoo = _zoo(config)
    try:
        aliases = [hubcache.Alias.read(text) for text in texts]
        for fault in zoo.built(dict.fromkeys(alias.bundle for alias in aliases)).values():
            if fault is not None:
                raise fault
        with contextlib.ExitStack() as stack:
            cache = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tinybuild-hub-")))
            hubcache.lay(aliases, zoo.bundles, cache)
            hub = stack.enter_context(hubserver.serve(cache))
            told = {**hubcache.environment(cache, hub.url), VARIABLE: "\n".join(texts)}
            stack.enter_context(_environment(told))
            config.stash[LAID], config.stash[LACKED] = stack.pop_all(), hub.lacked
    except Fault as fault:
        raise pytest.UsageError(f"--tiny-as: {fault}") from None


@contextlib.contextmanager
def _environment(new: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in new}
    os.environ.update(new)
    yield
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def pytest_unconfigure(config: pytest.Config) -> None:
    if LAID in config.stash:
        config.stash[LAID].close()


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    lacked = config.stash.get(LACKED, {})
    if lacked:
        terminalreporter.section("asked of the Hub, and named by no --tiny-as")
        terminalreporter.write_line("  ".join(sorted(lacked)))


def pytest_report_header(config: pytest.Config) -> list[str]:
    return [f"tinybuild: {text.replace('=', ' is ')}" for text in _aliases(config)]
