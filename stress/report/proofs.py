"""What is proven of the catalogue, beside its pages: ``proofs.json``, and what the pages say of it.

A page claims nothing that does not stand in that file, and the file has what was measured in one run: by which sources,
for which bounds, how many traces and the hash of their set. So whoever runs the same sources can compare.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from sugarbush.lockdep.outside import read_text, save_text
from sugarbush.stress.kit import FileFormat
from sugarbush.stress.runs import Proven, commit, sources

PROOFS = "proofs.json"
FORMAT = 1
_MAGIC = "sugarbush-proofs"
_FILE = FileFormat(
    "a file of `sugarbush catalogue --prove --pages`",
    _MAGIC,
    FORMAT,
    "sugarbush.stress.report",
    "proofs.schema.json",
)
_ROW = "| Proven |"
_LAST = "| Found in |"
"""The row of a page behind which the other one stands."""


class Claim(NamedTuple):
    """What a page says of a bug, and what the list of all says."""

    row: str
    cell: str


def save_proofs(proven: Sequence[Proven], seconds: float, folder: Path) -> None:
    """Add what was proven to the file in `folder`, in place of what it said of these bugs; raises `UnusableFile`."""
    by = {"version": _version(), "commit": commit(), "sources": sources(), "seconds": seconds}
    entries = {entry["name"]: entry for entry in _entries(folder)}
    for one in proven:
        words = {"broken_words": one.broken.words, "fixed_words": one.words}
        entries[one.bug.name] = {**one.as_json(), "by": by, **words}
    ordered = sorted(entries.values(), key=lambda entry: (entry["id"], entry["name"]))
    save_text(folder / PROOFS, json.dumps({_MAGIC: FORMAT, "entries": ordered}, indent=1) + "\n")


def claims(folder: Path) -> dict[str, Claim]:
    """What is proven of each bug by the file in `folder`, if there is one; raises `UnusableFile`."""
    return {entry["name"]: Claim(_row(entry), _cell(entry)) for entry in _entries(folder)}


def _entries(folder: Path) -> list[dict[str, Any]]:
    path = folder / PROOFS
    return list(_FILE.read(path)["entries"]) if path.exists() else []


def _version() -> str:
    try:
        return metadata.version("sugarbush")
    except metadata.PackageNotFoundError:
        return "unknown"


def _row(entry: Mapping[str, Any]) -> str:
    """The row of a page."""
    by = entry["by"]
    commit = f", commit {by['commit'][:12]}" if by["commit"] else ""
    # A cell ends at a bar, and what failed may have said one.
    fixed, broken = (entry[form].replace("|", "/") for form in ("fixed_words", "broken_words"))
    return (
        f"{_ROW} fixed form: {fixed}. Broken form: {broken}. By version {by['version']}, sources "
        f"{by['sources'][:12]}{commit}, in {by['seconds']:.0f} s a form |"
    )


def _cell(entry: Mapping[str, Any]) -> str:
    """What the list says: within how many preemptions the fixed form is passed, by how many traces."""
    fixed = entry["fixed"]
    if fixed["failed"]:
        return "FAILS"
    if not fixed["bounds"]:
        return "nothing"
    last = fixed["bounds"][-1]
    within = "all" if fixed["complete"] else str(last["bound"])
    short = "" if fixed["passed"] or fixed["within"] is None else f" of {fixed['within']}"
    return f"{within}{short}: {last['traces']}"


def with_claim(page: str, claim: Claim | None) -> str:
    r"""A page with what is proven, in place of what it said of that before.

    >>> print(with_claim("| Found in | 3 |\n\nfurther", Claim("| Proven | all |", "")))
    | Found in | 3 |
    | Proven | all |
    <BLANKLINE>
    further
    """
    lines = [line for line in page.split("\n") if not line.startswith(_ROW)]
    if claim is not None:
        at = next((number for number, line in enumerate(lines) if line.startswith(_LAST)), None)
        if at is not None:
            lines.insert(at + 1, claim.row)
    return "\n".join(lines)


def write_claims(folder: Path) -> None:
    """Have the pages that lie in `folder` say what its file of proofs says; raises `UnusableFile`."""
    for name, claim in claims(folder).items():
        path = folder / f"{name}.md"
        # By its name, which is a part of the path of a file that is written.
        if re.fullmatch(r"[a-z0-9-]+", name) and path.exists():
            save_text(path, with_claim(read_text(path), claim))
