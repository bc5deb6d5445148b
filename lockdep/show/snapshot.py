"""A validator's state as plain values: what the listings show, what a file keeps.

A saved file is JSON; `load` checks its shape, so that a damaged one is refused with a sentence.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sugarbush.lockdep.model import (
    CONTEXT_NAMES,
    KIND_NAMES,
    TRYLOCK,
    UNCHECKED,
    Chain,
    LockdepError,
    reach_counts,
    resolve,
    statistics,
)
from sugarbush.lockdep.outside import UnusableFile, check_schema, read_json, save_text
from sugarbush.lockdep.reports import held_line

if TYPE_CHECKING:
    from sugarbush.lockdep.engine import Lockdep
    from sugarbush.lockdep.model import TaskContext

FORMAT = "sugarbush-lockdep-1"
_SCHEMA = "snapshot.schema.json"
KEY_BASE = 0xFFFF_FFFF_8300_0000
KEY_SIZE = 0x10


@dataclass(frozen=True, slots=True)
class ClassRow:
    """A class: its dependencies of distance 1 in `after`, and how many classes lie behind and before it."""

    number: int
    name: str
    usage: str
    outer: int
    inner: int
    operations: int
    forward: int
    backward: int
    after: tuple[int, ...]

    @property
    def key(self) -> int:
        """The address that listings show for the class: its number, in the kernel's clothes."""
        return KEY_BASE + KEY_SIZE * self.number


@dataclass(frozen=True, slots=True)
class EdgeRow:
    """A dependency between two classes, by number; `site` is where it was first seen, `by` the task that made it."""

    prev: int
    next: int
    kinds: tuple[str, ...]
    distance: int
    site: str
    by: str = ""


@dataclass(frozen=True, slots=True)
class ChainRow:
    """A validated stack: irq context, and for each lock its class and read mode, oldest first."""

    context: str
    locks: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class HeldRow:
    """What one task holds, as lock lines, and the lock that it waits for; "" for none."""

    comm: str
    pid: int
    locks: tuple[str, ...]
    wanted: str = ""


@dataclass(frozen=True, slots=True)
class ReportRow:
    """A report: what to sort by, its text, and all of its fields."""

    kind: str
    headline: str
    is_failure: bool
    text: str
    fields: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that the listings show."""

    classes: tuple[ClassRow, ...] = ()
    edges: tuple[EdgeRow, ...] = ()
    chains: tuple[ChainRow, ...] = ()
    stats: dict[str, int] = field(default_factory=dict)
    held: tuple[HeldRow, ...] = ()
    reports: tuple[ReportRow, ...] = ()
    lock_stat: tuple[dict[str, Any], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """All rows as values that `json.dumps` takes."""
        return {"format": FORMAT, **asdict(self)}

    def save(self, path: Path | str) -> None:
        """Writes the file that `load` and ``python -m sugarbush.lockdep`` read, whole or not at all; raises
        `UnusableFile`.
        """
        save_text(Path(path), json.dumps(self.to_json()))

    @property
    def names(self) -> dict[int, str]:
        """The names of the classes, by number."""
        return {row.number: row.name for row in self.classes}


def take(lockdep: Lockdep, lock_stat: tuple[dict[str, Any], ...] = ()) -> Snapshot:
    """The present state of a validator."""
    state = lockdep.state()
    classes = state.classes
    forward, backward = reach_counts(classes, forwards=True), reach_counts(classes, forwards=False)
    operations = dict.fromkeys((known.number for known in classes), 0)
    for chain in walk(state.roots):
        operations[chain.lock_class.number] = operations.get(chain.lock_class.number, 0) + chain.hits + 1
    rows = tuple(
        ClassRow(
            known.number,
            known.title,
            known.usage_chars,
            int(known.wait_outer),
            int(known.wait_inner),
            operations[known.number],
            forward[known.number],
            backward[known.number],
            tuple(number for number, edge in known.after.items() if edge.distance == 1),
        )
        for known in classes
    )
    edges = tuple(
        EdgeRow(
            edge.prev.number,
            edge.next.number,
            tuple(name for kind, name in KIND_NAMES if edge.kinds & kind),
            edge.distance,
            str(resolve(edge.made[0].trace.site)) if edge.made[0].trace.frames else "",
            str(edge.made[0].by),
        )
        for known in classes
        for edge in known.after.values()
    )
    held = tuple(_held_row(ctx) for ctx in state.tasks if ctx.held)
    reports = tuple(
        ReportRow(str(report.kind), report.headline, report.is_failure, report.render(), report.to_json())
        for report in lockdep.reports
    )
    stats = statistics(state, sum(forward.values()))
    return Snapshot(rows, edges, chain_rows(state.roots), stats, held, reports, lock_stat)


def _held_row(ctx: TaskContext) -> HeldRow:
    held, wanted = ctx.parted()
    lines = tuple(str(held_line(entry)) for entry in held)
    return HeldRow(ctx.comm, ctx.pid, lines, "" if wanted is None else str(held_line(wanted)))


def walk(roots: tuple[Chain, ...]) -> Iterator[Chain]:
    """All stacks that were validated, shorter ones first within a branch."""
    pending = [chain for root in reversed(roots) for chain in reversed(root.next.values())]
    while pending:
        chain = pending.pop()
        yield chain
        pending.extend(reversed(chain.next.values()))


def chain_rows(roots: tuple[Chain, ...]) -> tuple[ChainRow, ...]:
    """The stacks that the kernel's chain cache would hold: by class and mode, whatever the irq state was."""
    rows: dict[ChainRow, None] = {}
    for chain in walk(roots):
        if not chain.key & (TRYLOCK | UNCHECKED) and chain.lock_class.checked:
            stack = (chain, *chain.held())
            locks = tuple((entry.lock_class.number, entry.read) for entry in reversed(stack))
            rows[ChainRow(CONTEXT_NAMES[chain.context], locks)] = None
    return tuple(rows)


