"""The processor that transformers makes for a model type by default, and the tokens it asks for."""

from __future__ import annotations

import importlib
import inspect
import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tinybuild.coded import code
from tinybuild.keys import ROLES, START, is_code, is_config, reads_text, role, vocabulary
from tinybuild.paths import Data, Json, mappings, whole

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase as Tokenizer
    from transformers import ProcessorMixin as Processor

    Class = type[Processor]

# Where each kind of part stands in a unified processor_config.json, its mapping from model types to
# class names, and the module of that mapping.
MAPPINGS = (
    ("image_processor", "IMAGE_PROCESSOR_MAPPING_NAMES", "image_processing_auto"),
    ("video_processor", "VIDEO_PROCESSOR_MAPPING_NAMES", "video_processing_auto"),
    ("feature_extractor", "FEATURE_EXTRACTOR_MAPPING_NAMES", "feature_extraction_auto"),
)
# What a processor class may ask of a part that does not write it down: the config says it.
SAID = frozenset(
    (
        *("image_seq_length", "image_seq_len", "audio_seq_length", "num_image_tokens"),
        *("patch_size", "downsample_factor", "merge_size"),
    )
)
SAMPLE = 64  # pixels a side
GRIDS = (2, 4)  # numbers that tell how an image is cut: rows and columns, of one view or of two
PLACES = 16  # tokens for places in an image, of which a class numbers a thousand (Kosmos 2)
OF_LIBRARY = "MistralCommonBackend"
MOST = 40  # tokens that a processor may ask its tokenizer for by name


def processor(kind: str, tokenizer: Tokenizer | None) -> dict[str, dict[str, Any]]:
    """{file name: JSON data} of the processor files of a model type, with default values.

    A type with a processor class has processor_config.json with every part in it, as transformers
    5 saves it; one with a single part preprocessor_config.json; {} for a type with neither. A part
    whose class needs a package that is not installed is left out.
    `tokenizer` (of the type's family, without a vocabulary) gets the tokens that the processor
    class adds or asks for: image_token, say. Those that neither have a text for become <image>.
    """
    parts = {name: made for name in [m[0] for m in MAPPINGS] if (made := part(kind, name))}
    whole = _class(kind)
    if whole is None and tokenizer is not None:
        whole = _neighbour(kind)
    if tokenizer is not None and _insists(whole, tokenizer):
        return {}
    if whole is None or _lacks_package(whole):
        named_in = {"video_processor": "video_preprocessor_config.json"}
        return {named_in.get(n, "preprocessor_config.json"): p for n, p in parts.items()}
    try:
        attributes = whole.get_attributes()
    except (TypeError, ValueError):
        return {}
    held: dict[str, Any] = {}
    for name in attributes:
        modality = next((m for m, _, _ in MAPPINGS if m in name), None)
        if modality is None and "audio_processor" in name:
            modality = "feature_extractor"
        if modality in parts:
            held[name] = dict(parts[modality])
    asked = None
    if tokenizer is not None:
        asked = probe(whole, attributes, held, tokenizer)
    return {
        "processor_config.json": {
            **held,
            **_own(whole, attributes, asked, tokenizer),
            "processor_class": whole.__name__,
        }
    }


def _lacks_package(whole: Class | None) -> bool:
    """Whether what stands in the place of a class whose package is not installed refuses all that
    is asked of it."""
    return bool(getattr(whole, "is_dummy", False))


def _insists(whole: Class | None, tokenizer: Tokenizer) -> bool:
    """Whether a processor class works with the tokenizers of a library alone, which are made of its
    own files (Voxtral's: mistral-common's tekken.json): a blank one is none of them."""
    module = str(getattr(whole, "__module__", "")).split(".")[-2:-1]
    insists = bool(module) and OF_LIBRARY in code(module[0], "processing")
    return insists and type(tokenizer).__name__ != OF_LIBRARY


def _class(kind: str) -> Class | None:
    """The processor class that AutoProcessor takes for a model type."""
    from transformers.models.auto.processing_auto import (
        PROCESSOR_MAPPING_NAMES,
        processor_class_from_name,
    )

    named = PROCESSOR_MAPPING_NAMES.get(kind)
    return processor_class_from_name(named) if named is not None else None


