"""Which model class a config becomes, and which part of the config it takes."""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.util
import inspect
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from tinybuild.config.overrides import parts
from tinybuild.errors import BuildFault, Fault, PackageFault, did_you_mean
from tinybuild.keys import TEXT_ROWS
from tinybuild.paths import Json

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

AUTO = "auto"


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a model is for. table: the middle of the name of transformers' table of its classes,
    MODEL_FOR_..._MAPPING_NAMES. head: whether its classes have one; `auto` takes the type's base
    class instead of those without. pipelines: what transformers' pipelines call it otherwise.
    labels: how many a model for it has; None where that is open."""

    table: str
    head: bool = True
    pipelines: tuple[str, ...] = ()
    labels: int | None = None


# In the order in which `auto` looks for one, where the source's config names no class: what takes
# every modality of the type before what takes some of them (a two-tower model before a classifier
# on one tower), an encoder with its decoder before either alone, and whatever has a loss before the
# base class.
TASKS: Mapping[str, Task] = {
    # models of text, and of text with something else
    "image-text-to-text": Task(table="IMAGE_TEXT_TO_TEXT", pipelines=("image-to-text",)),
    "multimodal-lm": Task(table="MULTIMODAL_LM", pipelines=("any-to-any",)),
    "speech-seq2seq": Task(table="SPEECH_SEQ_2_SEQ", pipelines=("automatic-speech-recognition",)),
    "text-to-spectrogram": Task(
        table="TEXT_TO_SPECTROGRAM", pipelines=("text-to-speech", "text-to-audio")
    ),
    "text-to-waveform": Task(
        table="TEXT_TO_WAVEFORM", pipelines=("text-to-speech", "text-to-audio")
    ),
    "seq2seq-lm": Task(
        table="SEQ_TO_SEQ_CAUSAL_LM",
        pipelines=("text2text-generation", "summarization", "translation"),
    ),
    "masked-lm": Task(table="MASKED_LM", pipelines=("fill-mask",)),
    "causal-lm": Task(table="CAUSAL_LM", pipelines=("text-generation",)),
    "retrieval": Task(table="RETRIEVAL"),
    "decision": Task(table="DECISION"),
    # speech
    "ctc": Task(table="CTC", pipelines=("automatic-speech-recognition",)),
    "rnnt": Task(table="RNNT"),
    "tdt": Task(table="TDT"),
    "audio-frame-classification": Task(table="AUDIO_FRAME_CLASSIFICATION"),
    "audio-classification": Task(table="AUDIO_CLASSIFICATION"),
    "audio-xvector": Task(table="AUDIO_XVECTOR"),
    "audio-tokenization": Task(table="AUDIO_TOKENIZATION"),
    # images and videos
    "zero-shot-object-detection": Task(table="ZERO_SHOT_OBJECT_DETECTION"),
    "zero-shot-image-classification": Task(table="ZERO_SHOT_IMAGE_CLASSIFICATION"),
    "visual-question-answering": Task(table="VISUAL_QUESTION_ANSWERING", pipelines=("vqa",)),
    "object-detection": Task(table="OBJECT_DETECTION"),
    "universal-segmentation": Task(
        table="UNIVERSAL_SEGMENTATION", pipelines=("image-segmentation",)
    ),
    "instance-segmentation": Task(table="INSTANCE_SEGMENTATION", pipelines=("image-segmentation",)),
    "image-segmentation": Task(table="IMAGE_SEGMENTATION"),
    "mask-generation": Task(table="MASK_GENERATION"),
    "depth-estimation": Task(table="DEPTH_ESTIMATION"),
    "keypoint-detection": Task(table="KEYPOINT_DETECTION"),
    "keypoint-matching": Task(table="KEYPOINT_MATCHING"),
    "image-matting": Task(table="IMAGE_MATTING"),
    "image-to-image": Task(table="IMAGE_TO_IMAGE"),
    "text-recognition": Task(table="TEXT_RECOGNITION"),
    "table-recognition": Task(table="TABLE_RECOGNITION"),
    "causal-image-modeling": Task(table="CAUSAL_IMAGE_MODELING"),
    "image-classification": Task(table="IMAGE_CLASSIFICATION"),
    "video-classification": Task(table="VIDEO_CLASSIFICATION"),
    "semantic-segmentation": Task(table="SEMANTIC_SEGMENTATION", pipelines=("image-segmentation",)),
    "normal-estimation": Task(table="NORMAL_ESTIMATION"),
    "pointmap-estimation": Task(table="POINTMAP_ESTIMATION"),
    "pose-estimation": Task(table="POSE_ESTIMATION"),
    "masked-image-modeling": Task(table="MASKED_IMAGE_MODELING"),
    # series
    "time-series-prediction": Task(table="TIME_SERIES_PREDICTION"),
    "time-series-regression": Task(table="TIME_SERIES_REGRESSION"),
    "time-series-classification": Task(table="TIME_SERIES_CLASSIFICATION"),
    # heads on models of text
    "token-classification": Task(table="TOKEN_CLASSIFICATION", pipelines=("ner",)),
    "sequence-classification": Task(
        table="SEQUENCE_CLASSIFICATION",
        pipelines=("text-classification", "sentiment-analysis", "zero-shot-classification"),
    ),
    "reward": Task(table="SEQUENCE_CLASSIFICATION", labels=1),
    "question-answering": Task(table="QUESTION_ANSWERING"),
    "document-question-answering": Task(table="DOCUMENT_QUESTION_ANSWERING"),
    "table-question-answering": Task(table="TABLE_QUESTION_ANSWERING"),
    "multiple-choice": Task(table="MULTIPLE_CHOICE"),
    "next-sentence-prediction": Task(table="NEXT_SENTENCE_PREDICTION"),
    "pretraining": Task(table="PRETRAINING"),
    # models without a head
    "text-encoding": Task(table="TEXT_ENCODING", head=False),
    "image-encoding": Task(table="IMAGE", head=False),
    "backbone": Task(table="BACKBONE", head=False),
}
KEY = ("model", "architecture")


Chosen: TypeAlias = "tuple[type[PreTrainedModel], PreTrainedConfig]"


def choose(wish: str, config: PreTrainedConfig) -> Chosen:
    """The model class for a recipe's `architecture`, and the config it takes.

    `wish` is auto, a class name or a task. The config is the given one or, for a class that is made
    from one of its sub-configs only (Llama4ForCausalLM of a Llama4Config), that sub-config. Raises
    BuildFault.
    """
    if wish == AUTO:
        named = next(iter(config.architectures or []), "")
        return _named(named, config) if named and not _boxes(named, config) else _by_rule(config)
    if wish != wish.lower():  # xLSTMForCausalLM
        return _named(wish, config)
    tasks = of_type(config.model_type)
    if wish not in TASKS:
        raise BuildFault.of(f"there is no task {wish}", key=KEY, hint=meant(wish, tasks))
    if wish not in tasks:
        raise BuildFault.of(
            f"transformers has no class for {wish} of {config.model_type}",
            key=KEY,
            hint=_has(config),
        )
    return _named(tasks[wish][0], config)


def labelled(wish: str, changes: Mapping[str, Json]) -> Mapping[str, Json]:
    """A recipe's overrides, and the number of labels of its task where they do not say it."""
    labels = TASKS[wish].labels if wish in TASKS else None
    if labels is None or {"num_labels", "id2label", "label2id"} & changes.keys():
        return changes
    return {**changes, "num_labels": labels}


