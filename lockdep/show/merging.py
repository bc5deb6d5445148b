"""Several snapshots as one: what a whole campaign has seen of the locks.

Classes are one if they have one name. Numbers that count are added up, dependencies, stacks and reports are united, and
what is reached from where is computed anew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from sugarbush.lockdep.show.snapshot import ChainRow, ClassRow, EdgeRow, Snapshot


def merge(snapshots: Sequence[Snapshot]) -> Snapshot:
    """One snapshot of all; of one, itself. Lock statistics and held locks are those of each, one after the other."""
    if len(snapshots) == 1:
        return snapshots[0]
    # By name: numbers count classes in the order of each run, so one class has another number in every run.
    numbers: dict[str, int] = {}
    for snapshot in snapshots:
        for row in snapshot.classes:
            numbers.setdefault(row.name, len(numbers))
    edges = _edges(snapshots, numbers)
    stats: Counter[str] = Counter()
    for snapshot in snapshots:
        stats.update(snapshot.stats)
    return Snapshot(
        classes=_classes(snapshots, numbers, edges),
        edges=tuple(edges.values()),
        chains=tuple(_chains(snapshots, numbers)),
        stats=dict(stats),
        held=tuple(row for snapshot in snapshots for row in snapshot.held),
        reports=tuple({row.text: row for snapshot in snapshots for row in snapshot.reports}.values()),
        lock_stat=tuple(row for snapshot in snapshots for row in snapshot.lock_stat),
    )


def _edges(snapshots: Iterable[Snapshot], numbers: dict[str, int]) -> dict[tuple[int, int], EdgeRow]:
    edges: dict[tuple[int, int], EdgeRow] = {}
    for snapshot in snapshots:
        names = snapshot.names
        for row in snapshot.edges:
            key = numbers[names[row.prev]], numbers[names[row.next]]
            known = edges.get(key)
            kinds = tuple(dict.fromkeys((*(known.kinds if known else ()), *row.kinds)))
            distance = min(row.distance, known.distance) if known else row.distance
            first = known or row  # where it was seen first stays, as it does within one run
            edges[key] = EdgeRow(*key, kinds, distance, first.site, first.by)
    return edges


def _classes(
    snapshots: Iterable[Snapshot], numbers: dict[str, int], edges: dict[tuple[int, int], EdgeRow]
) -> tuple[ClassRow, ...]:
    first: dict[str, ClassRow] = {}
    operations: Counter[str] = Counter()
    for snapshot in snapshots:
        for row in snapshot.classes:
            first.setdefault(row.name, row)
            operations[row.name] += row.operations
    after: dict[int, list[int]] = {number: [] for number in numbers.values()}
    before: dict[int, list[int]] = {number: [] for number in numbers.values()}
    for prev, following in edges:
        after[prev].append(following)
        before[following].append(prev)
    return tuple(
        ClassRow(
            number,
            name,
            first[name].usage,
            first[name].outer,
            first[name].inner,
            operations[name],
            _reached(number, after),
            _reached(number, before),
            tuple(other for other in after[number] if edges[number, other].distance == 1),
        )
        for name, number in numbers.items()
    )


def _reached(start: int, ways: dict[int, list[int]]) -> int:
    """How many classes are reached from one, itself included."""
    seen = {start}
    pending = [start]
    while pending:
        for other in ways[pending.pop()]:
            if other not in seen:
                seen.add(other)
                pending.append(other)
    return len(seen)


def _chains(snapshots: Iterable[Snapshot], numbers: dict[str, int]) -> dict[ChainRow, None]:
    rows: dict[ChainRow, None] = {}
    for snapshot in snapshots:
        names = snapshot.names
        for row in snapshot.chains:
            locks = tuple((numbers[names[number]], read) for number, read in row.locks)
            rows[ChainRow(row.context, locks)] = None
    return rows