def _neighbour(kind: str) -> Class | None:
    """The processor class of a model type that AutoProcessor has none for, though it has parts.

    That of the type's own module (Kosmos 2), or of a type that has the same model class (GLM-GA),
    or of the module where a part of it lives (wav2vec 2.0's for data2vec's sounds); None where the
    type does not have every part that the class wants.
    """
    from transformers.models.auto.configuration_auto import model_type_to_module_name
    from transformers.models.auto.modeling_auto import MODEL_MAPPING_NAMES

    named = {place: _mapped(kind, place) for place, _, _ in MAPPINGS if kind in _mapping(place)}
    if not named:
        return None
    known = [_module_class(model_type_to_module_name(kind))]
    model = MODEL_MAPPING_NAMES.get(kind)
    known += [_class(k) for k, name in MODEL_MAPPING_NAMES.items() if name == model and model]
    transformers = importlib.import_module("transformers")
    films = named.get("video_processor")  # its images' may be older (Qwen2-VL's)
    for other in _mapping("video_processor") if films else ():
        known += [_class(other)] if _mapped(other, "video_processor") == films else []
    for names in named.values():
        homes = [getattr(transformers, name, None) for name in names]
        known += [_module_class(home.__module__.split(".")[-2]) for home in homes if home]
    for one in known:
        if one is None or _lacks_package(one):
            continue
        if all("tokenizer" in name or name in named for name in one.get_attributes()):
            return one
    return None


def _module_class(module: str) -> Class | None:
    """The processor class of a module of transformers; None where it has none that can be had."""
    name = f"transformers.models.{module}.processing_{module}"
    try:
        own = importlib.import_module(name)
        classes = [getattr(own, name) for name in own.__all__]
    except (ImportError, AttributeError):
        return None
    return next((one for one in classes if hasattr(one, "get_attributes")), None)


def _mapped(kind: str, name: str) -> list[str]:
    """The classes that a model type is mapped to for one part of a processor."""
    entry = _mapping(name).get(kind) or _owned(kind, name)
    return [entry] if isinstance(entry, str) else [v for v in (entry or {}).values() if v]


# What a model's code calls what it takes of each part.
TAKEN = {"image_processor": "pixel_values", "video_processor": "pixel_values_videos"}


def _owned(kind: str, name: str) -> Any:
    """The part of a type that nobody maps it to, though its processor class wants one and its model
    takes what it makes: that of the type that the class was written for (GLM-4V's for the MoE), or
    of a part of the type's default config (ViT of a dual encoder); for sounds that of the type
    whose class it began as (Moonshine's streaming of wav2vec 2.0's)."""
    whole = _class(kind)
    if _lacks_package(whole):
        return None
    if whole is not None and name == "feature_extractor" and name in whole.get_attributes():
        return _mapping(name).get(_began_as(kind, whole))
    taken, read = TAKEN.get(name), code(kind)
    if whole is None or taken is None or taken not in read:
        return None
    wanted = {part for part in whole.get_attributes() if "tokenizer" not in part}
    if name not in wanted or not wanted <= TAKEN.keys():
        return None
    known = _mapping(name)
    types = (whole.__module__.split(".")[-2], *_inside(kind))
    return next((known[one] for one in types if one in known), None)


def _inside(kind: str) -> list[str]:
    """The types of the parts of a type's default config."""
    from transformers import CONFIG_MAPPING

    parts = vars(CONFIG_MAPPING[kind]()).values()
    return [part.model_type for part in parts if hasattr(part, "model_type")]


def _began_as(kind: str, whole: Class) -> str:
    """The type whose processor class a class began as, by the file that it is written from; ""
    where that says nothing."""
    text = code(kind, "modular")
    base = re.search(rf"^class {whole.__name__}\((\w+)\)", text, re.MULTILINE)
    home = base and re.search(
        rf"^from \.\.(\w+)\.processing_\w+ import {base[1]}$", text, re.MULTILINE
    )
    return home[1] if home else ""


def _mapping(name: str) -> Mapping[str, Any]:
    """Model types and the classes of one part of a processor: one, or one for each library."""
    mapping, module = next((m, f) for n, m, f in MAPPINGS if n == name)
    auto = importlib.import_module(f"transformers.models.auto.{module}")
    known: Mapping[str, Any] = getattr(auto, mapping)
    return known


def part(kind: str, name: str) -> dict[str, Any] | None:
    """The default image processor, video processor or feature extractor of a type as JSON data.

    None where the type has none, or its class cannot be made here.
    """
    mapped = _mapped(kind, name)
    if name == "feature_extractor":
        mapped = [*_heard(kind, mapped), *mapped]
    for candidate in mapped:
        found = getattr(importlib.import_module("transformers"), candidate, None)
        if found is None or getattr(found, "is_dummy", False):
            continue
        try:
            made, data = _by_default(found)
        except (ImportError, TypeError, ValueError, OSError):
            continue  # it needs a package, or files
        return data if name != "image_processor" or _complete(made) else None
    return None


