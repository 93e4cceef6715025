"""Damaged inputs for each reader, and what becomes of them in a real worker.

`python -m kit.fuzz 10000 [READER ...]` (in tests/) says figures; the suite takes a few hundred.
An input is known by its reader and its number: what failed once is made again from both.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import io
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

import pytest

from kit.hub import Hub, Trouble, connected
from tinybuild.errors import Fault
from tinybuild.workers import Job, Limits, Pool, Sort

SLOW, MEMORY = 5.0, 4_000_000_000  # seconds and bytes that an input may take at most

# Values where others are expected; DEEP stands for JSON that is nested as often as a parser fears.
DEEP = "@deep@"
ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 10**9, 10**400, -(10**12), 0.0, 1e-320, 1e308),
    *(float("nan"), float("inf"), "", "x", "\ud800", "a\x00b", "\x1b[31m", "../../etc/passwd"),
    *("NaN", "1e9", "x" * 100_000, [], {}, [[]], [None], {"": None}, [0] * 1000, DEEP),
    *({"a": {"b": {}}}, [float("nan")], ["\udfff"], "auto", "{{ x }}", "{%", "owner/name"),
)


# --- how inputs are damaged -----------------------------------------------------------------------


@functools.cache
def _whole(name: str) -> Seed:
    return READERS[name].seed()


def places(data: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all that is inside JSON data."""
    for key in data if isinstance(data, dict) else range(len(data)):
        yield (*at, key)
        if isinstance(data[key], dict | list):
            yield from places(data[key], (*at, key))


def of_json(seed: bytes, chance: random.Random) -> bytes:
    """JSON of which up to three values are others, gone, or said twice."""
    if chance.random() < 0.15:
        return of_bytes(seed, chance)
    data = json.loads(seed)
    for _ in range(chance.choice((1, 1, 2, 3))):
        known = list(places(data))
        if not known:
            break
        # Keys near the top decide more than the thousandth token.
        path = min(chance.sample(known, min(3, len(known))), key=len)
        holder = functools.reduce(lambda inner, key: inner[key], path[:-1], data)
        if chance.random() < 0.15:
            del holder[path[-1]]
        elif chance.random() < 0.2 and isinstance(holder[path[-1]], int | float):
            holder[path[-1]] = chance.choice((0, 1, -1, 2, 3, 10**4, 10**6, 10**9, 0.5))
        else:
            holder[path[-1]] = copy.deepcopy(chance.choice(ODD))  # another goes into it, maybe
    many = 100_000 if chance.random() < 0.5 else 990
    return json.dumps(data).replace(f'"{DEEP}"', "[" * many + "]" * many).encode()


def of_bytes(seed: bytes, chance: random.Random) -> bytes:
    """Bytes that were flipped, cut off, put in, doubled, or moved."""
    data = bytearray(seed)
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        here = chance.randrange(len(data)) if data else 0
        length = chance.choice((1, 1, 2, 4, 8, 64, 1000))
        match chance.randrange(7):
            case 0:
                data[here : here + 1] = bytes([chance.randrange(256)])
            case 1:
                del data[here:]
            case 2:
                data[here:here] = chance.randbytes(length)
            case 3:
                data[here:here] = data[here : here + length]
            case 4:
                data[here : here + length] = bytes(length)
            case 5:
                data[here : here + length] = b"\xff" * length
            case 6:
                data[here : here + length] = b""
    return bytes(data)


PIECES = (
    *("\t", "\n", "\r", '"', "'", ",", ";", ":", "-", "---\n", "{", "}", "[", "]", "{{", "%}"),
    *("\ufeff", "\x00", "\u2028", "&a ", "*a", "!!python/object:os.system", "<<: *a", "1e999"),
    *("\U0010ffff", "NaN", "0" * 5000, "[" * 2000, "- " * 2000, "a: " * 50, "# ", "|\n", ">\n"),
)


def of_text(seed: bytes, chance: random.Random) -> bytes:
    """Text with signs that a parser knows put in or in the place of others."""
    if chance.random() < 0.4:
        return of_bytes(seed, chance)
    text = seed.decode(errors="replace")
    for _ in range(chance.choice((1, 2, 4))):
        here = chance.randrange(len(text) + 1)
        text = text[:here] + chance.choice(PIECES) + text[here + chance.choice((0, 0, 1, 8)) :]
    return text.encode(errors="replace")


# --- readers --------------------------------------------------------------------------------------

Seed = Mapping[str, bytes]
Damage = Callable[[bytes, random.Random], bytes]


