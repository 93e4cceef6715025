"""Which of the candidates the real model takes: tried in a fixed order, a bounded number."""

from __future__ import annotations

import contextlib
import inspect
import itertools
import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tinybuild.errors import BuildFault, Finding
from tinybuild.feeding.inputs import audio, labels, others, text, vision
from tinybuild.feeding.inputs.draw import Draw
from tinybuild.feeding.inputs.facts import ROWS, Facts

MOST_TRIES = 80  # combinations of candidates
MOST_PROBES = 120  # calls of one feature method
MOST_MISSED = 16  # calls in a row after the first that worked
LARGER = 8  # times the first that worked: no more is computed, some towers are slow
KEPT = 6  # candidates of a modality whose features could be computed
WIDE = 60  # candidates of a modality that has no feature method
MOST_LABELS = 20
MOST_PLACES = 4096  # of features in a row of text
MOST_AXIAL = 4096  # places of a grid of positions
FEW = 6  # combinations tried with a text of another form
LENGTHS = (16, 32, 64, 128, 4)

# argument -> (modality, rule for its candidates); the first that forward takes is the modality's.
RULES: Mapping[str, tuple[str, Any]] = {
    **dict.fromkeys(vision.PIXELS, ("image", vision.images)),
    "visual_feats": ("image", vision.regions),
    "visual_embeds": ("image", vision.regions),
    "pixel_values_videos": ("video", vision.videos),
    "input_features": ("audio", audio.features),
    "audio_input_features": ("audio", audio.features),
    "audio_mel": ("audio", audio.features),
    "input_values": ("audio", audio.waves),
    "decoder_input_values": ("audio", audio.targets),
    "audio_input_ids": ("audio", audio.codes),
    "audio_codes": ("audio", audio.codes),
    "past_values": ("series", others.series),
    "states": ("trajectory", others.trajectory),
    "state": ("trajectory", others.robot),
}
OPTIONAL = ("state",)  # what a recurrent model goes on from, where forward can do without
# Taken only where forward has none of the above, or cannot do without.
STATES: tuple[str, ...] = (
    *("hidden_states", "inputs_embeds", "inputs", "input"),
    *("latents", "query_embeds", "noise_embeds", "context_hidden_states"),
    *("action_embeds",),
)


def found(facts: Facts) -> dict[str, tuple[str, Any]]:
    """modality -> (argument, rule), for each modality that the model takes."""
    result: dict[str, tuple[str, Any]] = {}
    needed = facts.required()
    if "input_ids" in facts.takes:
        result["text"] = ("input_ids", None)
    for name, (kind, rule) in RULES.items():
        if name in OPTIONAL and name not in needed:
            continue
        if name in facts.takes and kind not in result and not _absent(facts, kind, name):
            result[kind] = (name, rule)
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
    """Without gradients or dropout; afterwards the model and torch's numbers are as before."""
    import torch

    training = model.training
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model.eval()
        try:
            yield
        finally:
            model.train(training)


def search(facts: Facts, draw: Draw, without: Collection[str] = ()) -> dict[str, Any]:
    """The first batch that the model takes, with labels where they make a loss; `without` some
    modalities.

    Outputs that are not finite, and media without an effect on them, are taken only where no other
    candidate works: then the batch with the fewest such media. Raises BuildFault.
    """
    kinds = {kind: how for kind, how in found(facts).items() if kind not in without}
    parts: list[list[Option]] = []
    failures: list[BaseException] = []
    for kind, (name, rule) in kinds.items():
        if rule is not None:
            parts.append(_options(facts, draw, kind, name, rule, failures))
    arguments = {argument for argument, _ in kinds.values()}
    for name in facts.required():
        if name in RULES and name not in arguments:  # a second view of a modality
            options = RULES[name][1](facts, draw, name)
            parts.append(
                [
                    Option(kind="", values={k: v for k, v in values.items() if k in facts.takes})
                    for values in itertools.islice(options, WIDE)
                ]
            )
    for name in _rest(facts, kinds):
        options = itertools.islice(others.states(facts, draw, name), WIDE)
        parts.append([Option(kind="state", values=values) for values in options])
    tries: list[Try] = []
    works: list[tuple[int, dict[str, Any], dict[str, Any]]] = []
    for options, form in _tries(facts, kinds, parts, tries):
        given = _with_text(facts, draw, options, form)
        outputs, error, far = attempt(facts.model, given)
        if error is not None:
            given, outputs, error, far = _told(facts, draw, options, form, error, far)
        tries.append(Try(far=far, error=error))
        if error is not None:
            continue
        media = [kinds[option.kind][0] for option in options if option.kind in text.MEDIA]
        short = len(idle(facts, draw, given, outputs, media))
        if not all(bool(tensor.isfinite().all()) for tensor in outputs.values()):
            short += len(kinds) + 1
        elif not short:
            return labelled(facts, draw, given, outputs)
        works.append((short, given, outputs))
    if works:
        _, given, outputs = min(works, key=lambda one: one[0])
        return labelled(facts, draw, given, outputs)
    raise failed(facts, tries, failures)