def meant(wish: str, tasks: Collection[str] = ()) -> str:
    """A hint for a task that there is not: ours for a pipeline's name, of `tasks` where they have
    it; else those that are spelt alike."""
    ours = [task for task, row in TASKS.items() if wish in row.pipelines]
    ours = [task for task in ours if task in tasks] or ours
    return f"did you mean {' or '.join(ours)}?" if ours else did_you_mean(wish, TASKS)


BASES = "MODEL_MAPPING_NAMES"


def types() -> tuple[str, ...]:
    """The model types that the installed transformers has a base class for, sorted."""
    return tuple(sorted(_tables()[BASES]))


def every() -> tuple[str, ...]:
    """The model types that it has any model class for, sorted: Pix2Struct has none but its own."""
    return tuple(sorted(frozenset().union(*_tables().values())))


@functools.cache
def _tables() -> Mapping[str, frozenset[str]]:
    """Name -> model types of transformers' tables of model classes. Read from their text: importing
    that module imports torch (4 s against 0.05 s)."""
    spec = importlib.util.find_spec("transformers")
    assert spec is not None  # a dependency of ours
    assert spec.origin is not None
    file = Path(spec.origin).parent / "models" / "auto" / "modeling_auto.py"
    tables = dict[str, frozenset[str]]()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and node.value.args:
            name = ast.unparse(node.targets[0])
            if name.startswith("MODEL_") and name.endswith("_NAMES"):
                pairs = getattr(node.value.args[0], "elts", ())  # or another table, with a star
                keys = (pair.elts[0] for pair in pairs if isinstance(pair, ast.Tuple))
                tables[name] = frozenset(map(ast.literal_eval, keys))
    if BASES not in tables:
        raise BuildFault.of(f"transformers has no {BASES} in {file.name}")
    return tables


def of_type(model_type: str) -> dict[str, tuple[str, ...]]:
    """Task -> the names of its classes for a model type, in the order of TASKS."""
    tables = {task: _names(table(task).get(model_type)) for task in TASKS}
    return {task: names for task, names in tables.items() if names}


