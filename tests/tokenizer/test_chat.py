"""Chat templates and special tokens that a recipe gives: rendered, tokens of their own, refused."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from kit.faults import refused
from kit.files import edit
from kit.stage import MakeJob

from tinybuild import recipe, source
from tinybuild.recipe import reading
from tinybuild.tokenizer import chat, stage
from tinybuild.workers import Job

CHAT = [
    {"role": "user", "content": "Where is the kettle?"},
    {"role": "assistant", "content": "On the stove."},
    {"role": "user", "content": "Thanks!"},
]
PARTS = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is it?"}]}]

FORM = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
ENDS = {"chatml": "<|im_end|>", "gemma": "<end_of_turn>", "llama3": "<|eot_id|>"}


@pytest.fixture
def fetched(job: MakeJob) -> Any:
    """fetched(model type): the folder of the fetch stage."""

    def fetch(kind: str) -> Path:
        work = job({"wishes": {"source": {"transformers": kind}}, "base": ".", "locks": {}})
        source.fetch(work)
        return work.out

    return fetch


def work(job: MakeJob, folder: Path, *, blank: bool = True, **section: Any) -> Job:
    settings = {"tokenizer": {"vocab_size": 500, **section}, "slot": "source", "blank": blank}
    kind = "transformers" if blank else "path"
    return job({**settings, "kind": kind, "related": True}, fetch=folder)


def made(job: MakeJob, folder: Path, **more: Any) -> tuple[Any, Path]:
    """The tokenizer as AutoTokenizer loads it, and its folder."""
    from transformers import AutoTokenizer

    work_ = work(job, folder, **more)
    stage.make(work_)
    return AutoTokenizer.from_pretrained(work_.out), work_.out


def test_what_goes_on_writing_a_text_has_a_template_by_default(job: MakeJob, fetched: Any) -> None:
    tokenizer, _ = made(job, fetched("gpt2"), method="train")
    text = tokenizer.apply_chat_template(CHAT, tokenize=False, add_generation_prompt=True)
    assert text.startswith(
        "<|im_start|>user\nWhere is the kettle?<|im_end|>\n<|im_start|>assistant"
    )
    assert text.endswith("<|im_end|>\n<|im_start|>assistant\n")
    assert tokenizer.tokenize("<|im_start|>") == ["<|im_start|>"]
    assert len(tokenizer) == 500
    assert tokenizer.pad_token == "<pad>"
    assert made(job, fetched("bert"), method="train")[0].chat_template is None
    assert made(job, fetched("gpt2"), method="train", chat_template="none")[0].chat_template is None


def test_a_chat_shows_an_image_as_the_processor_takes_it(job: MakeJob, fetched: Any) -> None:
    """Gemma 3's processor takes the token that begins an image, and writes image_token itself."""
    from transformers import AutoProcessor

    source = fetched("gemma3")
    tokenizer, folder = made(job, source, method="train")
    shutil.copy(source / "source/processor_config.json", folder)
    processor = AutoProcessor.from_pretrained(folder)
    assert processor.image_token != tokenizer.image_token
    text = processor.apply_chat_template(PARTS, tokenize=False)
    assert f"user\n{processor.image_token}What is it?" in text
    assert tokenizer.image_token not in text


@pytest.mark.parametrize("name", chat.shipped())
def test_a_shipped_template_writes_texts_images_and_a_prompt(
    job: MakeJob, fetched: Any, name: str
) -> None:
    named = {"image_token": "<img>", "eos_token": "<|end|>"}
    section = {"method": "train", "chat_template": name, "special_tokens": named}
    tokenizer, _ = made(job, fetched("llama"), **section)
    text = tokenizer.apply_chat_template(CHAT, tokenize=False)
    assert all(message["content"] in text for message in CHAT)
    assert text.startswith(tokenizer.apply_chat_template(CHAT[:1], tokenize=False))
    assert "<img>What is it?" in tokenizer.apply_chat_template(PARTS, tokenize=False)
    prompt = tokenizer.apply_chat_template(CHAT, tokenize=False, add_generation_prompt=True)
    assert prompt.startswith(text)
    for token in chat.Given.of(section, {}, None).written:  # type: ignore[typeddict-item]
        assert tokenizer.tokenize(token) == [token]
    asked = {"return_dict": True, "return_assistant_tokens_mask": True}
    told = tokenizer.apply_chat_template(CHAT, **asked)
    masks = zip(told["input_ids"], told["assistant_masks"], strict=True)
    trained = [token for token, of_assistant in masks if of_assistant]
    end = tokenizer.convert_tokens_to_ids(ENDS.get(name, "<|end|>"))
    assert trained.index(end) == len(trained) - 1, "an answer is trained to its end"
    assert tokenizer.decode(trained[:-1]).strip() == CHAT[1]["content"]