def _by_default(known: Callable[..., Any]) -> tuple[Any, dict[str, Any]]:
    """A part with its class's defaults, and those as JSON data; without what the class says to
    disable where a file is not there (the font by which Ernie 4.5's draws times on frames)."""
    made = known()
    try:
        return made, json.loads(made.to_json_string())
    except ValueError as error:
        off = re.search(r"\bdisable `(\w+)`", str(error))
        if off is None:
            raise
        made = known(**{off[1]: False})
        return made, json.loads(made.to_json_string())


def _heard(kind: str, mapped: Sequence[str]) -> list[str]:
    """The feature extractors that a type's processor speaks of, where the mapped one makes waves
    and the type's model takes features (wav2vec 2.0 BERT); [] elsewhere."""
    transformers = importlib.import_module("transformers")
    known: list[Any] = [getattr(transformers, one) for one in mapped if hasattr(transformers, one)]
    there = [one for one in known if not getattr(one, "is_dummy", False)]
    if not any("input_values" in one.model_input_names for one in there):
        return []
    if 'main_input_name = "input_features"' not in code(kind):
        return []
    return sorted({*re.findall(r"\w+FeatureExtractor\b", code(kind, "processing"))})


def _complete(made: Callable[..., object]) -> bool:
    """Whether an image processor works with its defaults (ImageGPT's has no colours)."""
    import numpy

    image = numpy.zeros((SAMPLE, SAMPLE, 3), dtype=numpy.uint8)
    for images in ([image], [image, image]):  # some compare two
        try:
            made(images=images)
        except ValueError:
            continue
        except (ImportError, TypeError, AttributeError, RuntimeError):
            return True  # it wants more than images; or a package
        return True
    return False


def _own(
    whole: Class,
    attributes: list[str],
    made: Processor | None,
    tokenizer: Tokenizer,
) -> dict[str, Any]:
    """The processor's own settings: counts, sizes, tokens. Those of `made` where there is one."""
    found = {}
    for name, parameter in inspect.signature(whole.__init__).parameters.items():
        if name in ("self", "chat_template", "audio_tokenizer", *attributes):
            continue
        if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        value = getattr(made, name, None)
        value = getattr(value, "content", value)
        if value is None and parameter.default is not parameter.empty:
            value = parameter.default
        if value is None or isinstance(value, str | int | float | bool | list):
            found[name] = value
    # Tokens that only the class knows: told here for those who read the files.
    for name, value in sorted(vars(made).items()) if made is not None else ():
        if _is_token(name, value) and not hasattr(tokenizer, name):
            found.setdefault(name, getattr(value, "content", value))
    return found


class _Part:
    """Stands for a part of a processor while its class is asked which tokens it wants."""

    _asked: set[str]

    def __init__(self, data: Mapping[str, Any], asked: set[str]):
        self.__dict__.update(data, _asked=asked)

    def __getattr__(self, name: str) -> int:
        if name.startswith("_"):
            raise AttributeError(name)
        self._asked.add(name)
        return 1


def probe(
    whole: Class,
    attributes: list[str],
    held: Mapping[str, Any],
    tokenizer: Tokenizer,
) -> Any:
    """A processor made of stand-ins and a real tokenizer, which gets the tokens it lacks.

    What the class asks of a part whose defaults do not have it is 1 there, until a config says it
    (PaliGemma's image_seq_length). None if the class wants what stand-ins do not have; the
    tokenizer then has what was found.
    """
    from unittest import mock  # brings asyncio and ssl: not for a doit with nothing to do

    trial = type(
        whole.__name__, (whole,), {"check_argument_for_proper_class": lambda self, *args: None}
    )
    asked_of: dict[str, set[str]] = {name: set() for name in attributes}
    parts = {
        name: tokenizer if "tokenizer" in name else _Part(held.get(name, {}), asked_of[name])
        for name in attributes
    }
    counts = {}
    for name, parameter in inspect.signature(whole.__init__).parameters.items():
        if name.endswith("_token") and isinstance(parameter.default, str):
            _add(tokenizer, parameter.default)
        if name.endswith("_index_tokens") and isinstance(parameter.default, int):
            counts[name] = min(parameter.default, PLACES)
    made, known = None, -1
    for _ in range(MOST):
        # Once more when all is named: a class whose tokenizer has an image_token may ask for more.
        size = len(tokenizer) + len(tokenizer.special_tokens_map)
        if made is not None and known == size:
            return made
        known = size
        try:
            with mock.patch("huggingface_hub.constants.HF_HUB_OFFLINE", True):
                made = trial(**parts, **counts)
        except (AttributeError, ValueError, KeyError) as error:
            if not _lacked(error, tokenizer):
                return None
        except (TypeError, ImportError, IndexError, OSError):
            return None  # a file of another repository (MgpstrProcessor's), or a package
        else:
            _name(tokenizer, made, whole)
            for name, wanted in asked_of.items():
                if name in held:
                    held[name].update(dict.fromkeys(sorted(wanted & SAID), 1))
    return None


