"""Training: Trainer, peft, trl and sentence-transformers."""

from __future__ import annotations

import tempfile
from pathlib import Path

import datasets
import torch
import transformers
from generation import fixed, loaded, near
from run import on

LINES = ["The quick brown fox jumps over the lazy dog.", "Whoever tests needs few words."] * 4
ARGUMENTS = {
    "per_device_train_batch_size": 2,
    "max_steps": 2,
    "report_to": [],
    "use_cpu": True,
    "logging_steps": 1,
    "disable_tqdm": True,
    "dataloader_pin_memory": False,
}


def finite(trainer: transformers.Trainer) -> str:
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    assert losses, "no loss was logged"
    assert all(0 < float(loss) < 1e4 for loss in losses), f"losses {losses}"
    return f"loss {float(losses[-1]):.2f}"


@on("llama", "gpt2", "bert", "nemo-2k", "deepseek-v3", "xlm-roberta")
def trainer(folder: Path) -> str:
    """Trainer with a language-modelling collator, two steps, and once more from its checkpoint."""
    model, tokenizer = loaded(folder)
    if tokenizer.pad_token is None:
        raise ValueError("the tokenizer has no pad token, which the collator asks for")
    masked = tokenizer.mask_token is not None
    collator = transformers.DataCollatorForLanguageModeling(tokenizer, mlm=masked)
    rows = [tokenizer(line, truncation=True) for line in LINES]
    with tempfile.TemporaryDirectory() as temporary:
        arguments = transformers.TrainingArguments(temporary, save_steps=1, **ARGUMENTS)
        made = transformers.Trainer(
            model=model,
            args=arguments,
            train_dataset=rows,
            data_collator=collator,
            processing_class=tokenizer,
        )
        made.train()
        made.train(resume_from_checkpoint=f"{temporary}/checkpoint-1")
        return finite(made)


@on("t5", "mt5", "bart")
def seq2seq_trainer(folder: Path) -> str:
    """Seq2SeqTrainer with its collator, two steps, and an evaluation that generates."""
    model, tokenizer = loaded(folder)
    rows = [dict(tokenizer(line, text_target=line, truncation=True)) for line in LINES]
    with tempfile.TemporaryDirectory() as temporary:
        arguments = transformers.Seq2SeqTrainingArguments(
            temporary,
            predict_with_generate=True,
            generation_max_length=8,
            save_strategy="no",
            **ARGUMENTS,
        )
        made = transformers.Seq2SeqTrainer(
            model=model,
            args=arguments,
            train_dataset=rows,
            eval_dataset=rows[:2],
            data_collator=transformers.DataCollatorForSeq2Seq(tokenizer, model),
            processing_class=tokenizer,
        )
        made.train()
        made.evaluate()
        return finite(made)


@on("llama", "gpt2", "qwen2-600", "deepseek-v3", "bert", "t5", "bart", "vit", "llava")
def peft_lora(folder: Path) -> str:
    """LoRA on all linear layers: a step changes the output, the adapter comes back, and merges."""
    import peft

    model, batch = fixed(folder)
    plain = model(**batch)[0].detach()
    config = peft.LoraConfig(target_modules="all-linear", r=4, init_lora_weights=False)
    made = peft.get_peft_model(model, config).eval()
    adapted = made(**batch)[0].detach()
    assert not torch.equal(plain, adapted), "the adapter changes nothing"
    made(**batch)[0].float().square().mean().backward()
    held = [n for n, p in made.named_parameters() if p.requires_grad]
    with tempfile.TemporaryDirectory() as temporary:
        made.save_pretrained(temporary)
        again = peft.PeftModel.from_pretrained(fixed(folder)[0], temporary).eval()
        near(adapted, again(**batch)[0])
    near(adapted, made.merge_and_unload()(**batch)[0], 1e-3)
    return f"{len(held)} tensors"


def trl_arguments(kind: str, temporary: str, **more: object) -> object:
    import trl

    return getattr(trl, kind)(temporary, bf16=False, save_strategy="no", **ARGUMENTS, **more)


@on("llama", "gpt2", "qwen2-600", "nemo-2k", "chat")
def trl_sft(folder: Path) -> str:
    """SFTTrainer on plain texts."""
    import trl

    with tempfile.TemporaryDirectory() as temporary:
        rows = datasets.Dataset.from_list([{"text": line} for line in LINES])
        arguments = trl_arguments("SFTConfig", temporary)
        made = trl.SFTTrainer(str(folder), arguments, train_dataset=rows)
        made.train()
        return finite(made)


def turns(answer: str = "Hi there.") -> list[dict[str, str]]:
    return [{"role": "user", "content": "Hello."}, {"role": "assistant", "content": answer}]


