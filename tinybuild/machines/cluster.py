"""A cluster of Dask, as a build sees it: parcels go there, and events come from it."""

from __future__ import annotations

import contextlib
import logging
import queue
import warnings
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tinybuild.errors import BuildFault, require
from tinybuild.machines import worker
from tinybuild.machines.parcel import Outcome, Parcel, packed, unpacked

CONNECT = 30.0  # seconds


@dataclass(frozen=True, kw_only=True)
class Event:
    """key: of the parcel. begun: the worker that took it up. line: what its build said. ended:
    whether it is over: with an outcome; killed, which means its workers died; with a fault of
    the cluster, in words; or with none of these, where Dask forgot it."""

    key: str
    begun: str = ""
    line: str = ""
    ended: bool = False
    outcome: Outcome | None = None
    killed: bool = False
    fault: str = ""


class Cluster:
    """Raises BuildFault where there is none. address: of a scheduler, or of the file that names it;
    "" for workers on this machine."""

    def __init__(self, address: str, workers: int, topic: str) -> None:
        require("--on dask", "distributed")
        import distributed

        for name in ("distributed", "distributed.client", "tornado", "asyncio"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self.address, self.topic = address or "this machine", topic
        self.events = queue.SimpleQueue[Event]()
        self.futures = dict[str, Any]()
        self.local = _local(workers) if not address else None
        place = {"scheduler_file": address} if address.endswith(".json") else {"address": address}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # versions that differ are refused by name
                self.client = distributed.Client(
                    **({"address": self.local} if self.local is not None else place),
                    timeout=CONNECT,
                    set_as_default=False,
                    name="tinybuild",
                )
        except (OSError, TimeoutError, ValueError) as error:
            what = f"there is no scheduler of Dask at {address} ({type(error).__name__})"
            hint = "start one with: dask scheduler; then --on dask:tcp://HOST:8786"
            raise BuildFault.of(what, hint=hint) from None
        self.client.subscribe_topic(topic, self._told)

    def _told(self, event: tuple[float, Mapping[str, str]]) -> None:
        said = event[1]
        told = {name: said.get(name, "") for name in ("key", "begun", "line")}
        self.events.put(Event(key=told["key"], begun=told["begun"], line=told["line"]))

    @property
    def lost(self) -> bool:
        """Whether the scheduler does not answer."""
        return bool(self.client.status != "running")

    def workers(self) -> dict[str, int]:
        """address -> how many parcels it works at at a time."""
        with contextlib.suppress(OSError, TimeoutError, RuntimeError):
            told = self.client.sync(
                self.client.scheduler.identity, n_workers=-1, callback_timeout=CONNECT
            )
            return {address: one["nthreads"] for address, one in told["workers"].items()}
        return {}

    def send(
        self, parcel: Parcel, files: Mapping[str, bytes], only: Collection[str] | None = None
    ) -> None:
        """only: the workers that may have it; any may where None."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of tasks that are large
            future = self.client.submit(
                worker.build,
                packed(parcel),
                dict(files),
                key=parcel.key,
                pure=False,
                workers=[*only] if only is not None else None,
            )
        self.futures[parcel.key] = future
        future.add_done_callback(lambda future: self.events.put(_ended(parcel.key, future)))

    def forget(self, key: str) -> None:
        """Have no more to do with a parcel, which may be worked at."""
        future = self.futures.pop(key, None)
        if future is not None and not self.lost:
            with contextlib.suppress(OSError, TimeoutError):
                future.cancel()

    def heard(self, seconds: float) -> Iterator[Event]:
        """The events that came, after waiting for the first for at most so many seconds."""
        with contextlib.suppress(queue.Empty):
            yield self.events.get(timeout=seconds)
            while True:
                yield self.events.get_nowait()

    def close(self) -> None:
        for key in [*self.futures]:
            self.forget(key)
        with contextlib.suppress(OSError, TimeoutError, RuntimeError):
            self.client.close(timeout=2)
        if self.local is not None:
            with contextlib.suppress(OSError, TimeoutError, RuntimeError):
                self.local.close(timeout=5)


def _local(workers: int) -> Any:
    """Workers in processes of this machine, which begin anew when they die."""
    import dask
    import distributed

    dask.config.set({"distributed.scheduler.allowed-failures": 1})
    return distributed.LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        dashboard_address=None,
        silence_logs=logging.CRITICAL,
    )


def _ended(key: str, future: Any) -> Event:
    from distributed.scheduler import KilledWorker

    try:
        if future.status == "finished":
            outcome = unpacked(Outcome, future.result(timeout=CONNECT))
            return Event(key=key, ended=True, outcome=outcome)
        if future.status == "error":
            error = future.exception(timeout=CONNECT)
            if isinstance(error, KilledWorker):
                return Event(key=key, ended=True, killed=True)
            return Event(key=key, ended=True, fault=f"{type(error).__name__}: {error}")
    except (OSError, TimeoutError, RuntimeError):
        pass  # its worker or the scheduler went away meanwhile
    return Event(key=key, ended=True)
