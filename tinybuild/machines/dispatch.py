"""Orders become parcels, and what comes back becomes results, whatever happens to workers."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import TopologicalSorter

from tinybuild.machines.cluster import Cluster, Event
from tinybuild.machines.orders import Order, Orders, grouped
from tinybuild.machines.parcel import Built, Outcome, Parcel, toolchain

TRIES = 3  # how often a parcel is sent that Dask forgot, or that workers would not take


@dataclass(frozen=True, kw_only=True)
class Patience:
    """Seconds. silent: without a worker, after there was one. lost: without the scheduler. late: of
    a parcel, before another worker is given it, too; and `times` what was expected of it."""

    silent: float = 300.0
    lost: float = 10.0
    late: float = 120.0
    times: float = 4.0


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What all parcels of a run have in common; see Parcel."""

    topic: str
    store: str
    proof: str = ""


@dataclass(frozen=True, kw_only=True)
class Result:
    """What became of a recipe. built: what its worker says. failed: task -> message. why: why no
    worker built it."""

    built: Built | None = None
    failed: Mapping[str, str] = field(default_factory=dict)
    why: str = ""


@dataclass(kw_only=True)
class Going:
    """Orders that are on their way. twins: keys of the parcels that they are in. tries: how often
    they were sent. begun: when a worker took them up. only: the workers that they were kept to."""

    orders: tuple[Order, ...]
    twins: list[str]
    tries: int = 1
    begun: float | None = None
    where: str = ""
    only: tuple[str, ...] | None = None

    @property
    def cost(self) -> float:
        return sum(order.cost for order in self.orders)

    @property
    def longest(self) -> float:
        return sum(order.longest for order in self.orders)


