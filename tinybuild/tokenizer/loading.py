"""A folder of upstream files becomes a tokenizer of transformers, or a fault that says why not."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

from tinybuild.errors import BuildFault, Fault, did_you_mean
from tinybuild.keys import PROCESSORS, vocabulary
from tinybuild.paths import whole
from tinybuild.reading import reading
from tinybuild.tokenizer import ranks, spm, tokenizer_json
from tinybuild.tokenizer.segmenter import LETTERS
from tinybuild.tokenizer.tokenizer_json import Document

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

LARGEST = 100_000_000  # bytes of merges that were packed; CLIP's are 3 million


def load(folder: Path, name: str | None, kind: str) -> PreTrainedTokenizerBase:
    """The tokenizer of a fetched folder, of class `name` or the one the folder names.

    Where the folder names none that transformers can load without code from the upstream, the files
    tell what they are (`_by_files`). Raises BuildFault.
    """
    files = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if set(files) <= {"config.json", "generation_config.json", *PROCESSORS}:
        what, hint = "the source has no tokenizer", "give tokenizer.source another one"
        if kind == "transformers":
            what = "this model type has no blank tokenizer of its own"
            hint = "take another family's: tokenizer: {source: {transformers: gpt2}, ...}"
        raise BuildFault.of(what, key=("tokenizer",), hint=hint)
    read = " and ".join(file for file in files if not file.endswith(".md")) or "files"
    with reading(f"the source's {read}", "tokenizer"):
        try:
            made, empty = _loaded(folder, name, files)
        except (OSError, ValueError, KeyError, TypeError, ImportError, AttributeError) as error:
            raise _unloadable(error, folder, files, name) from None
        except Exception as error:
            if type(error).__module__ == "builtins":  # tokenizers raises bare Exception
                raise _unloadable(error, folder, files, name) from None
            raise
    if empty:
        # transformers gives the special tokens alone where a class finds none of its files.
        told = made if name is not None else _by_files(folder)
        if told is None or _empty(told):
            raise BuildFault.of(
                f"{type(made).__name__} finds no vocabulary in the source's files",
                key=("tokenizer",),
                hint=f"it reads {', '.join(made.vocab_files_names.values())}; "
                f"the source holds {', '.join(files)}",
            )
        made = told
    if made.is_fast:
        tokenizer_json.settle(made.backend_tokenizer)
    template = folder / "chat_template.jinja"
    if made.chat_template is None and template.is_file():
        made.chat_template = template.read_text(encoding="utf-8")
    return made


def _loaded(
    folder: Path, name: str | None, files: list[str]
) -> tuple[PreTrainedTokenizerBase, bool]:
    """What transformers loads, or else what the files are; and whether it has no vocabulary."""
    import transformers

    # Beside a tekken.json AutoTokenizer would take a class of mistral-common, of another kind.
    loader, options = transformers.AutoTokenizer, {"mistral_format": False}
    if name is not None:
        loader, options = tokenizer_class(name), {}
    try:
        if name is None and {"tekken.json", "tokenizer.json"} & {*files} == {"tekken.json"}:
            made = _tekken(folder / "tekken.json")
        else:
            made = loader.from_pretrained(folder, trust_remote_code=False, **options)
            models = [file for file in files if file.endswith(".model")]
            generic = type(made) is transformers.TokenizersBackend
            if generic and "tokenizer.json" not in files and len(models) == 1:
                _spell(made, folder / models[0])
        return made, "tokenizer.json" not in files and _empty(made)
    except Exception:
        made = _by_files(folder) if name is None else None
        if made is None:
            raise
        return made, False


def _empty(made: PreTrainedTokenizerBase) -> bool:
    """Whether a tokenizer that reads files has nothing but special and added tokens."""
    added = {*made.get_added_vocab(), *made.all_special_tokens}
    return bool(made.vocab_files_names) and len(made) <= len(added)


def _by_files(folder: Path) -> PreTrainedTokenizerBase | None:
    """The tokenizer that the files of a folder are, whatever their configs say; None if unclear.

    In this order: a tokenizer.json; one SentencePiece model or tiktoken file of any name; one file
    of merges that is packed; vocab.json and merges.txt over the 256 letters of byte-level
    vocabularies (GPT-2, or CLIP where they mark the ends of words); a vocab.txt with ##, or BERT's
    special tokens (BERT; its text is lowered if no token has a capital letter).
    """
    import transformers
    from transformers import TokenizersBackend

    def only(suffix: str) -> Path | None:
        paths = sorted(folder.glob(f"*{suffix}"))
        return paths[0] if len(paths) == 1 else None

    model, ranked, packed = only(".model"), only(".tiktoken"), only(".txt.gz")
    if (folder / "tokenizer.json").is_file():
        return TokenizersBackend.from_pretrained(folder)
    if model is not None:
        return _sentencepiece(model)
    if ranked is not None:
        return _tiktoken(ranked)
    if packed is not None:
        return _merges(packed)
    listed, words = folder / "vocab.json", folder / "vocab.txt"
    if listed.is_file() and (folder / "merges.txt").is_file():
        tokens = _object(listed)
        # Some vocabularies lack the letters of the 13 bytes that UTF-8 never has.
        if len({*LETTERS} & tokens.keys()) >= 256 - 13:
            if any(f"{letter}</w>" in tokens for letter in LETTERS):
                return transformers.CLIPTokenizer.from_pretrained(folder)
            end = "<|endoftext|>" if "<|endoftext|>" in tokens else None
            roles = dict.fromkeys(("unk_token", "bos_token", "eos_token"), end)
            return transformers.GPT2Tokenizer.from_pretrained(folder, **roles)
    elif words.is_file():
        lines = words.read_text(encoding="utf-8").splitlines()
        pieces = any(line.startswith("##") for line in lines) or {"[CLS]", "[SEP]"} <= {*lines}
        if pieces and "[UNK]" in lines:  # ProtBERT's 30 words, letters, have no pieces
            lower = not any(line.lower() != line for line in lines if not line.startswith("["))
            return transformers.BertTokenizer.from_pretrained(folder, do_lower_case=lower)
    return None


def _merges(path: Path) -> PreTrainedTokenizerBase:
    """CLIP's tokenizer, or GPT-2's where nothing marks the ends of words, of its merges alone.

    Both number the letters of bytes first (CLIP: then those that end words), then what is merged in
    its order, then special tokens. How many merges count a file does not say (CLIP's has 262,144
    and 48,894 of them are tokens); a config beside it does.
    https://github.com/openai/CLIP/blob/main/clip/simple_tokenizer.py
    """
    import gzip

    import transformers

    with gzip.open(path) as file:
        text = file.read(LARGEST).decode()
    lines = [line.split() for line in text.splitlines()[1:]]
    pairs = [(line[0], line[1]) for line in lines if len(line) == 2]
    ends = any(second.endswith("</w>") for _, second in pairs)
    special = ["<|startoftext|>", "<|endoftext|>"] if ends else ["<|endoftext|>"]
    letters = sorted(LETTERS)
    letters += [f"{letter}</w>" for letter in letters if ends]
    size = vocabulary(_object(path.parent / "config.json"))
    count = size - len(letters) - len(special) if whole(size) else 0
    if not 0 < count <= len(pairs):
        what = f"{path.name} has {len(pairs):,} merges, and does not say how many are tokens"
        hint = "a config.json beside it says so: vocab_size, as many as CLIP's 49408"
        raise BuildFault.of(what, key=("tokenizer",), hint=hint)
    tokens = [*letters, *("".join(pair) for pair in pairs[:count]), *special]
    class_ = transformers.CLIPTokenizer if ends else transformers.GPT2Tokenizer
    return class_(vocab={token: n for n, token in enumerate(tokens)}, merges=pairs[:count])


def _sentencepiece(path: Path) -> PreTrainedTokenizerBase | None:
    """The tokenizer of a SentencePiece model, as its specs want it; None for one that transformers
    cannot convert."""
    from transformers import TokenizersBackend

    converted = TokenizersBackend.convert_to_native_format(vocab_file=str(path))
    if "tokenizer_object" not in converted:
        return None
    made = TokenizersBackend(**converted)
    return made if _spell(made, path) else None


def _spell(made: PreTrainedTokenizerBase, path: Path) -> bool:
    """Let what transformers made of a SentencePiece model, without a class for it, cut text as the
    model's specs want it, and as sentencepiece and llama.cpp do.

    (transformers' own conversion leaves out the space before a text, and orders merges by ids where
    SentencePiece goes by scores.) False, and it stays as it is, for another file, or a model that
    keeps spaces otherwise than as U+2581 before words.
    """
    from tokenizers import Regex, Tokenizer, decoders, normalizers

    if ranks.is_tiktoken(path):
        return False
    proto = spm.read(path)
    spec = proto.normalizer_spec
    if proto.trainer_spec.treat_whitespace_as_suffix or not spec.escape_whitespaces:
        return False
    data = json.loads(made.backend_tokenizer.to_str())
    if data["model"]["type"] == "BPE":
        scores = {piece.piece: piece.score for piece in proto.pieces}
        data["model"]["merges"].sort(key=lambda pair: -scores["".join(pair)])
    backend = Tokenizer.from_str(json.dumps(data))
    steps: list[Any] = []
    joined = [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
    if spec.precompiled_charsmap:
        steps.append(normalizers.Precompiled(spec.precompiled_charsmap))
    if spec.remove_extra_whitespaces:
        steps += [
            normalizers.Replace(Regex(r"\A +| +\z"), ""),
            normalizers.Replace(Regex(" {2,}"), " "),
        ]
    if spec.add_dummy_prefix:
        joined.append(decoders.Strip(" ", 1, 0))
        steps.append(normalizers.Prepend("\u2581"))
    backend.normalizer = normalizers.Sequence([*steps, normalizers.Replace(" ", "\u2581")])
    backend.decoder = decoders.Sequence(joined)
    made._tokenizer = backend
    return True


def _object(path: Path) -> Document:
    try:
        data = json.loads(path.read_bytes()) if path.is_file() else {}
    except (ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


def _tekken(path: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a Tekken file, with Mistral's roles and chat template, as transformers
    converts it, and the beginning of a text, as mistral-common writes it. (AutoTokenizer by itself
    gives none of them, and takes mistral-common's class only where that is installed.)"""
    from tokenizers import processors
    from transformers.integrations.mistral.tokenizer import convert_tekken_tokenizer

    made = convert_tekken_tokenizer(str(path))
    begin = made.bos_token
    made.backend_tokenizer.post_processor = processors.Sequence(
        [
            made.backend_tokenizer.post_processor,
            processors.TemplateProcessing(
                single=f"{begin} $A",
                pair=f"{begin} $A {begin} $B:1",
                special_tokens=[(begin, made.bos_token_id)],
            ),
        ]
    )
    return made


