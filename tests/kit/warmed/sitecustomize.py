"""On the path of a doit of the tests: its workers are forked from those of `kit.warm`, where
its environment is the one they imported in."""

import json
import os
import threading
from multiprocessing import context, forkserver, popen_forkserver


class Shared:
    """The processes, and who is to be forked from which."""

    def __init__(self, told):
        self.environment = told["environment"]
        self.free = told["free"]
        self.known = {}
        for preloaded, address in told["addresses"].items():
            self.known[preloaded] = one = forkserver.ForkServer()
            one._forkserver_address = address
            one._forkserver_alive_fd = os.open(os.devnull, os.O_RDONLY)  # the tests keep it alive
            one.ensure_running = lambda: None
        self.spawned = threading.local()

    def find(self, preloaded):
        """The process with these modules, for a worker that would be told the same as it was."""
        if preloaded not in self.known:
            return None
        names = {*os.environ, *self.environment} - {*self.free[preloaded]}
        same = all(os.environ.get(name) == self.environment.get(name) for name in names)
        return self.known[preloaded] if same else None

    def connect(self, fds):
        wanted = getattr(self.spawned, "wanted", None)
        own = forkserver._forkserver
        found = wanted or self.find(" ".join(own._preload_modules)) or own
        return found.connect_to_new_process(fds)

    def ensure(self):
        """One of its own is begun where none of these will do."""
        own = forkserver._forkserver
        (self.find(" ".join(own._preload_modules)) or own).ensure_running()

    def spawn(self, process):
        self.spawned.wanted = self.find("light")
        try:
            return popen_forkserver.Popen(process) if self.spawned.wanted else spawn(process)
        finally:
            self.spawned.wanted = None


if "KIT_WARM" in os.environ:
    with open(os.environ["KIT_WARM"]) as file:  # noqa: PTH123
        shared = Shared(json.load(file))
    spawn = context.SpawnProcess._Popen
    context.SpawnProcess._Popen = staticmethod(shared.spawn)
    forkserver.connect_to_new_process = shared.connect
    forkserver.ensure_running = shared.ensure