def idle(
    facts: Facts, draw: Draw, given: dict[str, Any], outputs: dict[str, Any], names: Iterable[str]
) -> list[str]:
    """Those of the arguments that no output depends on: other numbers there change nothing.

    A model may take what it then leaves aside: the waveform beside the codes made of it, or an
    image whose places a video takes over.
    """
    import torch

    found = []
    for name in names:
        value = given.get(name)
        if not isinstance(value, torch.Tensor) or not value.is_floating_point():
            continue
        other = draw.normal(f"{name}.other", *value.shape).to(value.dtype)
        again, error, _ = attempt(facts.model, {**given, name: other})
        same = error is None and all(
            key in again and torch.equal(again[key], tensor) for key, tensor in outputs.items()
        )
        found += [name] if same else []
    return found


def labelled(
    facts: Facts, draw: Draw, given: dict[str, Any], outputs: dict[str, Any]
) -> dict[str, Any]:
    """`given` with the first labels that make a finite loss; as it is where none do.

    A loss of exactly 0 is taken only where no labels make another: there is nothing to learn where
    the model is right already, and sure of it.
    """
    loss = outputs.get("loss")
    if loss is not None and bool(loss.isfinite().all()):
        return given
    learnt: dict[str, Any] | None = None
    for some in itertools.islice(labels.labels(facts, draw, given, outputs), MOST_LABELS):
        again, _, _ = attempt(facts.model, {**given, **some})
        loss = again.get("loss")
        if loss is None or not bool(loss.isfinite().all()):
            continue
        if bool(loss.any()):
            return {**given, **some}
        learnt = learnt or some
    return {**given, **(learnt or {})}


def _rest(facts: Facts, kinds: Mapping[str, tuple[str, Any]]) -> list[str]:
    """States that forward cannot do without, or takes for want of anything else."""
    arguments = {argument for argument, _ in kinds.values()}
    needed = [n for n in facts.required() if n in STATES and n not in arguments]
    if not kinds and not needed:
        return [name for name in STATES if name in facts.takes][:1]
    return needed


NUMBERS = (  # what models say when features and places differ: the number of features
    re.compile(r"features:? (\d+)"),
    re.compile(r"value tensor of shape \[(\d+)"),
    re.compile(r"tokens from \w+ \((\d+)\)"),
    re.compile(r"source tensor .*?(\d+)"),
)


def _told(
    facts: Facts,
    draw: Draw,
    options: tuple[Option, ...],
    form: Form,
    error: BaseException | None,
    far: int,
) -> tuple[dict[str, Any], dict[str, Any], BaseException | None, int]:
    """A try again, with as many places for features as the model's complaint says.

    The last resort where no method computes the features, or others than forward's: each medium
    in turn is given the number, and has it where forward then comes farther, or complains of
    something else. Gives the arguments,
    the outputs, the error, and how far forward came.
    """
    given: dict[str, Any] = {}
    outputs: dict[str, Any] = {}
    left = [option for option in options if option.counts is not None]
    while left and error is not None:
        said = next((m for pattern in NUMBERS if (m := pattern.search(str(error)))), None)
        if said is None or not 0 < int(said[1]) <= MOST_PLACES * ROWS:
            break
        for option in left:
            counted = replace(option, counts=_shared(int(said[1])))
            changed = tuple(counted if one is option else one for one in options)
            given = _with_text(facts, draw, changed, form)
            outputs, again, farther = attempt(facts.model, given)
            other = farther == far and str(again) != str(error)  # of the next medium
            if again is None or farther > far or other:
                options, error, far = changed, again, farther
                left = [one for one in left if one is not option]
                break
        else:
            break
    return given, outputs, error, far