def _lacked(error: Exception, tokenizer: Tokenizer) -> bool:
    """Give a tokenizer the token that a processor class missed; False if none is named."""
    if isinstance(error, KeyError):
        text = error.args[0]
        if not isinstance(text, str) or text in tokenizer.get_vocab():
            return False
        _add(tokenizer, text)  # |SPEAKER|
        return True
    asked = re.search(r"attribute '?(\w+_token)(?:_id)?\b", str(error))
    if asked is None or hasattr(tokenizer, asked[1]):
        return False
    give(tokenizer, asked[1], f"<{asked[1].removesuffix('_token')}>")
    return True


def _name(tokenizer: Tokenizer, made: Processor | None, whole: Class) -> None:
    """Let a tokenizer have every token that a processor made with it has, by the same names.

    What lacked gets no name yet: the processor has to be made once more to know its id.
    """
    texts = [getattr(v, "content", v) for n, v in sorted(vars(made).items()) if _is_token(n, v)]
    lacking = [text for text in (*_written(whole), *texts) if text not in tokenizer.get_vocab()]
    for text in lacking:
        _add(tokenizer, text)
    if lacking:
        return
    places = _repeated(made, tokenizer)
    if places is not None:
        give(tokenizer, "image_token", places)
    for name, value in sorted(vars(made).items()):
        called = re.fullmatch(r"(\w+_(?:start|end))_id|(\w+)_token_id", name)
        if called is not None and isinstance(value, int):
            # What it repeats may not be what stands in a text (AyaVision's image_token).
            stem = called[1] or called[2]
            give(tokenizer, f"{stem}_token", tokenizer.convert_ids_to_tokens(value))
    for name, value in sorted(vars(made).items()):
        if _is_token(name, value) and isinstance(value, str):  # others the class adds by itself
            give(tokenizer, name, value)
    for medium in ("image", "video", "audio"):
        # What stands in a text, where the tokenizer's is what becomes of it (Gemma 3).
        own = getattr(made, f"{medium}_token", None)
        if isinstance(own, str) and own != getattr(tokenizer, f"{medium}_token", own):
            give(tokenizer, f"{medium}_placeholder_token", own)


class _Ones(dict[str, Any]):
    """What an image processor might make of an image: its pixels, and `count` ones of everything
    else."""

    def __init__(self, count: int):
        self.count = count

    def __missing__(self, name: str) -> Any:
        import numpy

        pixels = (1, 3, SAMPLE, SAMPLE)
        return numpy.ones(pixels if name == "pixel_values" else (1, self.count), dtype=int)


def _repeated(made: Any, tokenizer: Tokenizer) -> str | None:
    """The token that a processor writes in place of its image_token, once for each feature
    (Ovis 2's); None where that is image_token itself, or nobody can say."""
    own, text = getattr(made, "image_token", None), None
    for count in GRIDS:
        try:
            text = str(made.replace_image_token(_Ones(count), 0))
            break
        except AttributeError as error:
            _lacked(error, tokenizer)  # it asks for a token only here (NeoMME's end of a row)
        except (TypeError, ValueError, LookupError, RuntimeError, ArithmeticError):
            continue
    if text is None:
        return None
    tokens = Counter(re.findall(r"<[^<>]+>", text))
    token, times = next(iter(tokens.most_common(1)), ("", 0))
    known = token in tokenizer.get_vocab() and isinstance(own, str)
    return token if known and times > max(1, tokens[own]) else None


def _is_token(name: str, value: Any) -> bool:
    text = getattr(value, "content", value)
    return name.endswith("_token") and isinstance(text, str) and text != ""