def _names(entry: str | Sequence[str] | None) -> tuple[str, ...]:
    return (entry,) if isinstance(entry, str) else tuple(entry or ())


def table(task: str) -> Mapping[str, str | Sequence[str]]:
    """transformers' table for a task: model type -> class name or names."""
    from transformers.models.auto import modeling_auto

    # AUDIO_TOKENIZATION's is called so; all others end in _MAPPING_NAMES.
    middle = TASKS[task].table
    names = (f"MODEL_FOR_{middle}_MAPPING_NAMES", f"MODEL_FOR_{middle}_NAMES")
    return next((vars(modeling_auto)[name] for name in names if hasattr(modeling_auto, name)), {})


def speaks(model_type: str) -> bool:
    """Whether a model type reads or writes text: the class that `auto` takes has token ids among
    its inputs, or is for CTC; where its package is missing, whether the config has a vocabulary."""
    from transformers import CONFIG_MAPPING

    config = CONFIG_MAPPING[model_type]()
    try:
        model, _ = choose(AUTO, config)
    except Fault:
        return getattr(text_part(config), "vocab_size", None) is not None
    takes = inspect.signature(model.forward).parameters
    ids = {"input_ids", "decoder_input_ids"} & takes.keys()
    return bool(ids) or model.__name__ in of_type(model_type).get("ctc", ())


def base(model_type: str) -> tuple[str, ...]:
    """The names of a model type's classes without a head; () where transformers has none."""
    from transformers.models.auto.modeling_auto import MODEL_MAPPING_NAMES

    return _names(MODEL_MAPPING_NAMES.get(model_type))


def classes(config: PreTrainedConfig) -> list[str]:
    """The names of the model classes that transformers maps to a config's type, sorted."""
    return named(config.model_type)


def named(model_type: str) -> list[str]:
    """The names of the model classes that transformers maps to a model type, sorted."""
    return sorted(
        {*base(model_type), *(name for names in of_type(model_type).values() for name in names)}
    )


def _by_rule(config: PreTrainedConfig) -> Chosen:
    """The class of the first task that the type has one for, else its base class.

    Classes that are made from the whole config come before those of a sub-config, which leave
    modalities out, and before those of another type's config. Where all are boxes for models
    (without a forward), the first part of the config that has a class of the same family decides.
    """
    model_type = config.model_type
    heads = [names[0] for task, names in of_type(model_type).items() if TASKS[task].head]
    candidates = list(dict.fromkeys([*heads, *base(model_type)]))
    if candidates and all(_boxes(name, config) for name in candidates):
        own = (part for _, part in parts(config) if _module(part) == _module(config))
        part = next((part for part in own if classes(part)), None)
        return _by_rule(part) if part is not None else _named(_inner(config)[0], config)
    if not candidates:
        raise BuildFault.of(
            f"transformers maps no model class to {model_type}",
            key=KEY,
            hint="name one: architecture: CLASS",
        )
    fitting = []
    for name in candidates:
        model = find(name, model_type)
        if model is None or getattr(model, "is_dummy", False):
            continue  # its package is missing: another class may do without
        if _forwards(model) and isinstance(config, model.config_class):
            fitting.append(name)
    return _named((fitting or candidates)[0], config)


def _inner(config: PreTrainedConfig) -> list[str]:
    """The classes for a part of a config of which all classes are boxes, the first part's first;
    else those boxes."""
    of = {
        name: getattr(find(name, config.model_type), "config_class", None) for name in _own(config)
    }
    inner = [n for _, part in parts(config) for n, kind in of.items() if kind is type(part)]
    return inner or classes(config)


def _named(name: str, config: PreTrainedConfig) -> Chosen:
    model = find(name, config.model_type)
    if model is not None and getattr(model, "is_dummy", False):
        try:
            _ = model.config_class  # transformers' dummies raise at the first touch
        except ImportError as error:
            raise absent(name, error) from None
    known = classes(config)
    if model is None or not isinstance(model, type) or not hasattr(model, "config_class"):
        raise BuildFault.of(
            f"transformers has no model class {name}", key=KEY, hint=did_you_mean(name, known)
        )
    taken = next(_parts(model.config_class, config), None)
    if taken is None and name in known:
        taken = config  # transformers' own table says that the class takes a sibling's config
    if taken is None:
        raise BuildFault.of(
            f"{name} is not a class for {config.model_type}", key=KEY, hint=_has(config)
        )
    if not _forwards(model):
        raise BuildFault.of(
            f"{name} has no forward: it is a base class or a container, "
            "and cannot be built by itself",
            key=KEY,
            hint=_has(config),
        )
    if not _reads(model):
        raise BuildFault.of(
            f"{name} cannot be loaded from a folder: its from_pretrained takes names only",
            key=KEY,
            hint="use it as a part of another model: name its model_type in a backbone_config",
        )
    return model, taken


