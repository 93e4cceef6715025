"""Checks that the files are the model: every tensor is there, made on purpose, and read again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tinybuild import bundle
from tinybuild.config.precision import DTYPES, keeps
from tinybuild.expected.format import NEVER
from tinybuild.feeding.inputs.facts import Facts
from tinybuild.keys import configs, says
from tinybuild.paths import mapping
from tinybuild.tensors import headers
from tinybuild.validate.check import Result, check, listed
from tinybuild.validate.reader import KEYS, digests, tied
from tinybuild.validate.subject import NotTried, Subject

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

# Weights equal bit for bit give outputs that differ in the last bits for about one in ten
# architectures (memory alignment decides the kernel); random depth and rounding carry that on.
# Relative to the largest output of its kind.
TOLERANCE = {"float32": 1e-4, "float16": 2e-3, "bfloat16": 2e-2}


@check("model")
def reload(subject: Subject) -> Result:
    """from_pretrained finds every weight it wants, and no other."""
    keys = {name: sorted(str(key) for key in subject.loading.get(name) or ()) for name in KEYS}
    faults = {name: names for name, names in keys.items() if names}
    tensors = len(subject.model.state_dict())
    return Result.of(
        not faults,
        measured=str(faults) if faults else f"{tensors} tensors",
        wanted="no missing, unexpected or mismatched keys",
        values={"tensors": tensors, **{name: len(names) for name, names in keys.items()}},
    )


@check("model")
def fresh_process(subject: Subject) -> Result:
    """Another process, which builds nothing, reads the same weights, ties and outputs.

    How far outputs are apart is not told in numbers: memory alignment decides it (`TOLERANCE`).
    """
    found = subject.elsewhere
    answer, outputs = found.answer, found.outputs
    here, there, ties = digests(subject.model.state_dict()), answer.weights, tied(subject.model)
    tolerance = TOLERANCE[subject.made.dtype]
    different = sorted(n for n in {*here, *there} if here.get(n) != there.get(n))
    far = sorted(
        name
        for name in {*subject.outputs, *outputs}
        if name not in outputs
        or name not in subject.outputs
        or distance(subject.outputs[name], outputs[name]) > tolerance
    )
    faults = [f"{name} {listed(keys)}" for name in KEYS if (keys := getattr(answer, name))]
    faults += [f"other weights in {listed(different)}"] if different else []
    faults += [f"tied there: {answer.tied}, here: {ties}"] if answer.tied != ties else []
    faults += [f"other outputs in {listed(far)}"] if far else []
    return Result.of(
        not faults,
        measured="; ".join(faults)
        or f"{len(here)} tensors and {len(outputs)} outputs equal, {len(ties)} ties",
        wanted=f"equal weights and ties, outputs within {tolerance:g} of the largest",
        values={
            "tensors": len(here),
            "outputs": len(outputs),
            "ties": len(ties),
            "different_tensors": len(different),
            "different_outputs": len(far),
        },
    )


@check("model")
def from_bundle(subject: Subject) -> Result | None:
    """What its user does with the folder alone works: Auto classes, texts that are short, too long
    and padded, a chat, an image, a sound, a video, the loss, generation, a pipeline.

    It is done in the process that only reads bundles, which is told nothing of the recipe. None for
    a bundle without a tokenizer whose model reads text, and where there is nothing to load beside
    the model.
    """
    reads = "input_ids" in Facts(subject.model).takes
    if "tokenizer" not in subject.parts and (reads or not bundle.has_processor(subject.folder)):
        return None
    used = subject.elsewhere.answer.used
    faults = [f"{step}: {said}" for step, said in used.failed.items()]
    if used.lacking and not faults:
        raise NotTried("; ".join(f"{step}: {said}" for step, said in used.lacking.items()))
    return Result.of(
        not faults,
        measured="; ".join(faults) or ", ".join(used.worked),
        wanted="nothing raised, and numbers",
        values={"worked": len(used.worked), "faults": len(faults)},
    )


def distance(one: Tensor, other: Tensor) -> float:
    """The largest difference, as a share of the largest value; not a number where only one is."""
    one, other = one.float(), other.float()
    if one.shape != other.shape or not one.isfinite().equal(other.isfinite()):
        return float("inf")
    told = one.isfinite() & (one.abs() < NEVER)
    one, other = one[told], other[told]
    if not one.numel():
        return 0.0
    return float((one - other).abs().max() / one.abs().max().clamp_min(1e-6))


@check("model")
def weights_tied(subject: Subject) -> Result | None:
    """What the class ties is one tensor after loading, and stored once."""
    wanted, ties, kept = tied(subject.anew[0]), tied(subject.model), stored(subject)
    if not wanted:
        return None
    twice = [group for group in wanted if sum(name in kept for name in group) > 1]
    faults = [f"apart: {listed(group)}" for group in wanted if group not in ties]
    faults += [f"stored twice: {listed(group)}" for group in twice]
    return Result.of(
        not faults,
        measured="; ".join(faults) or f"{len(ties)} ties",
        wanted=f"{len(wanted)} ties, each stored once",
        values={"ties": len(ties), "wanted_ties": len(wanted), "stored_twice": len(twice)},
    )


def stored(subject: Subject) -> dict[str, str]:
    """Name -> dtype of every tensor in the bundle's weights, as safetensors spells it (F32)."""
    return {name: tensor.dtype for name, tensor in headers(subject.folder).items()}