def _tiktoken(path: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a tiktoken file, which holds neither pattern nor special tokens.

    Both are those of the encoding of the tiktoken library that has the file's name (cl100k_base);
    for another name the pattern is the one that transformers takes (TikTokenConverter), and special
    tokens are those of a tokenizer_config.json. They have the ids given there.
    """
    import tiktoken.registry
    import tiktoken_ext.openai_public as public
    from tokenizers import Tokenizer
    from transformers import TokenizersBackend
    from transformers.convert_slow_tokenizer import TikTokenConverter

    config = _object(path.parent / "tokenizer_config.json")
    added = config.get("added_tokens_decoder", {})
    special = {token["content"]: int(number) for number, token in added.items()}
    options: dict[str, Any] = {}
    if path.stem in tiktoken.list_encoding_names():
        # What the library says of an encoding, without the ranks, which it would download.
        constructors: Any = tiktoken.registry.ENCODING_CONSTRUCTORS
        nothing = mock.Mock(return_value={})
        with (
            mock.patch.object(public, "load_tiktoken_bpe", nothing),
            mock.patch.object(public, "data_gym_to_mergeable_bpe_ranks", nothing),
        ):
            known = constructors[path.stem]()
        # Oniguruma, which tokenizers cuts with, reads a possessive {1,3}+ as repeated; without
        # the + it gives the same words, for what follows never needs a digit back.
        options["pattern"] = re.sub(r"(\{\d+(?:,\d*)?\})\+", r"\1", known["pat_str"])
        special = special or known["special_tokens"]
    made = json.loads(TikTokenConverter(vocab_file=str(path), **options).converted().to_str())
    vocabulary = made["model"]["vocab"]
    vocabulary.pop("", None)  # a token of no bytes stands for an id that is not used
    taken = {*vocabulary.values()}
    vocabulary |= {token: number for token, number in special.items() if number not in taken}
    backend = Tokenizer.from_str(json.dumps(made))
    backend.add_special_tokens([*special])
    roles = {role: token for role, token in config.items() if role.endswith("_token") and token}
    end = "<|endoftext|>"  # what the library calls eot_token
    if not roles and end in special:
        roles["eos_token"] = end
    return TokenizersBackend(tokenizer_object=backend, **roles)


def _unloadable(error: Exception, folder: Path, files: list[str], name: str | None) -> Fault:
    lines = [line for line in str(error).splitlines() if line.strip()]
    # A single line says what is wrong; many are a lecture on how transformers looks for files.
    told = f": {lines[0].replace(f'{folder}/', '')}" if len(lines) == 1 else ""
    hint = f"the source holds {', '.join(files)}"
    if name is None:
        hint += (
            "; if none of them is a vocabulary, take another tokenizer: tokenizer.source; if they "
            "do not name their class, name it: tokenizer.class"
        )
    return BuildFault.of(
        f"transformers cannot load the source's tokenizer{told}",
        key=("tokenizer",),
        hint=hint,
    )


def tokenizer_class(name: str) -> type[PreTrainedTokenizerBase]:
    """The tokenizer class of transformers with that name; raises BuildFault."""
    import transformers
    from transformers import PreTrainedTokenizerBase

    named = getattr(transformers, name, None)
    if not isinstance(named, type) or not issubclass(named, PreTrainedTokenizerBase):
        known = [n for n in dir(transformers) if n.endswith(("Tokenizer", "TokenizerFast"))]
        raise BuildFault.of(
            f"transformers has no tokenizer class {name}",
            key=("tokenizer", "class"),
            hint=did_you_mean(name, known) if len(name) > 3 else "",
        )
    return named