class Dispatch:
    """Sends orders to a cluster, those that others are made from first.

    A recipe whose worker died is sent again by Dask; where its workers die again and again, it
    waits until all others are done and goes alone, so that nobody else pays for it. A parcel that
    takes much longer than was expected goes to a second worker as well: what comes first counts.
    """

    def __init__(
        self, cluster: Cluster, orders: Orders, terms: Terms, patience: Patience | None = None
    ) -> None:
        self.cluster, self.orders, self.terms = cluster, orders, terms
        self.patience = patience or Patience()
        self.graph = TopologicalSorter(
            {name: order.upstream for name, order in orders.away.items()}
        )
        self.graph.prepare()
        self.going = dict[str, Going]()  # by the key of each of its parcels
        self.suspects = list[Order]()  # to be sent alone
        self.alone = False
        self.refused = dict[str, tuple[str, ...]]()  # worker -> why it takes nothing
        self.results = dict[str, Result]()
        self.notes = dict[str, str]()  # of failures, by their path in the zoo
        self.seen = self.met = time.monotonic()  # when there was a worker, and a scheduler
        self.places = dict[str, int]()
        self.count = 0

    def run(self) -> Iterator[str]:
        """Do it all; what is to be said on the way."""
        self.places = self.cluster.workers()
        if not self.places:
            yield f"no worker at {self.cluster.address} yet: waiting for the first"
        self._ready()
        while self.going:
            for event in self.cluster.heard(1.0):
                yield from self._heed(event)
            yield from self._watch()
            if not self.going and self.suspects:
                self.alone = True
                self._send((self.suspects.pop(0),))

    # --- sending ---------------------------------------------------------------------------------

    def _ready(self) -> None:
        """Send what can be made now."""
        orders = [self.orders.away[name] for name in self.graph.get_ready()]
        for group in grouped(orders, sum(self.places.values())):
            self._send(group)

    def _send(self, orders: tuple[Order, ...], going: Going | None = None, busy: str = "") -> None:
        """going: the same orders, on their way or refused. busy: a worker that has them already."""
        self.count += 1
        key = f"{self.terms.topic}-{self.count}"
        going = going or Going(orders=orders, twins=[])
        going.twins.append(key)
        self.going[key] = going
        names = tuple(order.name for order in orders)
        packages = {
            package
            for name in self.orders.whole(names)
            for package in self.orders.away[name].packages
        }
        parcel = Parcel(
            key=key,
            topic=self.terms.topic,
            names=names,
            root=self.orders.root,
            store=self.terms.store,
            toolchain=toolchain(packages),
            packages=tuple(sorted(packages)),
            proof=self.terms.proof,
        )
        if self.refused or busy:
            fit = (one for one in self.places if one not in self.refused and one != busy)
            going.only = tuple(fit)
        self.cluster.send(parcel, self.orders.content(names), going.only)

    def _again(self, going: Going, why: str) -> None:
        """Send once more what came to no end, but not for ever."""
        self._drop(going)
        going.tries += 1
        if going.tries > TRIES:
            self._lose(going.orders, why)
            return
        going.begun, going.twins, going.only = None, [], None
        self._send(going.orders, going)

    def _drop(self, going: Going) -> None:
        for key in going.twins:
            self.going.pop(key, None)
            self.cluster.forget(key)

    # --- what comes back -------------------------------------------------------------------------

    def _heed(self, event: Event) -> Iterator[str]:
        going = self.going.get(event.key)
        if going is None:  # a twin of it came first
            return
        self.seen = time.monotonic()
        if event.begun:
            going.begun, going.where = time.monotonic(), event.begun
        elif event.line:
            yield event.line
        elif event.outcome is not None:
            yield from self._arrived(going, event.outcome)
        elif event.killed:
            yield from self._killed(going, "the worker that built it died, and so did the next")
        elif event.ended and not self.cluster.lost:
            hint = "install the same tinybuild for all workers"
            why = f"no worker could take it: {event.fault}\n  hint: {hint}"
            self._again(going, why if event.fault else "Dask forgot it, again and again")

    def _arrived(self, going: Going, outcome: Outcome) -> Iterator[str]:
        if outcome.refused:
            yield from self._turned(going, outcome)
            return
        if outcome.died:
            yield from self._killed(going, f"the process that built it {outcome.died}")
            return
        self._drop(going)
        rows = {row.recipe: row for row in outcome.built}
        self.notes.update(outcome.notes)
        for order in going.orders:
            failed = {
                task: message
                for task, message in outcome.failed.items()
                if task.rpartition(":")[2] == order.name
            }
            row = rows.get(order.name)
            self.results[order.name] = Result(built=row, failed=failed)
            if row is not None and row.outcome != "FAILED":
                self.graph.done(order.name)
        self._ready()

    def _turned(self, going: Going, outcome: Outcome) -> Iterator[str]:
        """A worker would not take it: another one may."""
        why = "; ".join(outcome.refused)
        if outcome.worker not in self.refused:
            self.refused[outcome.worker] = outcome.refused
            yield f"{outcome.worker} is not used: {why}"
        self.places = self.cluster.workers()
        if self.places.keys() <= self.refused.keys():
            self._drop(going)
            hint = "give all machines the toolchain of constraints.txt, and the same tinybuild"
            self._lose(going.orders, f"every worker differs: {why}\n  hint: {hint}")
        else:
            going.tries -= 1
            self._again(going, why)

    def _killed(self, going: Going, why: str) -> Iterator[str]:
        """Its worker died: it goes alone after all others; the second time it is given up."""
        self._drop(going)
        if self.alone:
            self._lose(going.orders, f"{why}\n  hint: it may need more memory than workers have")
            return
        self.suspects += going.orders
        names = ", ".join(order.name for order in going.orders)
        yield f"{names}: {why}; once more, alone, when the others are done"

    def _lose(self, orders: Sequence[Order], why: str) -> None:
        self.results.update({order.name: Result(why=why) for order in orders})

    # --- watching --------------------------------------------------------------------------------

    def _watch(self) -> Iterator[str]:
        """See whether there still is a scheduler, workers, and an end in sight."""
        now = time.monotonic()
        if self.cluster.lost:
            if now - self.met > self.patience.lost:
                yield from self._give_up(f"the scheduler at {self.cluster.address} was lost")
            return
        self.met = now
        waiting = [going for going in self._every() if going.begun is None]
        if waiting or self._late(now):
            self.places = self.cluster.workers()
            if self.places:
                self.seen = now
            elif self.count and now - self.seen > self.patience.silent and self._worked():
                yield from self._give_up(f"no worker was left at {self.cluster.address}")
                return
        for going in waiting:
            if going.only is not None and not {*going.only} & self.places.keys():
                self._again(going, "the workers that could take it are gone")
        yield from self._hurry(now, idle=not waiting)

    def _worked(self) -> bool:
        """Whether any worker ever took anything up: a cluster may be a long time in coming."""
        return bool(self.results) or any(going.begun for going in self._every())

    def _every(self) -> list[Going]:
        return list({id(going): going for going in self.going.values()}.values())

    def _late(self, now: float) -> list[Going]:
        """What takes much longer than was expected."""
        patience = self.patience
        return [
            going
            for going in self._every()
            if going.begun is not None
            and now - going.begun > max(patience.late, patience.times * going.cost)
        ]

    def _hurry(self, now: float, *, idle: bool) -> Iterator[str]:
        """Give what is late to another worker as well; give up what is later than it may be."""
        for going in self._late(now):
            assert going.begun is not None
            names = ", ".join(order.name for order in going.orders)
            if now - going.begun > going.longest + self.patience.late:
                self._drop(going)
                self._lose(going.orders, f"{going.where} took it up and did not come back")
            elif len(going.twins) == 1 and idle and len(self.places) > len(self._every()):
                yield f"{names}: late at {going.where}; another worker builds it, too"
                self._send(going.orders, going, busy=going.where)

    def _give_up(self, why: str) -> Iterator[str]:
        yield why
        orders = [*(order for one in self._every() for order in one.orders), *self.suspects]
        self.suspects.clear()
        self.going.clear()
        self._lose(orders, f"{why}\n  hint: run it again: what was finished is not built again")


def begun() -> str:
    """A name for a run, which no other has."""
    return f"tinybuild-{os.urandom(6).hex()}"
