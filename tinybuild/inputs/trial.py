"""Which of the candidates the real model takes: tried in a fixed order, a bounded number."""

from __future__ import annotations

import contextlib
import inspect
import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from tinybuild.errors import BuildFault, Finding
from tinybuild.inputs import audio, others, text, vision
from tinybuild.inputs.draw import Draw
from tinybuild.inputs.facts import ROWS, Facts

MOST_TRIES = 160  # forward calls for a batch
MOST_PROBES = 120  # calls of one feature method
KEPT = 6  # candidates of a modality whose features could be computed
WIDE = 60  # candidates of a modality that has no feature method
LENGTHS = (text.LENGTH, 16, 32, 64, 128)

# argument -> (modality, rule for its candidates); the first that forward takes is the modality's.
RULES: Mapping[str, tuple[str, Any]] = {
    **{name: ("image", vision.images) for name in vision.PIXELS},
    "pixel_values_videos": ("video", vision.videos),
    "input_features": ("audio", audio.features),
    "audio_input_features": ("audio", audio.features),
    "audio_mel": ("audio", audio.features),
    "input_values": ("audio", audio.waves),
    "audio_input_ids": ("audio", audio.codes),
    "audio_codes": ("audio", audio.codes),
    "past_values": ("series", others.series),
    "states": ("series", others.trajectory),
}
# Taken only where forward has none of the above, or cannot do without.
STATES = ("hidden_states", "inputs_embeds", "inputs", "input", "latents", "query_embeds")
STATES += ("noise_embeds", "context_hidden_states", "action_embeds")


def found(facts: Facts) -> dict[str, tuple[str, Any]]:
    """modality -> (argument, rule), for each modality that the model takes."""
    result: dict[str, tuple[str, Any]] = {}
    if "input_ids" in facts.takes:
        result["text"] = ("input_ids", None)
    for name, (kind, rule) in RULES.items():
        if name in facts.takes and kind not in result and not _absent(facts, kind, name):
            result[kind] = (name, rule)
    needed = facts.required()
    if "hidden_states" in needed and "grid_thw" in needed:
        result["image"] = ("hidden_states", vision.images)
    return result


def _absent(facts: Facts, kind: str, name: str) -> bool:
    """Whether the config says that there is no part of the model for a modality."""
    if name in facts.required():
        return False
    words = {"image": ("vision_config",), "video": ("vision_config",), "audio": ("audio_config",)}
    keys = [key for key in words.get(kind, ()) if hasattr(facts.config, key)]
    return bool(keys) and all(getattr(facts.config, key) is None for key in keys)


@contextlib.contextmanager
def quiet(model: Any) -> Iterator[None]:
    """The model asked without gradients or dropout; afterwards it, and torch's numbers, as before."""
    import torch

    training = model.training
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model.eval()
        try:
            yield
        finally:
            model.train(training)


def search(facts: Facts, draw: Draw) -> dict[str, Any]:
    """The first batch without labels that the model takes; raises BuildFault where none does."""
    import torch

    kinds = found(facts)
    parts: list[list[tuple[str, dict[str, Any], tuple[int, ...] | None]]] = []
    last: list[BaseException] = []
    for kind, (name, rule) in kinds.items():
        if rule is not None:
            options = _options(facts, draw, kind, name, rule, last)
            if options:
                parts.append([(kind, values, counts) for values, counts in options])
    extra = [name for name in facts.required() if name in STATES and _new(name, kinds)]
    if not kinds and not extra:
        extra = [name for name in STATES if name in facts.takes][:1]
    for name in extra:
        options = list(itertools.islice(others.states(facts, draw, name), WIDE))
        parts.append([("state", values, None) for values in options])
    tries = 0
    first = last[0] if last and not parts else None
    works: dict[str, Any] | None = None
    for combination in _ordered(parts):
        values: dict[str, Any] = {}
        counts: dict[str, tuple[int, ...]] = {}
        for kind, some, each in combination:
            values.update(some)
            if each is not None:
                counts[kind] = each
        for given in _texts(facts, draw, kinds, values, counts):
            tries += 1
            if tries > MOST_TRIES:
                break
            worked, error = attempt(facts.model, given)
            if worked is not None:
                if all(bool(t.isfinite().all()) for t in worked):
                    return given
                works = works or given
            elif error is not None:
                first = first or error
        if tries > MOST_TRIES:
            break
    if works is not None:
        return works
    del torch
    raise failed(facts, tries, first)


