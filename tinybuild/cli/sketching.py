"""What a recipe for a source would make of it, before there is one."""

from __future__ import annotations

import shlex
import tempfile
from pathlib import Path

from tinybuild import wire
from tinybuild.catalog.contents import short
from tinybuild.cli import starting
from tinybuild.cli.command import Answer, Lines
from tinybuild.cli.session import Session
from tinybuild.progress import count, size, table
from tinybuild.review.recipes import Reviewer

NAME, LONGEST = "source", 32  # of the recipe; characters of a value


def sketch(word: str) -> Lines:
    """Looks at a source in a zoo that lasts as long as this takes. Raises Fault."""
    with tempfile.TemporaryDirectory(prefix="tinybuild-") as scratch:
        root = Path(scratch).resolve() / "zoo"
        (root / "recipes").mkdir(parents=True)
        writer, reader = Session(root), Session(root)
        try:
            found = starting.written(writer, word, root / f"recipes/{NAME}.yaml")
            reviewer = Reviewer(zoo=reader.zoo, builder=reader.builder, scratch=Path(scratch))
            made = reviewer.sketch(NAME) if found.model_type else None
        finally:
            writer.close()
            reader.close()
    what = f"a {found.model_type}" if found.model_type else "a tokenizer"
    yield f"{word}: {what} (there is no recipe; one would make this)\n"
    if found.words or made is None:
        yield f"tokens       {count(starting.VOCABULARY)}, or as many as the recipe says"
    if made is not None:
        yield f"class        {made.size.class_}"
        yield f"tasks        {', '.join(found.tasks) or '-'}"
        yield f"parameters   {count(made.size.parameters)}, of {count(made.source)} in the source"
        yield f"weights      {size(made.size.bytes)}"
        changes = [
            (one.key, short(one.from_, LONGEST), short(one.to, LONGEST), one.reason)
            for one in made.changes
        ]
        yield "\n" + table(("config", "source", "here", "why"), changes)
    yield f"\nwrite the recipe: tinybuild new {shlex.quote(word)}"
    return Answer(
        data={
            "source": word,
            "model_type": found.model_type,
            "tasks": [*found.tasks],
            "model": wire.dump(made) if made is not None else None,
        }
    )