@dataclass(frozen=True, kw_only=True)
class Reader:
    """What reads a kind of file. seed: whole files by name, those to damage first; `damaged` are
    as many. function: of the worker, and its settings. slot: the input that the folder is. first:
    whole files that make it import what others do not."""

    seed: Callable[[], Seed]
    damage: Damage
    function: str
    settings: Mapping[str, Any]
    sort: Sort = "warm"
    slot: str = "fetch"
    damaged: int = 1
    again: bool = False
    first: tuple[Seed, ...] = ()


CONFIG = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 32000,
    "hidden_act": "silu",
    "max_position_embeddings": 4096,
    "initializer_range": 0.02,
    "rms_norm_eps": 1e-05,
    "rope_theta": 10000.0,
    "rope_scaling": {"rope_type": "linear", "factor": 2.0},
    "tie_word_embeddings": False,
    "bos_token_id": 1,
    "eos_token_id": [2, 3],
    "pad_token_id": 0,
    "torch_dtype": "bfloat16",
    "id2label": {"0": "no", "1": "yes"},
    "label2id": {"no": 0, "yes": 1},
}
VISION = {
    "model_type": "clip",
    "architectures": ["CLIPModel"],
    "projection_dim": 512,
    "text_config": {
        "hidden_size": 512,
        "num_attention_heads": 8,
        "eos_token_id": 2,
        "vocab_size": 49408,
    },
    "vision_config": {
        "hidden_size": 768,
        "image_size": 224,
        "patch_size": 32,
        "num_hidden_layers": 12,
    },
}
MODEL = {
    "model": {"architecture": "auto", "shrink": "auto", "size": "tiny", "config": {}},
    "max_parameters": 20_000_000,
}


def configs(data: object) -> Callable[[], Seed]:
    return lambda: {"source/config.json": json.dumps(data).encode()}


# All types of transformers are compared with a config that has none: 5.5 s once a process.
UNTYPED = configs({key: CONFIG[key] for key in ("hidden_size", "vocab_size")})()


def _tokenizer() -> Seed:
    from kit.standins import bpe

    made = bpe(600, ("<|endoftext|>",))
    config = json.dumps({"tokenizer_class": "GPT2Tokenizer", "eos_token": "<|endoftext|>"})
    return {
        "source/tokenizer.json": made.to_str().encode(),
        "source/tokenizer_config.json": config.encode(),
    }


def _pieces(kind: str) -> Callable[[], Seed]:
    def seed() -> Seed:
        from kit.vocabularies import pieces

        model = pieces(kind, vocab_size=600, byte_fallback=True)
        config = json.dumps({"tokenizer_class": "LlamaTokenizer"}).encode()
        return {"source/tokenizer.model": model, "source/tokenizer_config.json": config}

    return seed


def _tiktoken() -> Seed:
    import base64

    letters = [bytes([n]) for n in range(256)] + [b"th", b"the", b"he"]
    lines = [b"%s %d\n" % (base64.b64encode(token), n) for n, token in enumerate(letters)]
    return {"source/my.tiktoken": b"".join(lines)}


def _tekken() -> Seed:
    import base64

    def entry(rank: int, token: bytes) -> dict[str, Any]:
        return {
            "rank": rank,
            "token_bytes": base64.b64encode(token).decode(),
            "token_str": token.decode(errors="ignore") or None,
        }

    letters = [bytes([n]) for n in range(256)] + [b"th", b"the", b"he", b" t"]
    special = ["<unk>", "<s>", "</s>", "[INST]", "[/INST]"]
    data = {
        "config": {
            "pattern": "[^\\s]+|\\s+",
            "num_vocab_tokens": len(letters),
            "default_vocab_size": len(letters) + 10,
            "default_num_special_tokens": 10,
            "version": "v3",
        },
        "vocab": [entry(n, token) for n, token in enumerate(letters)],
        "special_tokens": [
            {"rank": n, "token_str": token, "is_control": True} for n, token in enumerate(special)
        ],
    }
    return {"source/tekken.json": json.dumps(data).encode()}


def shrinking(size: int) -> dict[str, Any]:
    section = {"method": "truncate", "vocab_size": size, "text": "plain"}
    return {"tokenizer": section, "slot": "source", "kind": "path", "blank": False, "related": True}


ROWS = [{"text": f"row {n}", "n": n, "list": [n, None], "deep": {"a": n / 3}} for n in range(20)]


def _columnar(kind: str) -> Callable[[], Seed]:
    def seed() -> Seed:
        import pyarrow
        from pyarrow import ipc, parquet

        table, sink = pyarrow.Table.from_pylist(ROWS), io.BytesIO()
        if kind == "parquet":
            parquet.write_table(table, sink, row_group_size=7)
        else:
            with ipc.new_file(sink, table.schema) as file:
                file.write_table(table)
        return {f"data.{kind}": sink.getvalue()}

    return seed