def failed(facts: Facts, tries: int, error: BaseException | None) -> BuildFault:
    name = type(facts.model).__name__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] if error else []
    why = f" {type(error).__name__}: {lines[0] if lines else ''}" if error else ""
    return BuildFault(
        [
            Finding(
                what=f"no rule makes inputs for {name}, {tries} were tried; the likeliest gives{why}",
                hint=f"its forward takes {', '.join(facts.takes)}",
            )
        ]
    )


def _new(name: str, kinds: Mapping[str, tuple[str, Any]]) -> bool:
    return all(name != argument for argument, _ in kinds.values())


def attempt(model: Any, given: Mapping[str, Any]) -> tuple[list[Any] | None, BaseException | None]:
    """The floating-point outputs for these arguments, or the error in their place."""
    from tinybuild.inputs import tensors

    try:
        outputs = list(tensors(model(**given)).values())
    except Exception as error:  # noqa: BLE001  any model may raise anything: the next one is tried
        return None, error
    return (outputs, None) if outputs else (None, None)


def _options(
    facts: Facts, draw: Draw, kind: str, name: str, rule: Any, last: list[BaseException]
) -> list[tuple[dict[str, Any], tuple[int, ...] | None]]:
    """Candidates of a modality, with the placeholders that each wants in every row.

    Where the model computes features by a method of its own, only those that it takes remain.
    """
    candidates = (
        {key: value for key, value in values.items() if key in facts.takes}
        for values in rule(facts, draw, name)
    )
    method = facts.method(f"get_{kind}_features")
    if method is None:
        return [(values, None) for values in itertools.islice(candidates, WIDE)]
    wanted = inspect.signature(method).parameters
    first = next(iter(wanted), name)
    kept: list[tuple[dict[str, Any], tuple[int, ...] | None]] = []
    for values in itertools.islice(candidates, MOST_PROBES):
        given = {key: value for key, value in values.items() if key in wanted}
        if name not in given:
            given[first] = values[name]
        try:
            features = method(**given)
        except Exception as error:  # noqa: BLE001  see attempt
            last.append(error)
            continue
        kept.append((values, _counts(facts, kind, features)))
        if len(kept) == KEPT:
            break
    return kept or [
        (values, None)
        for values in itertools.islice(
            (
                {key: value for key, value in values.items() if key in facts.takes}
                for values in rule(facts, draw, name)
            ),
            WIDE,
        )
    ]


def _counts(facts: Facts, kind: str, features: Any) -> tuple[int, ...] | None:
    """How many features each row's image, video or sound has; None where text holds no place."""
    import torch

    if text.placeholder(facts, kind) is None and "image_embeds_position_mask" not in facts.takes:
        return None
    pooled = getattr(features, "pooler_output", None)
    features = pooled if pooled is not None else features
    if isinstance(features, tuple | list) and features and isinstance(features[0], torch.Tensor):
        numbers = [_rows(tensor) for tensor in features]
        if len(numbers) == ROWS:
            return tuple(numbers)
        total = sum(numbers)
    elif isinstance(features, torch.Tensor):
        total = _rows(features)
    else:
        return None
    return (total - total // ROWS * (ROWS - 1), *([total // ROWS] * (ROWS - 1)))


def _rows(tensor: Any) -> int:
    return int(tensor.numel() // tensor.shape[-1]) if tensor.dim() else 0


def _ordered(parts: list[list[Any]]) -> Iterator[tuple[Any, ...]]:
    """All combinations, those of early candidates first."""
    ranges = [range(len(part)) for part in parts]
    for indexes in sorted(itertools.product(*ranges), key=lambda one: (sum(one), one)):
        yield tuple(part[index] for part, index in zip(parts, indexes, strict=True))


def _texts(
    facts: Facts,
    draw: Draw,
    kinds: Mapping[str, tuple[str, Any]],
    values: Mapping[str, Any],
    counts: Mapping[str, tuple[int, ...]],
) -> Iterator[dict[str, Any]]:
    """The arguments of one try: `values` with the text and what follows it."""
    if "text" not in kinds:
        given = dict(values)
        if "decoder_input_ids" in facts.takes:
            given["decoder_input_ids"] = text.ids(facts, draw, "decoder_input_ids", side="decoder")[0]
        yield given
        return
    for length in LENGTHS if not counts else LENGTHS[:1]:
        ids, sorts = text.ids(facts, draw, "input_ids", length=length, counts=counts)
        given = {"input_ids": ids, "sorts": sorts}
        for name, rule in others.FOLLOWS.items():
            if name in facts.takes and name not in values:
                given[name] = rule(facts, draw, given)
        del given["sorts"]
        if "decoder_input_ids" in facts.takes:
            given["decoder_input_ids"] = text.ids(
                facts, draw, "decoder_input_ids", length=length, side="decoder"
            )[0]
        yield {**given, **values}