@pytest.mark.parametrize(
    ("template", "written"),
    [
        ("<|user|>{{ x }}<|end|>", ("<|user|>", "<|end|>")),
        ("<tool_call>{{ x }}</tool_call>", ("<tool_call>", "</tool_call>")),
        ("[INST]{{ x[0] }}[/INST]", ("[INST]", "[/INST]")),
        ("<｜User｜>{{ x }}<｜end▁of▁sentence｜>", ("<｜User｜>", "<｜end▁of▁sentence｜>")),
    ],
)
def test_what_a_template_writes_and_is_a_token(template: str, written: tuple[str, ...]) -> None:
    section = {"method": "train", "chat_template": template}
    assert chat.Given.of(section, {}, None).written == written  # type: ignore[typeddict-item]


def test_the_tokens_of_a_recipe_are_special_and_count(job: MakeJob, fetched: Any) -> None:
    section = {"special_tokens": {"eos_token": "<|im_end|>"}, "pad_token": "[PAD]"}
    tokenizer, _ = made(job, fetched("gpt2"), method="train", **section)
    assert (tokenizer.eos_token, tokenizer.pad_token) == ("<|im_end|>", "[PAD]")
    assert len(tokenizer) == 500
    tokenizer, _ = made(job, fetched("bert"), method="train", special_tokens=["<a>", "<b>"])
    assert tokenizer.tokenize("x <a> y<b>") == ["x", "<a>", "y", "<b>"]
    assert tokenizer.decode(tokenizer("x<a>")["input_ids"], skip_special_tokens=True) == "x"


def test_a_shrunken_tokenizer_names_tokens_of_its_source(
    job: MakeJob, fetched: Any, tmp_path: Path
) -> None:
    section = {"method": "train", "special_tokens": ["<|fill|>"], "chat_template": "none"}
    whole, upstream = made(job, fetched("gpt2"), **section)
    (tmp_path / "source").symlink_to(upstream)
    more = {"blank": False, "method": "truncate", "vocab_size": 300, "chat_template": "zephyr"}
    tokenizer, _ = made(job, tmp_path, **more, pad_token="<|fill|>")
    assert tokenizer.pad_token == "<|fill|>"
    assert len(tokenizer) == 300
    assert tokenizer.apply_chat_template(CHAT[:1], tokenize=False).startswith("<|user|>\n")
    fault = refused(stage.make, work(job, tmp_path, **more, pad_token="<|none|>"))
    assert fault.what == "the source has no token '<|none|>'"
    assert (fault.key, "method: train" in fault.hint) == (("tokenizer",), True)
    plain = {"id": len(whole), "content": "<|im_start|>", "special": False}
    edit(upstream / "tokenizer.json", lambda data: data["added_tokens"].append(FORM | plain))
    least = []
    for template in ("none", "chatml"):  # which writes it
        wish = {**more, "vocab_size": 1, "chat_template": template}
        fault = refused(stage.make, work(job, tmp_path, **wish))
        least.append(int(re.findall(r"\d+", f"{fault.what} {fault.hint}")[-1]))
    assert least[1] == least[0] + 1


def read(section: str, folder: Path) -> recipe.Recipe:
    text = f"version: 1\nsummary: s\nsource: {{transformers: gpt2}}\ntokenizer: {section}\n"
    return reading.read(folder / "x.yaml", "x.yaml", "", text.encode())


def test_a_recipe_names_a_template_gives_a_file_or_the_text(
    job: MakeJob, fetched: Any, tmp_path: Path
) -> None:
    data = read("{vocab_size: 500, chat_template: {file: chat.jinja}}", tmp_path).data
    wish = source.wishes(data, tmp_path)[-1]
    assert (wish.slot, wish.data) == ("chat_template-0", {"path": "chat.jinja"})
    folder = fetched("gpt2")
    (folder / wish.slot).mkdir()
    (folder / wish.slot / "chat.jinja").write_text("{{ messages[0].content }}<|éd|>")
    tokenizer, out = made(job, folder, **{**data["tokenizer"]})
    assert tokenizer.apply_chat_template(CHAT, tokenize=False) == "Where is the kettle?<|éd|>"
    assert tokenizer.tokenize("<|éd|>") == ["<|éd|>"]
    assert "chat_template" not in json.loads((out / "tokenizer_config.json").read_text())
    assert read('{vocab_size: 500, chat_template: "{{ bos_token }}"}', tmp_path)
    wrong = refused(read, "{vocab_size: 500, chat_template: lama3}", tmp_path)
    assert wrong.what == "tokenizer.chat_template: there is no template lama3"
    assert wrong.hint == "did you mean llama3?"


def test_tokens_of_no_common_role_stand_behind_what_is_learned(job: MakeJob, fetched: Any) -> None:
    tokenizer, _ = made(job, fetched("gpt2"), method="train")
    ids = tokenizer.convert_tokens_to_ids(["<|endoftext|>", "<pad>", "<|im_start|>"])
    assert ids == [0, 1, 496]
    assert sorted(tokenizer.get_vocab().values()) == list(range(500))
    tokenizer, _ = made(job, fetched("whisper"), method="train")
    start, first, last = tokenizer.convert_tokens_to_ids(
        ["<|startoftranscript|>", "<|en|>", "<|notimestamps|>"]
    )
    assert (first, last) == (start + 1, 499)  # Whisper's class counts from one to the other
    assert tokenizer.decode(tokenizer("A kettle.")["input_ids"], skip_special_tokens=True) == (
        "A kettle."
    )
