"""Orders and what becomes of them, with a cluster that a test scripts: no process at all."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path

import pytest
from kit.zoo import LIGHT, make

from tinybuild.engine.plan import load
from tinybuild.files import Memo
from tinybuild.machines.cluster import Event
from tinybuild.machines.dispatch import Dispatch, Patience, Terms
from tinybuild.machines.orders import Orders, grouped, orders
from tinybuild.machines.parcel import Built, Outcome, Parcel, differences, packed, unpacked
from tinybuild.recipe import Cache

MADE = "version: 1\nsummary: from another\ndataset: {source: {recipe: a}, samples: 2}\n"
GATED = "version: 1\nsummary: x\ndataset: {source: {hub: a/b}, samples: 2}\n"
Answer = Callable[[Parcel], Event]


class Script:
    """A cluster of workers that answer as a test says. answers: recipe -> one for each try."""

    address = "here"

    def __init__(self, **answers: list[Answer]) -> None:
        self.answers, self.parcels, self.lost = answers, list[Parcel](), False
        self.fit: dict[str, int] = {"w1": 1, "w2": 1}
        self.only = list[Collection[str] | None]()
        self.events = list[Event]()

    def workers(self) -> dict[str, int]:
        return self.fit

    def send(
        self, parcel: Parcel, files: Mapping[str, bytes], only: Collection[str] | None = None
    ) -> None:
        assert all(f"recipes/{name}.yaml" in files for name in parcel.names)
        self.parcels.append(parcel)
        self.only.append(only)
        listed = next((self.answers[name] for name in parcel.names if self.answers.get(name)), [])
        self.events.append(listed.pop(0)(parcel) if listed else done(parcel))

    def forget(self, key: str) -> None:
        pass

    def heard(self, seconds: float) -> Iterator[Event]:
        events, self.events = self.events, []
        yield from events

    def sent(self) -> list[tuple[str, ...]]:
        return [parcel.names for parcel in self.parcels]


def done(parcel: Parcel) -> Event:
    rows = (Built(recipe=name, outcome="built", seconds=1.0) for name in parcel.names)
    return Event(key=parcel.key, ended=True, outcome=Outcome(worker="w1", built=tuple(rows)))


def killed(parcel: Parcel) -> Event:
    return Event(key=parcel.key, ended=True, killed=True)


def forgotten(parcel: Parcel) -> Event:
    return Event(key=parcel.key, ended=True)


def refused(parcel: Parcel) -> Event:
    outcome = Outcome(worker="w1", refused=("torch: 2.13.0 here, 2.12.0 there",))
    return Event(key=parcel.key, ended=True, outcome=outcome)


def stuck(parcel: Parcel) -> Event:
    return Event(key=parcel.key, begun="w1")


@pytest.fixture
def wanted(tmp_path: Path) -> Orders:
    root = make(tmp_path / "zoo", a=LIGHT, b=LIGHT, c=LIGHT, made=MADE)
    zoo = load(root, Memo(), Cache(root / "none", Memo()))
    return orders(zoo, ["a", "b", "c", "made"], {})


def follow(script: Script, wanted: Orders, **patience: float) -> tuple[Dispatch, list[str]]:
    terms = Terms(topic="t", store="")
    dispatch = Dispatch(script, wanted, terms, Patience(**patience))  # type: ignore[arg-type]
    return dispatch, [*dispatch.run()]


def test_what_others_are_made_from_comes_first(wanted: Orders) -> None:
    dispatch, said = follow(script := Script(), wanted)
    assert said == []
    assert script.sent()[-1] == ("made",)
    assert {name for name, result in dispatch.results.items() if result.built} == {*wanted.away}


def test_who_dies_with_its_worker_goes_alone_and_is_named(wanted: Orders) -> None:
    script = Script(a=[killed, killed])
    dispatch, said = follow(script, wanted)
    assert script.sent()[-1] == ("a",)
    assert "a: the worker that built it died" in said[0]
    assert "more memory" in dispatch.results["a"].why
    assert {name for name, one in dispatch.results.items() if one.built} == {"b", "c"}
    assert "made" not in dispatch.results  # it was never begun
    dispatch, _ = follow(Script(a=[killed]), wanted)  # somebody else's fault
    assert all(result.built for result in dispatch.results.values())


def test_a_worker_with_another_toolchain_is_refused_by_name(wanted: Orders) -> None:
    script = Script(a=[refused])
    dispatch, said = follow(script, wanted)
    assert said == ["w1 is not used: torch: 2.13.0 here, 2.12.0 there"]
    assert ("w2",) in script.only
    assert all(result.built for result in dispatch.results.values())
    script = Script(a=[refused])
    script.fit = {"w1": 1}
    dispatch, _ = follow(script, wanted)
    assert dispatch.results["a"].why.startswith("every worker differs: torch: 2.13.0 here")


def test_what_dask_forgets_is_sent_three_times(wanted: Orders) -> None:
    dispatch, _ = follow(Script(a=[forgotten] * 2), wanted)
    assert dispatch.results["a"].built
    dispatch, _ = follow(Script(a=[forgotten] * 3), wanted)
    assert dispatch.results["a"].why == "Dask forgot it, again and again"


def test_a_straggler_has_a_twin(wanted: Orders) -> None:
    script = Script(a=[stuck])
    dispatch, said = follow(script, wanted, late=0.0, times=0.0)
    assert said == ["a: late at w1; another worker builds it, too"]
    assert script.only[-2:] == [("w2",), None]  # the twin, then what is made from it
    assert all(result.built for result in dispatch.results.values())


def test_a_lost_scheduler_and_a_cluster_without_workers(wanted: Orders) -> None:
    script = Script(a=[stuck], b=[stuck], c=[stuck])
    script.lost = True
    dispatch, said = follow(script, wanted, lost=0.0)
    assert said == ["the scheduler at here was lost"]
    assert "run it again" in dispatch.results["a"].why


def test_small_recipes_go_together_and_the_dearest_first(wanted: Orders) -> None:
    every = [*wanted.away.values()]
    assert [len(group) for group in grouped(every, 2)] == [1, 1, 1, 1]
    many = [every[0]] * 40
    assert max(len(group) for group in grouped(many, 2)) > 3
    assert sum(len(group) for group in grouped(many, 2)) == 40


def test_what_has_no_lock_is_not_sent_nor_what_is_made_from_it(tmp_path: Path) -> None:
    made = MADE.replace("recipe: a", "recipe: gated")
    root = make(tmp_path / "zoo", gated=GATED, made=made, rows=LIGHT)
    zoo = load(root, Memo(), Cache(root / "none", Memo()))
    found = orders(zoo, ["gated", "made", "rows"], {})
    assert [*found.away] == ["rows"]
    assert found.home == {
        "gated": "its lock is to be written",
        "made": "it is made from gated",
    }


def test_parcels_are_text(wanted: Orders) -> None:
    _, _ = follow(script := Script(), wanted)
    for parcel in script.parcels:
        assert unpacked(Parcel, packed(parcel)) == parcel
    here = {"torch": "2.13.0", "pillow": None}
    assert [*differences(here, {"torch": "2.12.0", "pillow": None})] == [
        "torch: 2.13.0 here, 2.12.0 there"
    ]
    assert [*differences(here, {"torch": "2.13.0", "pillow": "12"})] == [
        "pillow: not installed here, 12 there"
    ]