def load(path: Path | str) -> Snapshot:
    """Reads what `Snapshot.save` wrote. Raises `LockdepError` with a sentence for anything else."""
    try:
        return _built(read_json(Path(path), "a file that lockdep saved"), str(path))
    except UnusableFile as error:
        raise LockdepError(str(error)) from None


def from_json(data: Any, name: str) -> Snapshot:
    """What `Snapshot.to_json` gave, as it was; `name` says in errors where it came from.

    Raises `LockdepError` with a sentence for anything else.
    """
    if not isinstance(data, dict):
        raise LockdepError(f"{name} is not a file that lockdep saved (format {FORMAT})")
    return _built(data, name)


def _built(data: dict[str, Any], name: str) -> Snapshot:
    if data.get("format") != FORMAT:
        raise LockdepError(f"{name} is not a file that lockdep saved (format {FORMAT})")
    try:
        check_schema(data, "sugarbush.lockdep.show", _SCHEMA, name)
    except UnusableFile as error:
        raise LockdepError(str(error)) from None
    _check_lists(data, name)
    snapshot = Snapshot(
        tuple(ClassRow(**{**row, "after": tuple(row["after"])}) for row in data["classes"]),
        tuple(EdgeRow(**{**row, "kinds": tuple(row["kinds"])}) for row in data["edges"]),
        tuple(ChainRow(row["context"], tuple(map(tuple, row["locks"]))) for row in data["chains"]),
        dict(data["stats"]),
        tuple(HeldRow(**{**row, "locks": tuple(row["locks"])}) for row in data["held"]),
        tuple(ReportRow(**row) for row in data["reports"]),
        tuple(map(dict, data["lock_stat"])),
    )
    _check_references(snapshot, name)
    return snapshot


def _check_lists(data: dict[str, Any], name: str) -> None:
    """The long lists, which take a reader of schemas minutes."""
    for key, rows, kind in (("classes", "after", int), ("edges", "kinds", str), ("held", "locks", str)):
        for row in data[key]:
            if not all(type(one) is kind for one in row[rows]):
                raise LockdepError(f"{name} is broken: {rows!r} of {key!r} has what is no {_WORDS[kind]}")
    for row in data["chains"]:
        for lock in row["locks"]:
            if not isinstance(lock, list) or len(lock) != 2 or not all(type(one) is int for one in lock):
                raise LockdepError(f"{name} is broken: 'locks' of 'chains' has what is no pair of numbers")


_WORDS = {int: "number", str: "text"}


def _check_references(snapshot: Snapshot, name: str) -> None:
    known = snapshot.names
    if len(known) != len(snapshot.classes):
        raise LockdepError(f"{name} is broken: two classes have one number")
    used = [number for row in snapshot.classes for number in row.after]
    used += [number for row in snapshot.edges for number in (row.prev, row.next)]
    used += [number for row in snapshot.chains for number, _ in row.locks]
    for number in used:
        if number not in known:
            raise LockdepError(f"{name} is broken: class {number!r} is used but not listed")
