"""methods: truncate and corpus. The source's tokenizer with N of its own tokens, and no other.

The files of the source are rewritten, not what transformers makes of them: what is not an id or a
token stays as it was. Ids keep their order: a token's new id is its rank among the kept ones.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tinybuild.errors import BuildFault
from tinybuild.facts import CharactersPerToken, Shrunk, Unreachable
from tinybuild.files import copy, pretty
from tinybuild.keys import PROCESSORS, ROLES, elsewhere, is_id, replaced
from tinybuild.paths import Data, Json, mapping
from tinybuild.tokenizer import (
    choose,
    cutting,
    sample,
    slow,
    tokenizer_json,
    upstream,
    vocabulary,
)
from tinybuild.tokenizer.choose import Space
from tinybuild.tokenizer.living import living
from tinybuild.tokenizer.loading import load
from tinybuild.tokenizer.tokenizer_json import TokenizerJson
from tinybuild.tokenizer.upstream import Upstream
from tinybuild.tokenizer.work import Made, Work

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

VOCAB_MAP = "vocab_map.json"
ROUNDS = 3  # how often tokens may turn up that the class adds by itself


def truncate(work: Work) -> Made:
    """method: truncate. The first tokens by rank."""
    return _shrunk(work, by_use=False)


def corpus(work: Work) -> Made:
    """method: corpus. The tokens that the sample uses, most frequent first; then by rank."""
    return _shrunk(work, by_use=True)


def _shrunk(work: Work, *, by_use: bool) -> Made:
    """Write the shrunken tokenizer; give it loaded, with the facts about it. Raises BuildFault."""
    origin, texts = work.origin, list(sample.texts(work.section, work.inputs, work.text))
    given = texts if sample.given(work.section, work.inputs) else []
    used, spaces, letters = origin.used(texts), origin.spaces, origin.alphabet(given)
    must = {space.name: living(work, origin, space) for space in spaces}
    size = work.section["vocab_size"]
    for _ in range(ROUNDS):
        choices = {
            space.name: choose.choose(
                space,
                size=min(size, len(space.ids)) if space.name else size,
                must=must[space.name],
                alphabet={
                    token: why
                    for segmenter in space.segmenters
                    for letter, why in letters.items()
                    for token in segmenter.letters(letter)
                },
                used=used[space.name] if by_use else {},
            )
            for space in spaces
        }
        kept = {space.name: _numbered(space, choices[space.name].kept) for space in spaces}
        _write(origin, work.out, spaces, kept, work.section.get("missing_ids", "error"))
        made = load(work.out, None, "path")
        again = made.get_vocab().keys() - kept[""].keys()
        if not again or not again <= spaces[0].ids.keys():
            break
        # The class adds these by itself, whatever the files say: so they live.
        must[""] |= dict.fromkeys(sorted(again, key=spaces[0].ids.__getitem__), "class")
        shutil.rmtree(work.out)
        work.out.mkdir()
    slow.verify(made, kept)
    disagreed = _one_cutting(work.out, made)
    if origin.fast is None and origin.files.json is not None and not origin.beside:
        what = f"left out: it numbers other tokens than {type(made).__name__}"
        disagreed[tokenizer_json.NAME] = what
    (work.out / VOCAB_MAP).write_text(_map(spaces, kept), encoding="utf-8")
    tiny = Upstream(files=upstream.read(work.out), loaded=made)
    shrunk = _facts(tiny, texts, used[""], spaces[0], choices[""])
    return Made(loaded=made, shrunk=dataclasses.replace(shrunk, disagreed=disagreed))


def _one_cutting(folder: Path, made: PreTrainedTokenizerBase) -> dict[str, str]:
    """Files that cut text otherwise than AutoTokenizer, which `made` is -> what became of each.

    A class may write its own pipeline, whatever tokenizer.json says: then that one is in the file,
    too. Others are left out.
    """
    told = {}
    readers = cutting.readers(folder, made)
    for name, how in cutting.differences(readers, made, cutting.texts()).items():
        path, what = folder / name, "left out"
        if made.is_fast and name == tokenizer_json.NAME:
            data, own = json.loads(path.read_bytes()), json.loads(made.backend_tokenizer.to_str())
            parts = ("added_tokens", "normalizer", "pre_tokenizer", "decoder")
            data |= {part: own[part] for part in parts}
            path.write_text(tokenizer_json.dumps(data), encoding="utf-8", newline="\n")
            what = f"with the pipeline of {type(made).__name__}"
        else:
            path.unlink()
        told[name] = f"{what}: as in the source it {how}"
    return told


def _numbered(space: Space, tokens: Iterable[str]) -> dict[str, int]:
    """Tokens -> their new ids, in the order of the old ones."""
    return {token: n for n, token in enumerate(sorted(tokens, key=space.ids.__getitem__))}


# --- the new files --------------------------------------------------------------------------------


def _write(
    origin: Upstream,
    out: Path,
    spaces: Sequence[Space],
    kept: Mapping[str, Mapping[str, int]],
    missing: str,
) -> None:
    """Every file of the source that says something of its tokens, with the kept ones.

    missing: what becomes of an id in a config that stands for no token (error or unk).
    """
    source, main, folder = origin.loaded, kept[""], origin.files.folder
    new_ids = {spaces[0].ids[token]: number for token, number in main.items()}
    unknown = main.get(str(source.unk_token)) if missing == "unk" else None

    def config(data: Data, name: str) -> str:
        return pretty(_ids_in(data, lambda old: new_ids.get(old, unknown), (name,)))

    told = _config(origin, main)
    texts = {"tokenizer_config.json": config(told, "tokenizer_config.json")}
    if origin.fast is not None:
        texts[tokenizer_json.NAME] = tokenizer_json.cut(origin.fast, main)
    else:
        slow.write(source, folder, out, kept)
    for path in sorted(folder.iterdir()):
        name = path.name
        if name in texts or (out / name).exists():
            continue
        if name in origin.beside:
            (out / name).write_bytes(origin.beside[name].cut(main))
        elif name in PROCESSORS:
            data = vocabulary.read(path)
            own = {key: value for key, value in data.items() if not elsewhere(key, value)}
            texts[name] = config(own, name)
        elif (text := _listing(path, origin, main)) is not None:
            texts[name] = text
        else:
            _carry(path, out / name, source)
    template = source.chat_template if origin.files.json is None else None
    if isinstance(template, str) and "chat_template" not in told:
        texts.setdefault("chat_template.jinja", template)
    for name, text in texts.items():
        (out / name).write_text(text, encoding="utf-8", newline="\n")


def _listing(path: Path, origin: Upstream, kept: Mapping[str, int]) -> str | None:
    """A file that lists tokens beside the vocabulary itself; None for any other.

    Raises BuildFault for one that lists another tokenizer's.
    """
    if path.name == "special_tokens_map.json":
        return pretty(_special(vocabulary.read(path), kept))
    if path.name in ("added_tokens.json", "vocab.json"):
        data = vocabulary.read(path)
        _own(path.name, origin, data.keys())
        tokens = sorted(data.keys() & kept.keys(), key=kept.__getitem__)
        return tokenizer_json.dumps({token: kept[token] for token in tokens}) + "\n"
    if path.name in ("merges.txt", "vocab.txt") and origin.fast is not None:
        return _lines(path, origin, origin.fast, kept)
    return None


def _settings(origin: Upstream) -> Data:
    """The source's tokenizer_config.json; where there is no tokenizer.json, also what the class has
    been told otherwise, and the special tokens that it has found in its files."""
    data = vocabulary.read(origin.files.folder / "tokenizer_config.json")
    if origin.fast is None or origin.files.json is not None:
        return data
    told = origin.loaded.init_kwargs.items()
    given = {name: value for name, value in told if isinstance(value, bool | int | float)}
    roles = {f"{role}_token": getattr(origin.loaded, f"{role}_token") for role in ROLES}
    extra = [str(token) for token in origin.loaded.extra_special_tokens]
    named = {**origin.loaded.special_tokens_map, "extra_special_tokens": extra}
    return {**given, **roles, **named, **data}


def _carry(path: Path, out: Path, source: PreTrainedTokenizerBase) -> None:
    """Copy what holds no tokens: chat templates, and files of a class such as normalizer.json."""
    roles = source.vocab_files_names.items()
    carried = {name for role, name in roles if role == "normalizer_file"}
    if path.is_dir():
        for below in sorted(path.glob("*.jinja")):
            copy(below, out / below.name)
    elif path.suffix == ".jinja" or path.name in ("chat_template.json", *carried):
        shutil.copyfile(path, out)


def _lines(path: Path, origin: Upstream, fast: TokenizerJson, kept: Mapping[str, int]) -> str:
    """merges.txt or vocab.txt with the kept tokens."""
    try:
        lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        what = f"{path.name} is not UTF-8 (byte {error.start:,})"
        raise BuildFault.of(what, key=("tokenizer",)) from None
    headed = [line for line in lines[:1] if line.startswith("#version")]
    lines = [line.rstrip("\r") for line in lines[len(headed) :] if line]
    if path.name == "vocab.txt":
        _own(path.name, origin, lines)
        return "".join(f"{line}\n" for line in lines if line in kept)
    prefix = len(fast.data["model"].get("continuing_subword_prefix") or "")
    pairs = [line.partition(" ")[::2] for line in lines]
    _own(path.name, origin, (left for left, _ in pairs))
    stay = [
        f"{left} {right}"
        for left, right in pairs
        if left in kept and right in kept and left + right[prefix:] in kept
    ]
    return "".join(f"{line}\n" for line in headed + stay)


def _own(name: str, origin: Upstream, tokens: Iterable[str]) -> None:
    """Refuse a file most of whose tokens the tokenizer does not have."""
    own = set(tokens)
    strange = len(own - origin.ids.keys())
    if strange > len(own) / 2:
        raise BuildFault.of(
            f"{name} disagrees with {type(origin.loaded).__name__}, which does not have "
            f"{strange:,} of its {len(own):,} entries",
            key=("tokenizer",),
            hint="it is another tokenizer's, or a pointer to the real file; leave it out",
        )


def _text(token: Json) -> str:
    """The text of a token as configs write it: a string, or {"content": ...}."""
    return str(token["content"] if isinstance(token, Mapping) else token)


def _special(data: Data, kept: Mapping[str, int]) -> dict[str, Json]:
    """A mapping of roles to tokens whose lists lose the tokens that are gone."""
    return {
        name: [token for token in value if _text(token) in kept]
        if name in ("additional_special_tokens", "extra_special_tokens") and isinstance(value, list)
        else value
        for name, value in data.items()
    }


def _config(origin: Upstream, kept: Mapping[str, int]) -> dict[str, Json]:
    """tokenizer_config.json: the class, and lists and counts of tokens brought in line."""
    source, data = origin.loaded, _settings(origin)
    made = _special(data, kept)
    if "added_tokens_decoder" in data:
        decoder = {
            kept[_text(token)]: token
            for token in mapping(data["added_tokens_decoder"]).values()
            if _text(token) in kept
        }
        made["added_tokens_decoder"] = {str(number): decoder[number] for number in sorted(decoder)}
    count = data.get("extra_ids", source.init_kwargs.get("extra_ids"))
    if isinstance(count, int):
        made["extra_ids"] = sum(f"<extra_id_{number}>" in kept for number in range(count))
    made["tokenizer_class"] = type(source).__name__
    return made


def _ids_in(data: Data, new: Callable[[int], int | None], path: tuple[str, ...]) -> dict[str, Json]:
    """A config with `new` in place of each token id, at any depth. Raises BuildFault for an id that
    stands alone and has no new one."""

    def inner(value: Json, at: tuple[str, ...]) -> Json:
        if isinstance(value, dict):
            return _ids_in(value, new, at)
        return [inner(item, at) for item in value] if isinstance(value, list) else value

    made: dict[str, Json] = {}
    for name, value in data.items():
        if not is_id(name):
            made[name] = inner(value, (*path, name))
            continue
        made[name] = replaced(name, value, new)
        if made[name] is None and value is not None:
            raise BuildFault.of(
                f"{'.'.join((*path, name))} is {value} in the source, which stands for no token",
                key=("tokenizer",),
                hint="let it become the unknown token: tokenizer.missing_ids: unk",
            )
    return made


def _map(spaces: Sequence[Space], kept: Mapping[str, Mapping[str, int]]) -> str:
    """vocab_map.json: see schemas/vocab_map.v1.schema.json."""
    maps = {
        space.name or "vocab": {
            "old_size": len(space.ids),
            "new_size": len(kept[space.name]),
            "old_to_new": {
                str(space.ids[token]): number for token, number in kept[space.name].items()
            },
        }
        for space in spaces
    }
    return json.dumps({"version": 1, **maps.pop("vocab"), **maps}, separators=(",", ":")) + "\n"


# --- facts ----------------------------------------------------------------------------------------


def _same(space: Space, token: str, kept: Container[str]) -> bool:
    """Whether the source gives a token for some text, and all that it is merged from was kept."""
    for segmenter in space.segmenters:
        if token in segmenter.tokens and segmenter.emitted(token):
            parts = segmenter.parts(token) or ()
            return all(part in kept for part in parts if part in space.ids)
    return False


def _facts(
    tiny: Upstream,
    texts: Sequence[str],
    counts: Counter[str],
    space: Space,
    chosen: choose.Chosen,
) -> Shrunk:
    """What was kept of the main vocabulary; counts: how often the texts have each source token."""
    kept, total, characters = chosen.kept, counts.total(), sum(map(len, texts))
    tokens = tiny.used(texts)[""].total()
    # What comes out of a text in the source does so here, for all that it is made of was kept.
    doubtful = [t for t in kept if t not in space.atoms and not _same(space, t, kept)]
    dead = [t for t in doubtful if not choose.emitted(t, tiny.spaces[0].segmenters)]
    return Shrunk(
        source_size=len(space.ids),
        source_largest_id=max(space.ids.values()),
        kept=dict(Counter(kept.values()).most_common()),
        trimmed=choose.runs(chosen.trimmed),
        unreachable=Unreachable(
            tokens=len(dead),
            in_source=sum(not choose.emitted(token, space.segmenters) for token in dead),
        ),
        coverage=round(sum(counts[t] for t in kept) / total, 4) if total else 1.0,
        characters_per_token=CharactersPerToken(
            source=round(characters / total, 3) if total else 0.0,
            tiny=round(characters / tokens, 3) if tokens else 0.0,
        ),
    )