def _packed(subject: Subject) -> list[str]:
    """The keys that say that weights are packed, which nobody here packs, and what they are."""
    written = ", ".join(sorted({_SPELT.get(spelt, spelt) for spelt in stored(subject).values()}))
    return [
        f"{'.'.join((*path, name))} says {mapping(value).get('quant_method', 'packed')}, and the "
        f"weights are {written}"
        for path, node in configs(subject.file("config.json"))
        for name, value in node.items()
        if says(name, "packing") and value is not None
    ]


_SPELT = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}


@check("model")
def dtype(subject: Subject) -> Result:
    """Every weight has the recipe's dtype, in the file and loaded, but where its class insists on
    float32 (_keep_in_fp32_modules, or a parameter made so): those are float32 in both. Every config
    of the tree says that dtype."""
    import torch

    wanted = subject.made.dtype
    packed = _packed(subject)
    if packed:  # what loads it may refuse it, or make something else of it
        values = {"tensors": len(stored(subject)), "kept_in_float32": 0, "wrong": len(packed)}
        return Result.of(False, measured=listed(packed), wanted=wanted, values=values)
    model = subject.model
    kept = keeps(type(model), model.config, getattr(torch, wanted))
    in_file = {name: _SPELT.get(spelt, spelt) for name, spelt in stored(subject).items()}
    loaded = {
        name: str(tensor.dtype).removeprefix("torch.")
        for name, tensor in model.state_dict().items()
        # Counters of batches are whole numbers; what a loader makes of them is not a weight.
        if tensor.is_floating_point() and not in_file.get(name, "").startswith(("I", "U"))
    }
    wrong = sorted(
        f"{name} ({here})"
        for name, here in loaded.items()
        if here not in ("float32" if name in kept else wanted, "float64")  # its class's own
    )
    # The file's names are the loader's where it renames nothing.
    wrong += sorted(
        f"{name} ({there} in the file)"
        for name, there in in_file.items()
        if loaded.get(name, "float64") not in (there, "float64")
    )
    wrong += [
        f"{'.'.join((*path, name))} ({node[name]})"
        for path, node in configs(subject.file("config.json"))
        for name in DTYPES
        if node.get(name, wanted) not in (wanted, None)
    ]
    reads = ", and reads all of it so: set model.dtype to float32" if wrong else ""
    return Result.of(
        not wrong,
        measured=listed(wrong) if wrong else wanted + (f", {len(kept)} float32" if kept else ""),
        wanted=wanted,
        values={"tensors": len(loaded), "kept_in_float32": len(kept), "wrong": len(wrong)},
        note=f"its class keeps {listed(sorted(kept))} in float32{reads}" if kept else "",
    )


@check("model")
def initialised(subject: Subject) -> Result:
    """No weight is left as memory was found, and none is one number all over by mistake.

    A model is made anew with uninitialised memory full of NaN: what is NaN then is set by nobody.
    A matrix of one number is right where the class itself starts it so (gates at zero).
    """
    fresh = {name: p for name, p in subject.anew[0].named_parameters() if p.is_floating_point()}
    fresh |= _books(subject.anew[0])
    unset = sorted(name for name, tensor in fresh.items() if tensor.isnan().any())
    # A matrix that is not a parameter is a code book or a table: of zeros, it tells nothing apart.
    flat = [n for n, book in _books(subject.model).items() if book.dim() >= 2 and not book.any()]
    gates: list[str] = []
    for name, tensor in subject.model.named_parameters():
        if tensor.dim() >= 2 and tensor.numel() > 1 and _constant(tensor):
            same = name in fresh and _constant(fresh[name])
            (gates if same else flat).append(name)
    faults = [f"never set: {listed(unset)}"] if unset else []
    faults += [f"one number all over: {listed(sorted(flat))}"] if flat else []
    return Result.of(
        not faults,
        measured="; ".join(faults) or f"{len(fresh)} tensors set",
        wanted="every tensor set, no constant matrix",
        values={
            "tensors": len(fresh),
            "never_set": len(unset),
            "constant": len(flat),
            "constant_by_class": len(gates),
        },
        note=f"constant as its class starts it: {listed(sorted(gates))}" if gates else "",
    )


def _books(model: PreTrainedModel) -> dict[str, Tensor]:
    """The numbers that a model saves and does not learn."""
    saved = model.state_dict().keys()
    return {n: book for n, book in model.named_buffers() if n in saved and book.is_floating_point()}


def _constant(tensor: Tensor) -> bool:
    return bool((tensor == tensor.reshape(-1)[0]).all())


@check("model")
def max_parameters(subject: Subject) -> Result:
    """The model has the number of parameters that were counted, within the recipe's bound."""
    count = sum(p.numel() for p in subject.model.parameters())
    most, counted = subject.bounds.max_parameters, subject.made.parameters
    return Result.of(
        count <= most and count == counted,
        measured=f"{count:,}",
        wanted=f"{counted:,}, at most {most:,}",
        values={"parameters": count, "most": most},
    )


@check()
def max_bytes(subject: Subject) -> Result | None:
    """The bundle is within the recipe's bound."""
    most = subject.bounds.max_bytes
    if most is None:
        return None
    size = subject.bytes
    sizes = sorted(((of, name) for name, of in subject.sizes.items()), reverse=True)
    largest = ", ".join(f"{name} {of:,}" for of, name in sizes[:3])
    return Result.of(
        size <= most,
        measured=f"{size:,} bytes",
        wanted=f"at most {most:,}",
        values={"bytes": size, "most": most},
        note=""
        if size <= most
        else f"raise checks.max_bytes, or make the largest files smaller: {largest}",
    )