def find(name: str, model_type: str) -> type[PreTrainedModel] | None:
    """The class of that name, also where only the type's own module has it; None if none has.

    Raises PackageFault.
    """
    import transformers
    from transformers.models.auto.configuration_auto import model_type_to_module_name

    try:
        model = getattr(transformers, name, None)
    except ImportError as error:  # a package of its module is there, and broken
        raise absent(name, error) from None
    if model is None:
        module = model_type_to_module_name(model_type)
        try:
            inside = importlib.import_module(f"transformers.models.{module}.modeling_{module}")
        except ImportError:
            return None
        model = getattr(inside, name, None)
    return model


def absent(name: str, error: Exception) -> Fault:
    """The fault for a class or config that needs a package which cannot be imported here.

    transformers says which one, and how to install it, in a text of its own; of a package that is
    there and broken it keeps the reason in the error's cause.
    """
    while isinstance(error.__cause__, Exception):
        error = error.__cause__
    text = " ".join(str(error).split())
    package = re.search(r"requires the (.+?) library", text)
    command = re.search(r"`(pip install [^`]+)`", text)
    plain = command and re.fullmatch(r"pip install ([\w.-]+)", command[1])
    address = re.search(r"https?://\S+", text)
    if package is None:
        what = f"{name} needs a package that does not load here: {text[:200]}"
        return PackageFault.of(what, key=KEY)
    if plain:
        return PackageFault.lacking(name, plain[1], KEY)
    hint = command[1] if command else f"see {address[0]}" if address else ""
    return PackageFault.lacking(name, package[1], KEY, hint)


def _forwards(model_class: type[PreTrainedModel]) -> bool:
    import torch

    return getattr(model_class, "forward", None) is not torch.nn.Module.forward


def _reads(model: type) -> bool:
    """Whether a class's from_pretrained comes down to transformers' own, which reads a folder
    (timm_backbone's makes a model of a name)."""
    own = vars(model).get("from_pretrained")
    return own is None or ".from_pretrained(" in inspect.getsource(own.__func__)


def _boxes(name: str, config: PreTrainedConfig) -> bool:
    """Whether a class cannot be a bundle: it only holds other models, or reads no folder."""
    model = find(name, config.model_type)
    if model is None or getattr(model, "is_dummy", False):
        return False  # unknown, or its package is missing
    return hasattr(model, "config_class") and not (_forwards(model) and _reads(model))


def _module(config: PreTrainedConfig) -> str:
    from transformers.models.auto.configuration_auto import model_type_to_module_name

    return str(model_type_to_module_name(config.model_type))


def _parts(
    wanted: type[PreTrainedConfig] | None, config: PreTrainedConfig
) -> Iterator[PreTrainedConfig]:
    """The config itself, its text config and its sub-configs, as far as they are of that class."""
    if wanted is None:
        return
    if isinstance(config, wanted):
        yield config
        return
    for _, sub in parts(config):
        yield from _parts(wanted, sub)


def text_part(config: PreTrainedConfig) -> PreTrainedConfig:
    """The config that says how many rows the embedding of `input_ids` has.

    get_text_config refuses to choose between a text encoder and a decoder with a vocabulary of its
    own (MusicgenConfig); ids go into the encoder.
    """
    try:
        return config.get_text_config()
    except ValueError:
        return config.get_text_config(encoder=True)


def text_rows(config: PreTrainedConfig) -> int | None:
    """How many token ids the text of a model has; None where the config of its text part does not
    say."""
    part = text_part(config)
    return next((n for name in TEXT_ROWS if (n := getattr(part, name, None)) is not None), None)


def _has(config: PreTrainedConfig) -> str:
    """A hint: the tasks and the classes of a config's type that can be built; of its parts where it
    has none."""
    tasks = [n for n, names in of_type(config.model_type).items() if not _boxes(names[0], config)]
    known = [name for name in classes(config) if not _boxes(name, config)]
    if not known:
        own = [part for _, part in parts(config) if _module(part) == _module(config)]
        known = [name for part in own for name in classes(part)] or _own(config)
    if not known:
        return f"transformers maps no class to {config.model_type}"
    has = f"one of {', '.join(tasks)}; or a class, " if tasks else "one of "
    return f"{has}{', '.join(known)}"


def _own(config: PreTrainedConfig) -> list[str]:
    """The classes in the type's own module that can be built from a part of the config."""
    module = _module(config)
    try:
        inside = importlib.import_module(f"transformers.models.{module}.modeling_{module}")
    except ImportError:
        return []
    made = {n: getattr(inside, n) for n in getattr(inside, "__all__", ())}
    return sorted(
        name
        for name, model in made.items()
        if isinstance(getattr(model, "config_class", None), type)
        and _forwards(model)
        and next(_parts(model.config_class, config), None) is not None
    )
