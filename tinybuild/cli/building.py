"""The commands that build, remove, and list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tinybuild import progress
from tinybuild.catalog.query import matching, unknown
from tinybuild.catalog.rows import Row, is_bundle, row
from tinybuild.cli import machines
from tinybuild.cli.command import Answer, Command, Lines, Option, Options
from tinybuild.cli.session import FEW, Session, nothing
from tinybuild.engine import orphans
from tinybuild.engine.shards import Shard
from tinybuild.errors import RecipeFault, did_you_mean
from tinybuild.paths import Json
from tinybuild.recipe import Broken, Recipe

# What a list can ask of bundles: a key of catalog.query.QUERIES, with - for _.
ASKED: Mapping[str, str] = {
    "kind": "with layers or attention of a kind, such as moe or gqa",
    "modality": "that take text, image, video or audio",
    "task": "for a task of transformers' pipelines",
    "class": "of a class",
    "model-type": "of a model type",
    "licence": "with a licence",
    "tp": "that can be split on so many devices",
    "max-bytes": "of at most so many bytes",
    "max-parameters": "of at most so many parameters",
}
SHARD = Option(help="only the share I of N machines, dealt by expected cost", value="I/N")


def _build(here: Session, words: Sequence[str], options: Options) -> Lines:
    """Lets doit do it, which prints; its own options are given as doit knows them."""
    if options["plan"]:
        from tinybuild.cli.planning import PLAN

        return (yield from PLAN.do(here, words, {}))
    from doit.cmd_base import ModuleTaskLoader
    from doit.doit_cmd import DoitMain

    from tinybuild.cli import doit

    jobs = options["jobs"]
    if jobs and not jobs.isdecimal():
        raise RecipeFault.of(f"--jobs {jobs} is not a number", hint="give 2, for example")
    if options["shard"]:
        here.shard = Shard.read(options["shard"], "--shard")
    here.builder.frozen |= bool(options["locked"])
    if options["on"]:
        yield from machines.build(here, words, options)
    given = [*(["-n", jobs] if jobs else []), *(["-a"] if options["always"] else [])]
    loader = None if (here.root / "dodo.py").is_file() else ModuleTaskLoader(vars(doit))
    try:
        code = DoitMain(loader).run(["run", *given, *words])
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    return Answer(data=here.outcome, code=code or 0)


BUILD = Command(
    doc="build recipes: what is not up to date, and nothing else",
    do=_build,
    words="[NAME | STAGE:NAME ...]",
    options={
        "jobs": Option(help="recipes at a time [1]", value="N", short="n"),
        "always": Option(help="also what is up to date", short="a"),
        "shard": SHARD,
        "on": Option(help="build on workers of Dask", value="dask[:ADDRESS]"),
        "locked": Option(help="resolve nothing and write no lock, as with CI=true"),
        "plan": Option(help="only say what would run, why, and how large the models would be"),
    },
    group="build",
    more="Without a name: the recipes of recipes/ itself. GROUP stands for recipes/GROUP/, and a\n"
    "pattern such as 'llama-*' for all that it matches. `doit` does the same, and reads the shard\n"
    "from TINYBUILD_SHARD.",
)


def _clean(here: Session, words: Sequence[str], options: Options) -> Lines:
    """Later stages first: what is left of an interrupted clean can be built on."""
    if options["orphans"]:
        return (yield from _orphans(here, words, dry=bool(options["dry-run"])))
    every = [*here.zoo.recipes] if options["all"] else here.zoo.groups[""]
    removed = list[Json]()
    for task in reversed(here.tasks(words or every)):
        if not here.builder.left(task.name):
            continue
        removed.append(task.name)
        if not options["dry-run"]:
            here.builder.clean(task.name)
        yield f"{'would remove' if options['dry-run'] else 'removed'} what {task.name} made"
    if not removed:
        yield "there is nothing to remove"
    return Answer(data={"removed": removed})


def _orphans(here: Session, words: Sequence[str], *, dry: bool) -> Lines:
    """What is left of recipes that are gone: of all, or of those named."""
    left = {orphan.name: orphan for orphan in orphans.orphans(here.zoo)}
    for word in words:
        if word not in left:
            what = f"{word} is not a bundle without a recipe"
            raise RecipeFault.of(what, hint=did_you_mean(word, left) or "there are none")
    for name in words or left:
        yield f"{'would remove' if dry else 'removed'} what is left of {left[name]}"
        stay = () if dry else orphans.clean(here.root, left[name])
        yield from (f"  {path} stays: no build wrote it" for path in stay)
    if not left:
        yield "every bundle has its recipe"
    return Answer(data={"removed": [*words] or [*left]})


CLEAN = Command(
    doc="remove what was built",
    do=_clean,
    words="[NAME | STAGE:NAME ...]",
    options={
        "all": Option(help="every recipe, those of groups included", short="a"),
        "dry-run": Option(help="only say what would be removed", short="n"),
        "orphans": Option(help="only what is left of recipes that were deleted or renamed"),
    },
    group="build",
    more="Without a name: the recipes of recipes/ itself.",
)


def _list(here: Session, words: Sequence[str], options: Options) -> Lines:
    zoo = here.zoo
    broken = {recipe.name: recipe for recipe in zoo.broken}
    wanted = {key: options[key] for key in ASKED if options[key]}
    every = [*zoo.recipes, *broken] if options["all"] or wanted else zoo.groups[""]
    names = here.share(here.named(words) or every, options["shard"])
    asked = {key.replace("-", "_"): value for key, value in wanted.items()}
    bundles = list[Row]()
    if wanted:  # of what is built
        places = (here.root / "dist" / name for name in names)
        bundles = [row(place) for place in places if is_bundle(place)]
        names = tuple(one.name for one in matching(bundles, asked))
    told = [_told(here, broken.get(name) or zoo.recipes[name]) for name in names]
    rows = [(one["name"], one["state"], one["summary"]) for one in told]
    if rows:
        yield progress.table(("recipe", "state", ""), rows)
    groups = {group: len(members) for group, members in zoo.groups.items() if group}
    if groups and not words and not options["all"] and not wanted:
        counts = [(group, str(count)) for group, count in groups.items()]
        yield ("\n" if rows else "") + progress.table(("group", "recipes"), counts, right=[1])
    if not rows and wanted:
        yield "no bundle in dist/ is what was asked for"
        yield from (f"  {one}" for one in unknown(bundles, asked))
        if not bundles:
            yield "  hint: tinybuild build makes them"
    elif not rows and not groups:
        yield nothing(zoo)
    return Answer(data={"recipes": [{**one} for one in told], "groups": {**groups}})


def _told(here: Session, recipe: Recipe | Broken) -> Mapping[str, str]:
    """What a list says of a recipe."""
    is_there, summary = "broken", ""
    if isinstance(recipe, Recipe):
        is_there, summary = state(here, recipe.name), recipe.summary
    return {
        "name": recipe.name,
        "group": recipe.group,
        "file": here.shown(recipe.file),
        "state": is_there,
        "summary": summary,
    }


def state(here: Session, name: str) -> str:
    if here.clean.find(name) is not None:
        return "up to date"
    tasks = here.zoo.tasks_of(name)
    todo = [task for task in tasks if here.builder.reasons(task)]
    if not todo:
        return "up to date"
    if any(here.builder.failure(task) for task in todo):
        return "failed"
    return "not built" if here.builder.receipt(tasks[-1].name) is None else "stale"


LIST = Command(
    doc="the recipes and groups of this zoo, and the state of each",
    do=_list,
    words="[NAME | GROUP | PATTERN ...]",
    options={
        "all": Option(help="the recipes of all groups", short="a"),
        "status": Option(help="nothing more: the state is always shown", short="s"),
        "shard": SHARD,
        **{key: Option(help=f"only bundles: {help}", value="X") for key, help in ASKED.items()},
    },
    more="What bundles are is read in dist/: `list --kind moe --max-bytes 1MB --modality image`.",
)


def _path(here: Session, words: Sequence[str], options: Options) -> Lines:
    names = here.named(words)
    if len(names) != 1:
        hint = f"one of {', '.join(names)}" if 1 < len(names) <= FEW else "see tinybuild list"
        raise RecipeFault.of("path takes the name of one recipe", hint=hint)
    place = here.bundle(names[0])
    yield str(place)
    return Answer(data={"path": str(place)})


PATH = Command(
    doc="where a bundle is, for scripts: from_pretrained takes it",
    do=_path,
    words="NAME",
)