def failed(facts: Facts, tries: list[Try], failures: list[BaseException]) -> BuildFault:
    """What is said when nothing worked: the error of the try that came farthest."""
    errors = [one.error for one in sorted(tries, key=lambda one: -one.far) if one.error is not None]
    error = next(iter([*errors, *failures]), None)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    why = f"; the best of {len(tries)} gives {type(error).__name__}: {lines[0] if lines else ''}"
    return BuildFault(
        [
            Finding(
                what=f"no rule makes inputs for {type(facts.model).__name__}"
                + (why if error is not None else ""),
                hint=f"its forward takes {', '.join(facts.takes)}",
            )
        ]
    )


def attempt(
    model: Any, given: Mapping[str, Any]
) -> tuple[dict[str, Any], BaseException | None, int]:
    """The floating-point outputs for these arguments by name, or the error in their place.

    Also how far forward came: the number of modules that it had been through.
    """
    from torch.nn.modules.module import register_module_forward_hook

    from tinybuild.feeding.inputs import tensors

    passed: list[None] = []
    hook = register_module_forward_hook(lambda *_: passed.append(None))
    try:
        outputs = tensors(model(**given))
    except Exception as error:  # noqa: BLE001  any model may raise anything: the next one is tried
        return {}, error, len(passed)
    finally:
        hook.remove()
    if not outputs:
        return {}, ValueError("forward gives no floating-point tensor"), len(passed)
    return outputs, None, len(passed)


@dataclass(frozen=True, kw_only=True)
class Try:
    """How far a candidate came, in modules, and the error that stopped it."""

    far: int
    error: BaseException | None = None