def _lines() -> Seed:
    return {"data.jsonl": b"".join(json.dumps(row).encode() + b"\n" for row in ROWS)}


def _list() -> Seed:
    return {"data.json": json.dumps(ROWS, indent=1).encode()}


def _csv() -> Seed:
    lines = [f'{n},"text, of {n}",{n / 7}\n' for n in range(30)]
    return {"data.csv": ("number,text,part\n" + "".join(lines)).encode()}


def _tar() -> Seed:
    from kit.archives import tar
    from kit.media import image

    pairs = [(f"{n}.png", image()) for n in range(3)] + [(f"{n}.txt", b"a text") for n in range(3)]
    return {"data.tar": tar(sorted(pairs))}


def _zip() -> Seed:
    from kit.archives import zipped

    return {"data.zip": zipped([(f"{n}.jsonl", b'{"a": 1}\n' * 5) for n in range(3)])}


def _gzip() -> Seed:
    import gzip

    return {"data.jsonl.gz": gzip.compress(_lines()["data.jsonl"], mtime=0)}


def _image(kind: str) -> Callable[[], Seed]:
    def seed() -> Seed:
        from kit.media import image

        return {f"train/{n}.{kind.lower()}": image((32, 24), kind) for n in range(2)}

    return seed


def _sound(kind: str) -> Callable[[], Seed]:
    def seed() -> Seed:
        from kit.media import sound

        return {f"train/{n}.{kind.lower()}": sound(kind) for n in range(2)}

    return seed


README = "README.md"
CARD = b"""\
---
license: mit
language: [en, de]
configs:
- config_name: default
  data_files:
  - split: train
    path: data.csv
- config_name: other
  data_files: "*.csv"
dataset_info:
  features:
  - name: number
    dtype: int64
  - name: text
    dtype: string
  - name: part
    dtype: float64
  splits:
  - name: train
    num_examples: 30
---
# A card
"""


def _card() -> Seed:
    return {README: CARD, **_csv()}


DATASET = {"dataset": {"samples": 2, "source": {"path": "x"}}}
PICTURES = {"dataset": {**DATASET["dataset"], "image": {"max_size": 8}}}
SOUNDS = {"dataset": {**DATASET["dataset"], "audio": {"max_seconds": 0.05}}}
RECIPE = b"""\
version: 1
summary: a tiny one
source: {hub: owner/name, revision: main}
tokenizer: {method: truncate, vocab_size: 300, special_tokens: [a, b]}
dataset:
  samples: 5
  source:
    path: ../rows
model:
  architecture: auto
  config: &c {hidden_size: 16, layer_types: [a, b]}
limits: {seconds: 60, memory: 1GB}
"""
LOCK = {
    "version": 1,
    "pins": {
        "source": {
            "wish": {"hub": "owner/name"},
            "commit": "a" * 40,
            "files": {"config.json": {"sha256": "0" * 64, "size": 5}},
        }
    },
}
TENSORS = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}


def _safetensors() -> Seed:
    text = json.dumps({"__metadata__": {"format": "pt"}, "a.weight": TENSORS}).encode()
    return {"model.safetensors": len(text).to_bytes(8, "little") + text + bytes(24)}


def _header(seed: bytes, chance: random.Random) -> bytes:
    """safetensors with a damaged header, or damaged all over."""
    if chance.random() < 0.3:
        return of_bytes(seed, chance)
    text = of_json(seed[8:-24], chance)
    return len(text).to_bytes(8, "little") + text + bytes(24)


def rows(seed: Callable[[], Seed], damage: Damage, settings: Mapping[str, Any] = DATASET) -> Reader:
    """A reader of rows. A card names the files beside it: the library would look for 66 patterns
    of names else, which takes most of an input's time."""

    def carded() -> Seed:
        files = seed()
        named = json.dumps({"configs": [{"config_name": "default", "data_files": [*files]}]})
        return {**files, README: files.get(README, f"---\n{named}\n---\n".encode())}

    return Reader(
        seed=carded,
        damage=damage,
        function="tinybuild.dataset.stage:make",
        settings=settings,
        sort="light",
        slot="dataset",
    )


def tokens(seed: Callable[[], Seed], damage: Damage, damaged: int = 1, size: int = 300) -> Reader:
    return Reader(
        seed=seed,
        damage=damage,
        function="tinybuild.tokenizer.stage:make",
        settings=shrinking(size),
        damaged=damaged,
    )


