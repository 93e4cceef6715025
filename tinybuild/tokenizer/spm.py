"""SentencePiece .model files: read, checked, and cut down.

The format is the protobuf of google/sentencepiece, src/sentencepiece_model.proto: a list of pieces,
whose places are their ids, and the specs of trainer and normaliser.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tinybuild.errors import PackageFault
from tinybuild.tokenizer.bpe import Bpe
from tinybuild.tokenizer.format import Cut, Format, fault
from tinybuild.tokenizer.segmenter import Segmenter
from tinybuild.tokenizer.unigram import Unigram
from tinybuild.tokenizer.words import Words

if TYPE_CHECKING:
    from sentencepiece.sentencepiece_model_pb2 import ModelProto
    from transformers import PreTrainedTokenizerBase

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
UNIGRAM, BPE, WORD, CHAR = 1, 2, 3, 4
ROLES = ("unk", "bos", "eos", "pad")  # trainer_spec names their pieces and ids


def is_model(path: Path) -> bool:
    """Whether the file's bytes are a SentencePiece model with pieces."""
    return _parsed(path) is not None


def read(path: Path) -> ModelProto:
    """The ModelProto of a file. Raises BuildFault for what the sentencepiece library would refuse
    less clearly: no protobuf, no pieces, a piece that stands twice, not one unknown piece."""
    proto = _parsed(path)
    if proto is None or not proto.HasField("trainer_spec"):
        raise fault(
            f"{path.name} is not a SentencePiece model",
            "the file may have been cut off, or be a pointer to the real one: fetch it again",
        )
    names = [piece.piece for piece in proto.pieces]
    if len(set(names)) < len(names):
        twice = next(name for name, times in Counter(names).items() if times > 1)
        raise fault(f"{path.name} holds the piece {twice!r} twice", "each piece has one id")
    unknown = [piece.piece for piece in proto.pieces if piece.type == UNKNOWN]
    if len(unknown) != 1:
        what = f"{path.name} has {len(unknown)} unknown pieces; SentencePiece wants one"
        raise fault(what, "the file may be damaged: fetch it again")
    return proto


def _parsed(path: Path) -> ModelProto | None:
    try:
        from sentencepiece import sentencepiece_model_pb2
    except ImportError as error:
        module = error.name or "sentencepiece"
        raise PackageFault.lacking(path.name, module, ("tokenizer",)) from None
    from google.protobuf.message import DecodeError

    proto = sentencepiece_model_pb2.ModelProto()
    try:
        proto.ParseFromString(path.read_bytes())
    except DecodeError:
        return None
    return proto if proto.pieces else None


def _named(proto: ModelProto, *kinds: int) -> list[str]:
    return [piece.piece for piece in proto.pieces if piece.type in kinds]


def segmenter(proto: ModelProto) -> Segmenter:
    """The algorithm and pieces of a model.

    User-defined pieces are found before text is cut: no merge makes one, no path takes one.
    """
    algorithm, types = proto.trainer_spec.model_type, {p.type for p in proto.pieces}
    unknown = next(piece.piece for piece in proto.pieces if piece.type == UNKNOWN)
    if algorithm == UNIGRAM:
        return Unigram(
            tokens={piece.piece: piece.score for piece in proto.pieces},
            plain=frozenset(_named(proto, NORMAL)),
            unknown=unknown,
            bytes_=BYTE in types,
        )
    ids = {piece.piece: number for number, piece in enumerate(proto.pieces)}
    if algorithm == BPE:
        merged = (piece for piece in proto.pieces if piece.type in (NORMAL, UNUSED))
        return Bpe(
            tokens=ids,
            merges=None,
            priority={piece.piece: -piece.score for piece in merged},
            unknown=unknown,
            bytes_=BYTE in types,
        )
    return Words(tokens=ids, unknown=unknown, prefix="" if algorithm == CHAR else None)


def required(proto: ModelProto) -> Mapping[str, str]:
    """Pieces without which the model does not load, or cuts other text otherwise -> why.

    The pieces that trainer_spec gives a role. Byte pieces: all of them or none. Unused pieces of a
    BPE: text is merged into them, and taken apart again into what they were merged from.
    """
    types, spec = {piece.piece: piece.type for piece in proto.pieces}, proto.trainer_spec
    needed = {}
    for role in ROLES:
        piece = getattr(spec, f"{role}_piece")
        if getattr(spec, f"{role}_id") >= 0 and piece in types:
            needed[piece] = "special"
    always = {BYTE: "alphabet"} | ({UNUSED: "unused"} if spec.model_type == BPE else {})
    if not always.keys().isdisjoint(types.values()):
        needed |= {piece: always[type_] for piece, type_ in types.items() if type_ in always}
    return needed


def _by_sentencepiece(path: Path, beside: PreTrainedTokenizerBase) -> Cut:
    from sentencepiece import SentencePieceProcessor

    processor = SentencePieceProcessor(model_file=str(path))
    return lambda text: list(map(processor.id_to_piece, processor.encode(text)))


def cut(proto: ModelProto, kept: Iterable[str]) -> bytes:
    """A model with the kept pieces only, in their order, as bytes that are the same every time.

    All else stands as it was, but for sizes and ids in trainer_spec, and what the installed library
    does not know: among that is the self test of older ones (samples of how the whole model cuts
    text; they do not load a model that fails it).
    """
    made, stay = type(proto)(), set(kept)
    made.CopyFrom(proto)
    pieces = [piece for piece in proto.pieces if piece.piece in stay]
    del made.pieces[:]
    made.pieces.extend(pieces)
    made.DiscardUnknownFields()
    spec, places = made.trainer_spec, {p.piece: number for number, p in enumerate(pieces)}
    if spec.HasField("vocab_size"):
        spec.vocab_size = len(pieces)
    for role in ROLES:
        if getattr(spec, f"{role}_id") >= 0:
            number = places.get(getattr(spec, f"{role}_piece"), -1)
            if getattr(spec, f"{role}_id") != number:
                setattr(spec, f"{role}_id", number)
    return bytes(made.SerializeToString(deterministic=True))


SENTENCEPIECE = Format(
    holds=lambda path: path.suffix in (".model", ".spm"),
    read=read,
    tokens=lambda proto: _named(proto, NORMAL, USER_DEFINED),
    required=required,
    segmenter=segmenter,
    cut=cut,
    library=_by_sentencepiece,
)