@dataclass(frozen=True, kw_only=True)
class Option:
    """Arguments of one modality, and the places that its features want in each row of text."""

    kind: str
    values: Mapping[str, Any]
    counts: tuple[int, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Form:
    """How token ids are laid out: their number, and the axes beside rows and tokens."""

    length: int = text.LENGTH
    choices: bool = False  # (rows, 2, tokens)
    books: int = 0  # (rows, tokens, books): a token of each codebook
    decoder_books: int = 0  # the same for the decoder
    flat: bool = False  # (rows * books, tokens) for the decoder
    instead: bool = False  # the image's placeholder stands for the video's
    attended: bool = False  # with states of an encoder to attend to
    cache: bool | None = None  # said to forward
    single: bool = False  # one row
    decoder: bool = False  # only the decoder reads text: the encoder reads something else instead
    heard: bool = False  # the decoder goes on from a sound, not from ids
    passed: bool = False  # with what parts of the model want and forward only passes on


def _options(
    facts: Facts, draw: Draw, kind: str, name: str, rule: Any, failures: list[BaseException]
) -> list[Option]:
    """Candidates of a modality.

    Where the model computes features by a method of its own, only those that it takes remain, and
    their rows are counted.
    """

    import torch

    def candidates(most: int) -> Iterator[dict[str, Any]]:
        for values in itertools.islice(rule(facts, draw, name), most):
            yield {key: value for key, value in values.items() if key in facts.takes}

    kept: list[Option] = []
    method = facts.method(f"get_{kind}_features", name)
    if method is not None:
        wanted = inspect.signature(method).parameters
        first, missed, least = next(iter(wanted), name), 0, 0
        for values in candidates(MOST_PROBES):
            if least and values[name].numel() > LARGER * least:
                continue
            given = {key: value for key, value in values.items() if key in wanted}
            if name not in given:
                given[first] = values[name]
            for needed, plain in others.ALONE.items():
                if needed in wanted:
                    given[needed] = plain(facts, draw, {})
            features = _asked(method, given, failures)
            if features is None and values[name].dim() == 5:  # forward may join rows and images
                joined = {
                    key: value.flatten(0, 1) if isinstance(value, torch.Tensor) else value
                    for key, value in given.items()
                }
                features = _asked(method, joined, failures)
            if features is None:
                missed += 1
                if kept and missed > MOST_MISSED:
                    break
                continue
            missed = 0
            least = least or values[name].numel()
            counts = _counts(facts, kind, features)
            if counts is None and _placed(facts, kind):
                counts = _guess(facts, values[name])
            kept.append(Option(kind=kind, values=values, counts=counts))
            if len(kept) == KEPT:
                break
    if kept:
        return kept
    known = kind in text.MEDIA and _placed(facts, kind)
    return [
        Option(kind=kind, values=values, counts=_guess(facts, values[name]))
        if known
        else Option(kind=kind, values=values)
        for values in candidates(WIDE)
    ]


def _guess(facts: Facts, values: Any) -> tuple[int, ...]:
    """Places in each row for features that cannot be counted.

    Two are a run, by which models know that there is a place for each feature; what they say of the
    number is heeded (_told).
    """
    return (facts.integer("num_query_tokens", default=2) * _frames(values),) * ROWS


def _frames(pixels: Any) -> int:
    """Images in a row of pixels: 1, or the second axis of five."""
    return int(pixels.shape[1]) if pixels.dim() == 5 else 1


def _asked(method: Any, given: Mapping[str, Any], failures: list[BaseException]) -> Any:
    """The features that a method makes of these arguments; None, and its error, in their place."""
    try:
        return method(**given)
    except Exception as error:  # noqa: BLE001  see attempt
        failures.append(error)
        return None


def _placed(facts: Facts, kind: str) -> bool:
    """Whether text holds places for the features of a medium."""
    masked = kind == "image" and "image_embeds_position_mask" in facts.takes
    return masked or text.placeholder(facts, kind) is not None


def _counts(facts: Facts, kind: str, features: Any) -> tuple[int, ...] | None:
    """How many features each row's image, video or sound has; None where text holds no place."""
    import torch

    if not _placed(facts, kind):
        return None
    for name in ("pooler_output", "last_hidden_state"):
        if getattr(features, name, None) is not None:
            features = getattr(features, name)
            break
    if isinstance(features, tuple | list) and features and isinstance(features[0], torch.Tensor):
        numbers = [_rows(tensor) for tensor in features]
        return tuple(numbers) if len(numbers) == ROWS else _shared(sum(numbers))
    if not isinstance(features, torch.Tensor):
        return None
    if tuple(features.shape[:-1]) == (ROWS,):  # pooled: the places are those of queries
        return (facts.integer("num_query_tokens", default=1),) * ROWS
    return _shared(_rows(features))


def _shared(total: int) -> tuple[int, ...]:
    """A number of features shared among the rows, the first having what is left over."""
    each = total // ROWS
    return (total - each * (ROWS - 1), *([each] * (ROWS - 1)))


def _rows(tensor: Any) -> int:
    return int(tensor.numel() // tensor.shape[-1]) if tensor.dim() else 0


def _ordered(parts: list[list[Any]]) -> Iterator[tuple[Any, ...]]:
    """All combinations, those of early candidates first."""
    ranges = [range(len(part)) for part in parts]
    for indexes in sorted(itertools.product(*ranges), key=lambda one: (sum(one), one)):
        yield tuple(part[index] for part, index in zip(parts, indexes, strict=True))


def _tries(
    facts: Facts,
    kinds: Mapping[str, tuple[str, Any]],
    parts: list[list[Option]],
    tries: list[Try],
) -> Iterator[tuple[tuple[Option, ...], Form]]:
    """All that is tried: the plain form of text with many combinations, then other forms with FEW.

    Those are the combinations that came farthest; `tries` grows by one for each that was taken.
    """
    combinations = list(itertools.islice(_ordered(parts), MOST_TRIES))
    forms = _forms(facts, kinds)
    form = next(forms)
    for combination in combinations:
        yield combination, form
        if _worked(tries) > 1:  # but not with finite outputs: another form may
            break
    order = sorted(range(len(tries)), key=lambda number: -tries[number].far)
    for form in forms:
        # A sound of which no id goes on has to be of another shape than one left aside.
        for number in order[: None if form.heard else 1 if _worked(tries) else FEW]:
            yield combinations[number], form
    if {"image", "video"} <= set(kinds):  # some take one of them at a time
        for number in order[:FEW]:
            fewer = tuple(option for option in combinations[number] if option.kind != "video")
            yield fewer, Form()


def _worked(tries: list[Try]) -> int:
    return sum(one.error is None for one in tries)


def _forms(facts: Facts, kinds: Mapping[str, tuple[str, Any]]) -> Iterator[Form]:
    sound = set(kinds) == {"audio"} and "decoder_input_ids" not in facts.takes
    if sound and {"attention_mask", "use_cache"} <= set(facts.takes):
        yield Form(cache=False)  # with a cache, a mask of ones is not looked at: any length goes
    sides = facts.find("axial_pos_shape")
    if isinstance(sides, list | tuple) and math.prod(sides) <= MOST_AXIAL:
        yield Form(length=math.prod(sides))  # of any other length, it does not learn
    yield Form()
    if others.passed(facts):
        yield Form(passed=True)
    if "text" not in kinds and "decoder_input_ids" not in facts.takes:
        if "encoder_hidden_states" in facts.takes:
            yield Form(attended=True)
        if "use_cache" in facts.takes:
            yield Form(cache=True)
        yield Form(single=True)
        return
    if "video" in kinds and "image" in found(facts):
        yield Form(instead=True)
    if facts.model.__class__.__name__.endswith("ForMultipleChoice"):
        yield Form(choices=True)
    if "decoder_input_ids" in facts.takes and len(kinds) > 1:
        yield Form(decoder=True)
        if {"text", "audio"} <= set(kinds):
            yield Form(heard=True)
    names = ("num_codebooks", "num_channels", "num_audio_codebooks", "n_codes_total")
    for books in dict.fromkeys(n for n in facts.every(*names) if isinstance(n, int)):
        for count in (books, books + 1):
            yield Form(books=count)
            yield Form(decoder_books=count)
        yield Form(decoder_books=books, flat=True)
    if "encoder_hidden_states" in facts.takes:
        yield Form(attended=True)
    if "use_cache" in facts.takes:
        yield Form(cache=True)
        yield Form(cache=False)
    for length in (*LENGTHS, *facts.every("max_text_len")):
        yield Form(length=length)
    yield Form(single=True)


def _with_text(facts: Facts, draw: Draw, options: tuple[Option, ...], form: Form) -> dict[str, Any]:
    """The values of all options, token ids, and what follows from them."""
    values: dict[str, Any] = {}
    for option in options:
        values.update(option.values)
    counts = {option.kind: option.counts for option in options if option.counts is not None}
    given: dict[str, Any] = {}
    if "input_ids" in facts.takes and not form.decoder:
        instead = {"video": "image"} if form.instead else None
        ids, sorts = text.ids(
            facts, draw, "input_ids", length=form.length, counts=counts, instead=instead
        )
        given = {"input_ids": ids, "sorts": sorts}
        for name, rule in others.FOLLOWS.items():
            if name in facts.takes and name not in values:
                made = rule(facts, draw, given)
                if made is not None:
                    given[name] = made
        del given["sorts"]
        if form.books:
            given["input_ids"] = _stacked(ids, form.books)
        if form.choices:
            for name, value in given.items():
                given[name] = value.unsqueeze(1).repeat_interleave(2, 1)
            given["input_ids"][:, 1] = given["input_ids"][:, 1].flip(-1)
    for name, plain in others.ALONE.items():
        if name in facts.takes and name not in values:
            given[name] = plain(facts, draw, given)
    if form.attended:
        given["encoder_hidden_states"] = others.encoded(facts, draw)
    if form.passed:
        given |= {name: rule(facts, draw, given) for name, rule in others.passed(facts).items()}
    if "decoder_input_ids" in facts.takes and not form.heard:
        ids, _ = text.ids(facts, draw, "decoder_input_ids", length=form.length, side="decoder")
        if form.decoder_books:
            ids = _stacked(ids, form.decoder_books)
        if form.flat:
            ids = ids.transpose(1, 2).flatten(0, 1)
        given["decoder_input_ids"] = ids
    if form.cache is not None:
        given["use_cache"] = form.cache
    given.update(values)
    needed = "bool_masked_pos" in facts.required() or "codebook_pixel_values" in given
    if needed and "pixel_values" in given:
        given["bool_masked_pos"] = vision.masked(facts, given["pixel_values"])
    if form.single:
        return {name: value[:1] for name, value in given.items()}
    return given


def _stacked(ids: Any, books: int) -> Any:
    """(rows, tokens, books): the same ids in each codebook."""
    return ids.unsqueeze(-1).repeat(1, 1, books)