def own(name: str, seed: Callable[[], Seed], damage: Damage, **more: Any) -> Reader:
    """A reader that is not a stage's: a function below."""
    return Reader(
        seed=seed,
        damage=damage,
        function=f"kit.fuzz:{name}",
        settings={},
        slot="own",
        **{"sort": "light", **more},
    )


def read_recipe(job: Job) -> None:
    from tinybuild.recipe import reading

    reading.read(job.inputs["own"] / "x.yaml", "recipes/x.yaml", "")


def read_lock(job: Job) -> None:
    from tinybuild.recipe import lock

    lock.read(job.inputs["own"] / "x.yaml")


def read_tensors(job: Job) -> None:
    """What a diff of bundles does: another's model is compared."""
    from tinybuild import tensors

    try:
        tensors.read(job.inputs["own"] / "model.safetensors")
    except ValueError as error:
        raise Fault.of(f"not safetensors: {error}", hint="none") from None


@contextlib.contextmanager
def _hub(folder: Path) -> Iterator[Hub]:
    """A Hub with a model and a dataset, and its client in this process."""
    with pytest.MonkeyPatch.context() as patch, connected(folder, patch, "") as hub:
        model, dataset = hub.repo("owner/model"), hub.dataset("owner/rows")
        model.told = dataset.told = {"cardData": {"license": "mit", "language": ["en", "de"]}}
        model.commit({"config.json": json.dumps(CONFIG).encode()})
        dataset.commit(_lines())
        yield hub


def _answers() -> Seed:
    """What it says of both, and the listing of the dataset's files."""
    import urllib.request

    with tempfile.TemporaryDirectory() as folder, _hub(Path(folder)) as hub:
        paths = (
            "api/models/owner/model/revision",
            "api/datasets/owner/rows/revision",
            "api/datasets/owner/rows/tree",
        )
        return {path: urllib.request.urlopen(f"{hub.url}/{path}/main").read() for path in paths}


def read_hub(job: Job) -> None:
    """Fetch from a Hub that says other things than it has."""
    from tinybuild import source

    wishes = {"source": {"hub": "owner/model"}, "dataset": {"hub": "owner/rows", "max_read": 10**6}}
    rows = {"source": wishes["dataset"], "samples": 2}
    settings = {"wishes": wishes, "rows": rows, "base": "recipes", "locks": {}}
    said = job.inputs["own"]
    with _hub(job.root) as hub:
        hub.troubles = [
            Trouble(
                where=path.relative_to(said).as_posix(), status=200, body=path.read_bytes(), times=9
            )
            for path in said.rglob("*")
            if path.is_file()
        ]
        source.fetch(replace(job, settings=settings, inputs={}))


READERS: Mapping[str, Reader] = {
    "recipe": own("read_recipe", lambda: {"x.yaml": RECIPE}, of_text),
    "Hub": own("read_hub", _answers, of_json, sort="online", damaged=3, again=True),
    "lock": own("read_lock", lambda: {"x.lock.json": json.dumps(LOCK).encode()}, of_json),
    "safetensors": own("read_tensors", _safetensors, _header),
    "parquet": rows(_columnar("parquet"), of_bytes),
    "arrow": rows(_columnar("arrow"), of_bytes),
    "json": rows(_lines, of_text),
    "JSON list": rows(_list, of_text),
    "csv": rows(_csv, of_text),
    "card": rows(_card, of_text),
    "tar": rows(_tar, of_bytes),
    "zip": rows(_zip, of_bytes),
    "gzip": rows(_gzip, of_bytes),
    "png": rows(_image("PNG"), of_bytes, PICTURES),
    "jpeg": rows(_image("JPEG"), of_bytes, PICTURES),
    "wav": rows(_sound("WAV"), of_bytes, SOUNDS),
    "flac": rows(_sound("FLAC"), of_bytes, SOUNDS),
    "config": Reader(
        seed=configs(CONFIG),
        damage=of_json,
        function="tinybuild.model:sized",
        settings=MODEL,
        first=(UNTYPED,),
    ),
    "config of parts": Reader(
        seed=configs(VISION),
        damage=of_json,
        function="tinybuild.model:sized",
        settings=MODEL,
        first=(UNTYPED,),
    ),
    "tokenizer.json": tokens(_tokenizer, of_json, damaged=2),
    "unigram model": tokens(_pieces("unigram"), of_bytes),
    "bpe model": tokens(_pieces("bpe"), of_bytes),
    "tiktoken": tokens(_tiktoken, of_text, size=258),
    "tekken": tokens(_tekken, of_json, size=266),
}


