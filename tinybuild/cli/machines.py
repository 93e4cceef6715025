"""Building on workers of Dask: what goes there, what is said of it, and what is taken back."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from tinybuild.cli.command import Options
from tinybuild.cli.session import Session
from tinybuild.errors import Fault, RecipeFault
from tinybuild.files import write
from tinybuild.recipe import lock
from tinybuild.store.place import MODE, STORE, SUMS, Place

HOST = "dask"


def build(here: Session, words: Sequence[str], options: Options) -> Iterator[str]:
    """Has workers build what is to do, and puts what they say where the build here finds it: it
    takes everything from the store. Raises Fault."""
    from tinybuild.machines.cluster import Cluster
    from tinybuild.machines.dispatch import Dispatch, Terms, begun
    from tinybuild.machines.orders import orders

    host, _, address = options["on"].partition(":")
    if host != HOST:
        hint = "write --on dask, or --on dask:tcp://HOST:8786"
        raise RecipeFault.of(f"--on {options['on']} is not known", hint=hint)
    if options["always"]:
        raise RecipeFault.of("--always makes everything here", hint="leave out --on, or --always")
    place = _store(here, address)
    names = _todo(here, words)
    yield from _locks(here, names)
    made = orders(here.zoo, [name for name in names if name in here.zoo.recipes], here.took)
    for why in dict.fromkeys(made.home.values()):
        stay = ", ".join(name for name, said in made.home.items() if said == why)
        yield f"built here, not on a worker, because {why}: {stay}"
    if not made.away:
        return
    topic = begun()
    with _proof(place, topic) as proof:
        given = os.environ.get(STORE, "")
        store = place.far or (str(place.folder) if given else "")
        jobs = int(options["jobs"] or os.cpu_count() or 1)
        cluster = Cluster(address, jobs, topic)
        try:
            dispatch = Dispatch(cluster, made, Terms(topic=topic, store=store, proof=proof))
            yield from dispatch.run()
        finally:
            cluster.close()
    here.sent = dispatch.results
    lost = f"the store does not have it, although a worker built it: is {STORE} one for all?"
    unsent = "a recipe that it is made from was not built"
    for path, text in dispatch.notes.items():
        write(here.root / path, text)
    here.builder.away = {
        name: {**result.failed, "": result.why or lost}
        for name in made.away
        if (result := dispatch.results.get(name)) is not None
    } | {name: {"": unsent} for name in made.away if name not in dispatch.results}


def _store(here: Session, address: str) -> Place:
    """The store that all machines reach; raises Fault."""
    assert here.zoo.root  # the store is looked for when the zoo is read
    if here.fault is not None:
        raise here.fault
    place = here.builder.stored.place
    hint = f"set {STORE} to a folder that all machines have, or to a URL such as s3://BUCKET/ZOO"
    if place is None or (address and not os.environ.get(STORE)):
        what = "--on dask needs a store: workers leave there what they make"
        raise RecipeFault.of(what, where=STORE, hint=hint)
    if not place.writes:
        raise RecipeFault.of("workers must write to the store", where=MODE, hint="set it to write")
    if place.signed is not None:
        what = "what workers make now is not signed off"
        raise RecipeFault.of(what, where=SUMS, hint="unset it for --on dask, or build here")
    return place


@contextlib.contextmanager
def _proof(place: Place, topic: str) -> Iterator[str]:
    """A file in the store's folder by which workers know that theirs is the same; "" for a URL."""
    if place.far:
        yield ""
        return
    path = Path(place.folder.absolute(), f".{topic}")
    write(path, "")
    try:
        yield str(path)
    finally:
        path.unlink(missing_ok=True)


def _todo(here: Session, words: Sequence[str]) -> list[str]:
    """The recipes that are not up to date, and all that they are made from, in the order of need.
    Raises RecipeFault."""
    groups = here.zoo.groups
    for word in words:
        if word in here.zoo.tasks:
            hint = f"name the recipe: {word.partition(':')[2]}"
            raise RecipeFault.of(f"--on builds whole recipes, not {word}", hint=hint)
    plain = [word for word in words if word != "zoo"]
    chosen = [*here.named(plain), *(groups[""] if len(plain) < max(len(words), 1) else ())]
    known = [name for name in here.share(chosen) if name in here.zoo.recipes]
    todo = [name for name in known if here.clean.find(name) is None and _runs(here, name)]
    tasks = here.with_upstreams(task for name in todo for task in here.zoo.tasks_of(name))
    return list(dict.fromkeys(task.recipe.name for task in tasks))


def _runs(here: Session, name: str) -> bool:
    tasks = here.with_upstreams(here.zoo.tasks_of(name))
    return any(here.builder.reasons(task) for task in tasks)


def _locks(here: Session, names: Sequence[str]) -> Iterator[str]:
    """Fetch here what has no lock yet: one machine says what an upstream is, and all take that.
    What does not work is said by the build."""
    if here.builder.frozen:
        return
    wrote = False
    for name in names:
        task = here.zoo.tasks.get(f"fetch:{name}")
        alone = task is not None and not task.before
        if task is not None and alone and lock.unfit(task.recipe):
            with contextlib.suppress(Fault):
                here.builder.perform(task, here.screen.say)
                yield f"{task.name}: its lock was written here"
                wrote = True
    if wrote:
        here.reread()
