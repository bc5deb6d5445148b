"""/proc/lockdep, lockdep_chains and lock_stat, read back: which orders exist between two locks, and who holds
what there.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sugarbush.lockdep.engine import Lockdep
from sugarbush.lockdep.model import LockClassKey, LockMap, ReportKind, TaskContext
from sugarbush.lockdep.outside import UnusableFile, shown
from sugarbush.lockdep.read.identities import parted, plain
from sugarbush.lockdep.read.model import UNKNOWN
from sugarbush.lockdep.reports import CircularReport
from sugarbush.lockdep.show import ChainRow, ClassRow, EdgeRow, Snapshot, merge

_CLASS: Final = re.compile(
    r"(?P<key>[0-9a-f]{8,16}) (?:OPS: *(?P<ops>\d+) )?(?:FD: *(?P<fd>\d+) )?(?:BD: *(?P<bd>\d+) "
    r")?(?P<usage>[.+?\-]{4,8}): (?P<name>\S.*)$"
)
_AFTER: Final = re.compile(r" -> \[(?P<key>[0-9a-f]{8,16})\] (?P<name>\S.*)$")
_IN_CHAIN: Final = re.compile(r"\[(?P<key>[0-9a-f]{8,16})\] (?P<name>\S.*)$")
_CONTEXT: Final = re.compile(r"irq_context: (?P<context>\S+)$")
_STAT: Final = re.compile(r"\s*(?P<name>\S.*?):\s+(?P<numbers>\d+(?:\s+\d+(?:\.\d+)?){9,11})\s*$")
_COLUMNS: Final = (
    *("con-bounces", "contentions", "waittime-min", "waittime-max", "waittime-total", "waittime-avg"),
    *("acq-bounces", "acquisitions", "holdtime-min", "holdtime-max", "holdtime-total", "holdtime-avg"),
)


def is_proc(text: str) -> bool:
    """Whether a text is one of these files."""
    return text.lstrip().startswith(("all lock classes:", "all lock chains:", "lock_stat version"))


def read_proc(text: str, name: str) -> Snapshot:
    r"""One of the three files, or our own listings of that form; raises `UnusableFile` for anything else.

    >>> read_proc("all lock chains:\nirq_context: 0\n[ffffffff81000000] a\n[ffffffff81000010] b\n", "x").chains[0].locks
    ((0, 0), (1, 0))
    """
    start = text.lstrip()
    if start.startswith("all lock classes:"):
        return _classes(text)
    if start.startswith("all lock chains:"):
        return _chains(text)
    if start.startswith("lock_stat version"):
        return _stat(text)
    raise UnusableFile(f"{name} is none of /proc/lockdep, /proc/lockdep_chains and /proc/lock_stat")


def _classes(text: str) -> Snapshot:
    rows: list[re.Match[str]] = []
    after: list[list[str]] = []
    for line in text.splitlines():
        found = _CLASS.match(line)
        if found is not None:
            rows.append(found)
            after.append([])
        elif (edge := _AFTER.match(line)) is not None and after:
            after[-1].append(edge["key"])
    numbers = {found["key"]: at for at, found in enumerate(rows)}
    classes = tuple(
        ClassRow(
            at,
            found["name"].strip(),
            found["usage"],
            UNKNOWN,
            UNKNOWN,
            int(found["ops"] or 0),
            int(found["fd"] or 0),
            int(found["bd"] or 0),
            tuple(numbers[key] for key in after[at] if key in numbers),
        )
        for at, found in enumerate(rows)
    )
    edges = tuple(EdgeRow(row.number, number, (), 1, "") for row in classes for number in row.after)
    return Snapshot(classes=classes, edges=edges)


def _chains(text: str) -> Snapshot:
    numbers: dict[str, int] = {}
    names: list[str] = []
    chains: list[ChainRow] = []
    context = "0"
    locks: list[int] = []
    for line in [*text.splitlines(), "irq_context: 0"]:
        found = _CONTEXT.match(line)
        if found is not None:
            if locks:
                chains.append(ChainRow(context, tuple((number, 0) for number in locks)))
            context, locks = found["context"], []
        elif (lock := _IN_CHAIN.match(line.strip())) is not None:
            if lock["key"] not in numbers:
                numbers[lock["key"]] = len(names)
                names.append(lock["name"].strip())
            locks.append(numbers[lock["key"]])
    edges = {pair: None for chain in chains for pair in zip(chain.locks, chain.locks[1:], strict=False)}
    after: dict[int, dict[int, None]] = {}
    for (prev, _), (following, _) in edges:
        after.setdefault(prev, {})[following] = None
    return Snapshot(
        classes=tuple(
            ClassRow(number, name, "", UNKNOWN, UNKNOWN, 0, 0, 0, tuple(after.get(number, ())))
            for number, name in enumerate(names)
        ),
        edges=tuple(
            EdgeRow(prev, following, (), 1, "") for prev, more in after.items() for following in more
        ),
        chains=tuple(dict.fromkeys(chains)),
    )


def _stat(text: str) -> Snapshot:
    rows: list[dict[str, Any]] = []
    for line in text.splitlines():
        found = _STAT.match(line)
        if found is None:
            continue
        numbers = found["numbers"].split()
        columns = (
            _COLUMNS if len(numbers) == 12 else tuple(one for one in _COLUMNS if not one.endswith("-avg"))
        )
        row: dict[str, Any] = {"name": found["name"]}
        row.update(
            {
                column: float(value) if "time" in column else int(value)
                for column, value in zip(columns, numbers, strict=True)
            }
        )
        rows.append({**dict.fromkeys(_COLUMNS, 0), **row, "contention points": {}, "contending points": {}})
    return Snapshot(lock_stat=tuple(rows))


@dataclass(frozen=True, slots=True)
class Orders:
    """What is known of the order of two locks: the shortest paths each way, and the chains that hold both."""

    first: str
    second: str
    forwards: tuple[str, ...]
    backwards: tuple[str, ...]
    chains: tuple[tuple[str, ...], ...]

    def lines(self) -> list[str]:
        """As text."""
        found = []
        for path, one, other in (
            (self.forwards, self.first, self.second),
            (self.backwards, self.second, self.first),
        ):
            found.append(f"{one} before {other}: {' -> '.join(path) if path else 'not seen'}")
        if self.forwards and self.backwards:
            found.append("both orders exist: together they are a cycle")
        found += [f"chain: {' -> '.join(chain)}" for chain in self.chains] or ["no chain holds both"]
        return found


def between(snapshots: Sequence[Snapshot], first: str, second: str) -> Orders:
    """The orders that exist between two locks, by name, also without ``#n``; raises `UnusableFile` for an
    unknown name.
    """
    snapshot = merge(snapshots)
    names = snapshot.names
    starts, ends = _numbers(names, first), _numbers(names, second)
    after: dict[int, list[int]] = {}
    for edge in snapshot.edges:
        after.setdefault(edge.prev, []).append(edge.next)
    chains = tuple(
        dict.fromkeys(
            tuple(names[number] for number, _ in row.locks)
            for row in snapshot.chains
            if {number for number, _ in row.locks} & starts and {number for number, _ in row.locks} & ends
        )
    )
    return Orders(first, second, _path(after, names, starts, ends), _path(after, names, ends, starts), chains)


def _numbers(names: dict[int, str], name: str) -> set[int]:
    found = {number for number, known in names.items() if known == name} or {
        number for number, known in names.items() if _base(known) == _base(name)
    }
    if not found:
        raise UnusableFile(f"no lock is called {shown(name)} there")
    return found


def _base(name: str) -> str:
    base, _, subclass = parted(plain(name))
    return base + subclass


def _path(
    after: dict[int, list[int]], names: dict[int, str], starts: set[int], ends: set[int]
) -> tuple[str, ...]:
    """A shortest path; of direct orders only those that were seen."""
    came: dict[int, int | None] = dict.fromkeys(sorted(starts))
    pending = deque(came)
    while pending:
        at = pending.popleft()
        if at in ends and came[at] is not None:
            path = [at]
            while (before := came[path[-1]]) is not None:
                path.append(before)
            return tuple(names[number] for number in reversed(path))
        for other in after.get(at, ()):
            if other not in came:
                came[other] = at
                pending.append(other)
    return ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the chains of the same boot show a cycle as possible, or guarded by locks that all who take
    part hold.
    """

    possible: bool
    guards: tuple[str, ...]

    def __str__(self) -> str:
        if self.guards:
            return (
                f"guarded by {', '.join(self.guards)}: if that is always held exclusively, the steps "
                "cannot meet (the file does not"
                " tell readers from writers)"
            )
        return (
            "possible: the chains show tasks that can wait for each other"
            if self.possible
            else "not in these chains"
        )


def judge(cycle: Iterable[str], snapshot: Snapshot) -> Verdict:
    """What the chains of the same boot say of a cycle: `guards` looks for tasks that can wait for each other
    all at once.
    """
    names = snapshot.names
    wanted = {_base(name) for name in cycle}
    task = TaskContext("chains", 1)
    lockdep = Lockdep(lambda: task, internal=(), stacks=False)
    maps = {number: LockMap(LockClassKey(name)) for number, name in names.items()}
    for row in snapshot.chains:
        held = {_base(names[number]) for number, _ in row.locks}
        if len(held & wanted) < 2:
            continue
        for number, read in row.locks:
            lockdep.acquire(maps[number], read=read)
        for number, _ in reversed(row.locks):
            lockdep.release(maps[number])
    possible = False
    guards: tuple[str, ...] = ()
    for report in lockdep.reports:
        if (
            isinstance(report, CircularReport)
            and {_base(link.wanted.name) for link in report.chain} == wanted
        ):
            possible = possible or report.kind is ReportKind.CIRCULAR
            guards = guards or report.guards
    return Verdict(possible, () if possible else guards)
