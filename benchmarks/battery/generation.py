"""Generation, pipelines, export and compilation with the transformers that built the bundle."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
import transformers
from run import on

DECODERS = ("llama", "gpt2", "qwen2-600", "nemo-2k", "deepseek-v3", "chat")
SEQ2SEQ = ("t5", "mt5", "bart")
PROMPT = "The quick brown fox"
NEW = {"max_new_tokens": 8, "min_new_tokens": 8}


def loaded(
    folder: Path,
) -> tuple[transformers.PreTrainedModel, transformers.PreTrainedTokenizerBase]:
    config = transformers.AutoConfig.from_pretrained(folder)
    model_class = getattr(transformers, config.architectures[0])
    model = model_class.from_pretrained(folder, dtype=torch.float32).eval()
    return model, transformers.AutoTokenizer.from_pretrained(folder)


def continued(folder: Path, **options: object) -> tuple[torch.Tensor, torch.Tensor]:
    """What plain greedy decoding gives, and what these options give."""
    model, tokenizer = loaded(folder)
    batch = tokenizer([PROMPT], return_tensors="pt")
    batch.pop("token_type_ids", None)
    plain = model.generate(**batch, do_sample=False, **NEW)
    given = {"do_sample": False, **NEW, **options}
    if "assistant_model" in given:
        given["assistant_model"] = model_again(folder)
    return plain, model.generate(**batch, **given)


def model_again(folder: Path) -> transformers.PreTrainedModel:
    return loaded(folder)[0]


@on(*DECODERS, *SEQ2SEQ)
def greedy(folder: Path) -> str:
    """Greedy decoding, with a cache and without."""
    plain, again = continued(folder, use_cache=False)
    assert plain.tolist() == again.tolist(), "the cache changes what is said"
    return f"{plain.shape[1]} tokens"


@on(*DECODERS, *SEQ2SEQ)
def sampling_and_beams(folder: Path) -> str:
    """Sampling with top-p, and four beams."""
    torch.manual_seed(0)
    _, sampled = continued(folder, do_sample=True, top_p=0.9, temperature=0.7)
    _, beams = continued(folder, num_beams=4, num_return_sequences=2)
    return f"{sampled.shape[1]} and {beams.shape} tokens".replace("torch.Size", "")


@on("llama", "qwen2-600", "chat")
def static_cache(folder: Path) -> str:
    """A cache of fixed size says the same."""
    plain, again = continued(folder, cache_implementation="static")
    assert plain.tolist() == again.tolist(), "other tokens"
    return "the same tokens"


@on("llama", "gpt2", "qwen2-600", "t5")
def assisted(folder: Path) -> str:
    """Assisted decoding by the same model says the same."""
    plain, again = continued(folder, assistant_model=True)
    assert plain.tolist() == again.tolist(), "other tokens"
    return "the same tokens"


@on(*DECODERS, *SEQ2SEQ)
def padded_batch(folder: Path) -> str:
    """A prompt in a padded batch is continued as it is alone."""
    model, tokenizer = loaded(folder)
    if tokenizer.pad_token is None:
        raise ValueError("the tokenizer has no pad token")
    if not model.config.is_encoder_decoder:
        tokenizer.padding_side = "left"
    prompts = [PROMPT, f"{PROMPT} jumps over the lazy dog"]
    batch = tokenizer(prompts, return_tensors="pt", padding=True)
    batch.pop("token_type_ids", None)
    alone = tokenizer([PROMPT], return_tensors="pt")
    alone.pop("token_type_ids", None)
    one = model.generate(**alone, do_sample=False, **NEW)[0, -8:]
    both = model.generate(**batch, do_sample=False, **NEW)[0, -8:]
    assert one.tolist() == both.tolist(), "other tokens"
    return "the same tokens"


@on(*DECODERS, "bert", "xlm-roberta", "bart")
def truncated(folder: Path) -> str:
    """A text longer than the model takes, with truncation=True."""
    model, tokenizer = loaded(folder)
    longest = min(tokenizer.model_max_length, 100_000)
    batch = tokenizer("The quick brown fox " * 200, truncation=True, return_tensors="pt")
    batch.pop("token_type_ids", None)
    with torch.no_grad():
        model(**batch)
    return f"{batch['input_ids'].shape[1]} tokens of at most {longest:,}"


@on("chat", "llava", "nemo-2k", "llama")
def chat(folder: Path) -> str:
    """apply_chat_template of three turns, and an answer."""
    model, tokenizer = loaded(folder)
    turns = [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hi"},
        {"role": "user", "content": "How are you?"},
    ]
    batch = tokenizer.apply_chat_template(
        turns, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    said = model.generate(**batch, do_sample=False, **NEW)
    asked = batch["input_ids"].shape[1]
    return f"{asked} tokens, then {said.shape[1] - asked}"


PIPELINES = {
    "gpt2": ("text-generation", "The fox"),
    "llama": ("text-generation", "The fox"),
    "bert": ("fill-mask", "The [MASK] fox"),
    "xlm-roberta": ("fill-mask", "The <mask> fox"),
    "vit": ("image-classification", "image"),
    "bart": ("feature-extraction", "The fox"),
    "deberta": ("fill-mask", "The [MASK] fox"),
    "clip": ("zero-shot-image-classification", "image"),
    "llava": ("image-text-to-text", "image"),
}


@on(*PIPELINES)
def pipelines(folder: Path) -> str:
    """pipeline() of the task that the bundle is for."""
    from PIL import Image

    task, given = PIPELINES[folder.name]
    image = Image.linear_gradient("L").resize((40, 40)).convert("RGB")
    made = transformers.pipeline(task, str(folder), dtype=torch.float32)
    if task == "text-generation":
        return f"{task}: {len(made(given, max_new_tokens=4)[0]['generated_text'])} characters"
    if task == "zero-shot-image-classification":
        return f"{task}: {len(made(image, candidate_labels=['a fox', 'a dog']))} labels"
    if task == "image-text-to-text":
        mark = getattr(made.processor, "image_token", "<image>")
        made(images=image, text=f"{mark} a fox", max_new_tokens=4)
        return task
    return f"{task}: {len(made(image if given == 'image' else given))}"


@on("llama", "gpt2", "bert", "vit")
def exported(folder: Path) -> str:
    """torch.export gives the same numbers."""
    model, batch = fixed(folder)
    program = torch.export.export(model, (), kwargs=batch, strict=False)
    return near(model(**batch)[0], program.module()(**batch)[0])


@on("llama", "bert")
def compiled(folder: Path) -> str:
    """torch.compile with inductor gives the same numbers."""
    model, batch = fixed(folder)
    plain = model(**batch)[0]
    return near(plain, torch.compile(model)(**batch)[0])


@on("llama", "t5", "bert")
def offloaded(folder: Path) -> str:
    """accelerate with layers on disk gives the same numbers."""
    from accelerate import cpu_offload, disk_offload

    model, batch = fixed(folder)
    plain = model(**batch)[0]
    with tempfile.TemporaryDirectory() as temporary:
        far = disk_offload(fixed(folder)[0], temporary, execution_device=torch.device("cpu"))
        said = near(plain, far(**batch)[0])
    near(plain, cpu_offload(fixed(folder)[0], execution_device=torch.device("cpu"))(**batch)[0])
    return said


def fixed(folder: Path) -> tuple[transformers.PreTrainedModel, dict[str, torch.Tensor]]:
    config = transformers.AutoConfig.from_pretrained(folder)
    model_class = getattr(transformers, config.architectures[0])
    model = model_class.from_pretrained(folder, dtype=torch.float32).eval().requires_grad_(False)
    if model.main_input_name == "pixel_values":
        side = config.image_size
        return model, {"pixel_values": torch.linspace(-1, 1, 3 * side**2).reshape(1, 3, side, side)}
    batch = {"input_ids": (torch.arange(12) * 7 % 100 + 10)[None]}
    if config.is_encoder_decoder:
        batch["decoder_input_ids"] = batch["input_ids"][:, :5]
    else:
        batch["use_cache"] = False
        if config.model_type == "bert":
            del batch["use_cache"]
    return model, batch


def near(one: torch.Tensor, other: torch.Tensor, most: float = 1e-4) -> str:
    far = float((one - other).abs().max() / one.abs().max())
    assert far <= most, f"differ by {far:.1e} of the largest"
    return f"within {most:g}"
