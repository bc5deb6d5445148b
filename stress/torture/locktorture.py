"""locktorture: whoever holds a lock looks whether somebody else does.

Kernel: lock_torture_writer() and lock_torture_reader() in kernel/locking/locktorture.c, v6.6. Here writers also count
in a plain field, so that a lock that orders nothing shows as a data race or as a lost update.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sugarbush.concurrency import (
    Atomic,
    Failure,
    Kind,
    Once,
    Plain,
    Shared,
    Task,
    atomic_dec,
    atomic_inc,
    check,
    current_task,
    join,
    spawn,
)
from sugarbush.concurrency.lowlevel import active, fail
from sugarbush.stress.torture.ledger import record
from sugarbush.stress.torture.locks import TorturedLock, make_lock

_TRIES = 2
"""How often a trylock is tried before the lock is waited for."""


class Watched(Shared):
    """What the lock protects, and who says that he holds it."""

    writers: Atomic[int] = 0
    readers: Atomic[int] = 0
    total: Plain[int] = 0
    twin: Once[int] = 0
    """Always as large as `other`, but for the moment in which a writer moves both."""
    other: Once[int] = 0


@dataclass(slots=True)
class LockStatistics:
    """How often each task took the lock, and how often somebody else held it."""

    writes: dict[str, int] = field(default_factory=dict)
    reads: dict[str, int] = field(default_factory=dict)
    write_fails: int = 0
    read_fails: int = 0

    def add(self, other: LockStatistics) -> None:
        """Count what `other` has counted."""
        for mine, theirs in ((self.writes, other.writes), (self.reads, other.reads)):
            for task, count in theirs.items():
                mine[task] = mine.get(task, 0) + count
        self.write_fails += other.write_fails
        self.read_fails += other.read_fails

    def lines(self, flavour: str) -> list[str]:
        """The statistics as the kernel prints them."""
        lines = [_line("Writes", self.writes, self.write_fails)]
        if self.reads:
            lines.append(_line("Reads ", self.reads, self.read_fails))
        return [f"{flavour}-torture: {line}" for line in lines]

    def end(self, flavour: str) -> str:
        """The last line of a test."""
        failed = self.write_fails or self.read_fails
        return f"{flavour}-torture:--- End of test: {'FAILURE' if failed else 'SUCCESS'}"


def _line(title: str, counts: dict[str, int], fails: int) -> str:
    most, least = max(counts.values(), default=0), min(counts.values(), default=0)
    unfair = "???" if most // 2 > least else ""
    return (
        f"{title}:  Total: {sum(counts.values())}  Max/Min: {most}/{least} {unfair}  "
        f"Fail: {fails} {'!!!' if fails else ''}"
    ).rstrip()


class LockTorture:
    """One execution of the test."""

    def __init__(self, lock: TorturedLock) -> None:
        self.lock = lock
        self.watched = Watched()
        self.statistics: dict[Task, LockStatistics] = {}

    @property
    def total(self) -> LockStatistics:
        """What all tasks have counted."""
        total = LockStatistics()
        for counted in list(self.statistics.values()):
            total.add(counted)
        return total

    def _took(self, *, writes: bool) -> LockStatistics:
        task = current_task()
        mine = self.statistics.setdefault(task, LockStatistics())
        counts = mine.writes if writes else mine.reads
        counts[task.name] = counts.get(task.name, 0) + 1
        return mine

    def _broken(self, what: str) -> None:
        total = self.total
        name = self.lock.name
        record(name, total)
        detail = "\n".join([*total.lines(name), total.end(name)])
        fail(Failure(Kind.CHECK, f"{name}-torture: !!! {what}", detail))

    def write(self, times: int) -> None:
        """Kernel: lock_torture_writer()."""
        lock, watched = self.lock, self.watched
        for _ in range(times):
            token = None
            if lock.write_trylock is None or not _tried(lock.write_trylock):
                token = lock.write_lock()
            mine = self._took(writes=True)
            atomic_inc(watched, "writers")
            # Three fields: a plain one, at which two writers are a data race, and two that readers compare.
            if watched.writers == 1 and not watched.readers:
                watched.total += 1
                watched.twin += 1
                watched.other += 1
            else:
                mine.write_fails += 1
                self._broken("a writer is not alone")
            atomic_dec(watched, "writers")
            if lock.downgrade is not None and _flip("downgrade"):
                lock.downgrade()
                # Not counted: who has downgraded did not ask for the lock to read.
                self._inside_read(LockStatistics())
                assert lock.read_unlock is not None
                lock.read_unlock()
            else:
                lock.write_unlock(token)

    def read(self, times: int) -> None:
        """Kernel: lock_torture_reader()."""
        lock = self.lock
        for _ in range(times):
            if lock.seq is not None:
                self._read_seq()
                continue
            assert lock.read_lock is not None
            assert lock.read_unlock is not None
            if lock.read_trylock is None or not _tried(lock.read_trylock):
                lock.read_lock()
            self._inside_read(self._took(writes=False))
            lock.read_unlock()

    def _inside_read(self, mine: LockStatistics) -> None:
        watched = self.watched
        atomic_inc(watched, "readers")
        before = watched.total
        if watched.writers or before != watched.total or watched.twin != watched.other:
            mine.read_fails += 1
            self._broken("a reader is beside a writer")
        atomic_dec(watched, "readers")

    def _read_seq(self) -> None:
        """A reader that holds nothing, and looks again if a writer has been there."""
        seq, watched = self.lock.seq, self.watched
        assert seq is not None
        while True:
            start = seq.read_seqbegin()
            twin, other = watched.twin, watched.other
            if not seq.read_seqretry(start):
                break
        mine = self._took(writes=False)
        if twin != other:
            mine.read_fails += 1
            self._broken("a reader has seen half of a write")


def _flip(label: str) -> bool:
    rt = active.runtime
    assert rt is not None
    return bool(rt.choose(2, label))


def _tried(trylock: object) -> bool:
    """Whether a trylock is tried at all, and gets it."""
    assert callable(trylock)
    return _flip("trylock") and any(trylock() for _ in range(_TRIES))


def torture(lock: str, writers: int, readers: int, times: int) -> None:
    """One execution of locktorture, as the parameters of its scenario say."""
    test = LockTorture(make_lock(lock))
    tasks = [spawn(test.write, times, name=f"lock_torture_writer{n}") for n in range(writers)]
    if test.lock.read_lock is not None or test.lock.seq is not None:
        tasks += [spawn(test.read, times, name=f"lock_torture_reader{n}") for n in range(readers)]
    join(*tasks)
    check(test.watched.total == writers * times, "no write is lost")
    record(test.lock.name, test.total)