def _written(whole: Class) -> list[str]:
    """The tokens that stand as text in the code of a processor class: <fake_token_around_image>.

    (<0x00> is a piece for a byte, which a vocabulary has anyhow.)
    """
    found = set()
    for function in vars(whole).values():
        code = getattr(function, "__code__", None)
        names = [getattr(function, "__globals__", {}).get(n) for n in code.co_names] if code else []
        for text in (*names, *(code.co_consts if code else ())):
            if isinstance(text, str) and re.fullmatch(r"<(?!0x)\|?\w+\|?>", text):
                found.add(text)
    return sorted(found)


def _special(text: str) -> Any:
    from tokenizers import AddedToken

    return AddedToken(text, normalized=False, special=True)


def roles(tokenizer: Tokenizer, config: Data) -> None:
    """Give a blank tokenizer a token for each one that a default config (JSON data) names by role.

    And one to pad with, without which no batch can be made: that which ends a text where the config
    has one id for both (Whisper). vision_start_token_id becomes
    <vision_start>. Ids that one of the common roles has too (decoder_start_token_id is often pad's)
    and those of generation are not tokens of their own, nor are those of another vocabulary.
    """
    text = vocabulary(config)

    def inside(name: str, node: Data) -> bool:
        return is_config(name, node) and reads_text(node, text)

    nodes = [node for _, node in mappings(config, inside)]
    if tokenizer.pad_token is None:
        alike = (r for node in nodes for r in ("eos", "bos") if _alike(node, r, "pad"))
        ends = (getattr(tokenizer, f"{part}_token") for part in alike)
        token = next((token for token in ends if token is not None), "<pad>")
        tokenizer.add_special_tokens({"pad_token": str(token)})
    taken = [node.get(f"{part}_token_id") for node in nodes for part in ROLES]
    for node in nodes:
        for name, value in node.items():
            named = re.fullmatch(r"(\w+_token)_(id|index)", name)
            if named is None or not whole(value) or value < 0 or value in taken:
                continue
            called = role(name)
            if is_code(name, node):
                continue
            if called not in ROLES and not called.startswith("forced_"):
                give(tokenizer, named[1], f"<{called}>")


def _alike(node: Data, role: str, other: str) -> bool:
    """Whether two roles have one id."""
    number = node.get(f"{role}_token_id")
    return number is not None and number == node.get(f"{other}_token_id")


# The tokens of a transcript, in the order in which Whisper numbers them: classes count from one to
# the other, and take what comes behind the last for the times.
BEFORE, BEHIND = ("startoftranscript",), ("startoflm", "startofprev", "nospeech", "notimestamps")
NAMED_SO = {
    START: "startoftranscript",
    "prev_sot_token_id": "startofprev",
    "no_timestamps_token_id": "notimestamps",
}


def languages(tokenizer: Tokenizer, config: Data) -> dict[str, Json]:
    """Give a blank tokenizer the languages and tasks that its class's module lists, and say what
    they are in the generation config of its type; {} for a class without any."""
    module = sys.modules[type(tokenizer).__module__]
    spoken, tasks = (list(getattr(module, name, ())) for name in ("LANGUAGES", "TASK_IDS"))
    if not spoken or not tasks or START not in config:
        return {}
    for word in (*BEFORE, *spoken, *tasks, *BEHIND):
        _add(tokenizer, f"<|{word}|>")
    for name, word in NAMED_SO.items():
        give(tokenizer, name.removesuffix("_id"), f"<|{word}|>")
    known = tokenizer.get_vocab()
    return {
        **{name: config[name] for name in config if role(name) in ROLES},
        **{name: known[f"<|{word}|>"] for name, word in NAMED_SO.items()},
        "is_multilingual": True,
        "lang_to_id": {token: known[token] for token in (f"<|{word}|>" for word in spoken)},
        "task_to_id": {task: known[f"<|{task}|>"] for task in tasks},
    }


def give(tokenizer: Tokenizer, name: str, text: str) -> None:
    """Let a tokenizer have a special token that it also knows by name (tokenizer.image_token)."""
    if hasattr(tokenizer, name):
        return
    _add(tokenizer, text)
    tokenizer._set_model_specific_special_tokens({name: _special(text)})


def _add(tokenizer: Tokenizer, text: str) -> None:
    if text not in tokenizer.get_vocab():
        tokenizer.add_tokens([_special(text)], special_tokens=True)