# --- what becomes of them -------------------------------------------------------------------------


@dataclass
class Figures:
    """wrong: (number of the input, what is wrong with how it was answered). Seconds and bytes are
    the most that one took."""

    inputs: int = 0
    taken: int = 0
    refused: int = 0
    seconds: float = 0.0
    wrong: list[tuple[int, str]] = field(default_factory=list)
    said: Counter[str] = field(default_factory=Counter)


def damaged(reader: Reader, name: str, number: int) -> dict[str, bytes]:
    """The files of an input: all whole but one."""
    chance = random.Random(f"{name}/{number}")
    files = dict(_whole(name))
    target = [*files][chance.randrange(reader.damaged)]
    files[target] = reader.damage(files[target], chance)
    return files


def job(reader: Reader, files: Mapping[str, bytes], folder: Path) -> Job:
    place, out = folder / "in", folder / "out"
    out.mkdir()
    for file, content in files.items():
        path = place / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return Job(
        task="fuzz:x",
        settings=reader.settings,
        inputs={reader.slot: place},
        facts={},
        root=folder,
        out=out,
        seed=0,
        upstream={"dataset": dict.fromkeys(files, "0" * 64)} if reader.slot == "dataset" else {},
    )


LATE = "took too long"


def wrong(fault: Fault, again: bool = False) -> str:
    """What is wrong with a refusal; "" where nothing is. again: the same may go well next time."""
    for finding in fault.findings:
        text = f"{finding.what} {finding.hint}"
        advised = finding.hint or " must " in finding.what  # which says it
        if not finding.what or not advised:
            return f"no hint: {finding.what}"
        if finding.what.startswith("a bug of tinybuild"):
            return finding.what
        if (
            "Traceback" in text
            or ("run it again" in text and not again)
            or tempfile.gettempdir() in text
        ):
            return f"says what it must not: {text}"
        text.encode()
    return LATE if any("longer than" in f.what for f in fault.findings) else ""


def _warmed(reader: Reader, pool: Pool) -> None:
    """What a process imports once, by the first file that needs it: no input's own time. Other
    files may need more of it than the whole one."""
    for files in (reader.seed(), *reader.first):
        with tempfile.TemporaryDirectory() as folder, contextlib.suppress(Exception):
            asked = job(reader, files, Path(folder))
            pool.call(reader.function, asked, Limits(seconds=12 * SLOW), reader.sort)


def attack(name: str, numbers: range, pool: Pool) -> Figures:
    """Have a reader read damaged inputs. One that took too long is read again by a worker that has
    imported what it needs."""
    figures = _attack(name, numbers, pool)
    late = [number for number, what in figures.wrong if what == LATE]
    figures.wrong = [(number, what) for number, what in figures.wrong if what != LATE]
    for number in late:
        _warmed(READERS[name], pool)
        figures.wrong += _attack(name, range(number, number + 1), pool).wrong
    return figures


def _attack(name: str, numbers: range, pool: Pool) -> Figures:
    reader, figures = READERS[name], Figures()
    limits = Limits(seconds=SLOW, memory=MEMORY)
    _warmed(reader, pool)
    for number in numbers:
        with tempfile.TemporaryDirectory() as folder:
            asked = job(reader, damaged(reader, name, number), Path(folder))
            begun = time.monotonic()
            figures.inputs += 1
            try:
                pool.call(reader.function, asked, limits, reader.sort)
                figures.taken += 1
            except Fault as fault:
                figures.refused += 1
                figures.said[fault.findings[0].what[:60]] += 1
                if what := wrong(fault, reader.again):
                    figures.wrong.append((number, what))
            except Exception as error:  # noqa: BLE001 - each is one that a user would see
                figures.wrong.append((number, f"{type(error).__name__}: {str(error)[-600:]}"))
            figures.seconds = max(figures.seconds, time.monotonic() - begun)
    return figures


def main(count: str, *names: str) -> NoReturn:
    pool, wrong = Pool(), 0
    try:
        for name in names or READERS:
            begun = time.monotonic()
            done = attack(name, range(int(count)), pool)
            wrong += len(done.wrong)
            took = time.monotonic() - begun
            print(  # noqa: T201 - it is a command
                f"{name}: {done.inputs} inputs, {done.taken} taken, {done.refused} refused, "
                f"{len(done.wrong)} wrong, at most {done.seconds:.1f} s, {took:.0f} s in all",
                *(f"\n  {number}: {what}" for number, what in done.wrong[:40]),
                flush=True,
            )
    finally:
        pool.stop()
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