@on("chat", "nemo-2k", "llama")
def trl_sft_chat(folder: Path) -> str:
    """SFTTrainer on conversations."""
    import trl

    with tempfile.TemporaryDirectory() as temporary:
        rows = datasets.Dataset.from_list([{"messages": turns()}] * 8)
        arguments = trl_arguments("SFTConfig", temporary)
        made = trl.SFTTrainer(str(folder), arguments, train_dataset=rows)
        made.train()
        return finite(made)


@on("llava")
def trl_sft_vision(folder: Path) -> str:
    """SFTTrainer on conversations with an image."""
    import trl
    from PIL import Image

    image = Image.linear_gradient("L").resize((40, 40)).convert("RGB")
    said = [
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is it?"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "A fox."}]},
    ]
    with tempfile.TemporaryDirectory() as temporary:
        rows = datasets.Dataset.from_list([{"messages": said, "images": [image]}] * 4)
        arguments = trl_arguments("SFTConfig", temporary, max_length=None)
        made = trl.SFTTrainer(str(folder), arguments, train_dataset=rows)
        made.train()
        return finite(made)


@on("chat", "llama", "gpt2", "qwen2-600")
def trl_dpo(folder: Path) -> str:
    """DPOTrainer on pairs of plain texts, and of conversations where there is a template."""
    import trl

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    row: dict[str, object] = {"prompt": "The fox", "chosen": " jumps.", "rejected": " sleeps."}
    if tokenizer.chat_template:
        row = {"prompt": turns()[:1], "chosen": turns()[1:], "rejected": turns("No.")[1:]}
    with tempfile.TemporaryDirectory() as temporary:
        rows = datasets.Dataset.from_list([row] * 8)
        made = trl.DPOTrainer(
            str(folder),
            args=trl_arguments("DPOConfig", temporary),
            train_dataset=rows,
            processing_class=tokenizer,
        )
        made.train()
        return finite(made)


@on("chat", "llama", "gpt2", "qwen2-600")
def trl_reward(folder: Path) -> str:
    """RewardTrainer on pairs."""
    import trl

    with tempfile.TemporaryDirectory() as temporary:
        rows = datasets.Dataset.from_list([{"chosen": "The fox jumps.", "rejected": "No."}] * 8)
        made = trl.RewardTrainer(
            str(folder), args=trl_arguments("RewardConfig", temporary), train_dataset=rows
        )
        made.train()
        return finite(made)


@on("bert", "xlm-roberta", "gpt2", "t5")
def sentence_transformers(folder: Path) -> str:
    """SentenceTransformer encodes, and a step of training changes it."""
    import sentence_transformers as st

    model = st.SentenceTransformer(str(folder), device="cpu")
    made = model.encode(LINES[:2])
    assert made.shape[0] == 2
    assert abs(float((made[0] - made[1]).sum())) > 0, "two texts have one vector"
    return f"{made.shape[1]} numbers a text"


@on("llama", "gpt2", "nemo-2k")
def lm_eval(folder: Path) -> str:
    """lm-eval's model class: log-likelihoods of two continuations, and a generation."""
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    model = HFLM(pretrained=str(folder), device="cpu", batch_size=2, dtype="float32")
    asked = [("The fox", " jumps"), ("The fox", " sleeps")]
    requests = [Instance("loglikelihood", {}, pair, n) for n, pair in enumerate(asked)]
    told = model.loglikelihood(requests, disable_tqdm=True)
    assert all(value < 0 for value, _ in told)
    return f"{told[0][0]:.1f} and {told[1][0]:.1f}"


@on("llama", "gpt2", "deepseek-v3", "bert")
def torchao(folder: Path) -> str:
    """torchao's int8 weights stay near."""
    from torchao.quantization import Int8WeightOnlyConfig, quantize_

    model, batch = fixed(folder)
    plain = model(**batch)[0]
    quantize_(model, Int8WeightOnlyConfig())
    return near(plain, model(**batch)[0], 0.1)


@on("llama", "gpt2", "qwen2-600")
def bitsandbytes(folder: Path) -> str:
    """bitsandbytes in 8 and in 4 bits (nf4) gives finite numbers."""
    for options in ({"load_in_8bit": True}, {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}):
        config = transformers.BitsAndBytesConfig(**options)
        model = transformers.AutoModelForCausalLM.from_pretrained(
            folder, quantization_config=config, device_map="cpu"
        )
        made = model(input_ids=torch.arange(10, 22)[None])[0]
        assert made.isfinite().all(), f"not finite: {options}"
    return "8 and 4 bits"
