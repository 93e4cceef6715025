"""Checks of a dataset: load_dataset reads the folder and finds the rows."""

from __future__ import annotations

from tinybuild.validate.check import Check, Subject


def dataset_loads(subject: Subject) -> Check:
    """load_dataset(folder) gives the rows and columns that were written."""
    from datasets import load_dataset

    found = load_dataset(
        str(subject.folder / "dataset"), split="train", cache_dir=str(subject.scratch / "cache")
    )
    facts = subject.facts["dataset"]
    rows = sum(1 for _ in found)
    measured = f"{rows:,} rows of {', '.join(found.column_names)}"
    wanted = f"{facts['rows']:,} rows of {', '.join(name for name, _ in facts['columns'])}"
    return Check(name="dataset_loads", ok=measured == wanted, measured=measured, wanted=wanted)
