"""Sequence counters: readers take no lock, and read again if a writer came between.

Kernel: include/linux/seqlock.h, v6.6. The data between is declared `Once`: a reader may see it half-changed, and the
retry is what makes that harmless. Plain fields are reported as data races, on either side.

>>> from sugarbush import Once, Shared, check, explore, spawn
>>> class Pair(Shared):
...     left: Once[int] = 0
...     right: Once[int] = 0
>>> def program(retry):
...     pair, lock = Pair(), SeqLock("pair")
...     def write():
...         with lock.write():          # the number is odd in here
...             pair.left = 1
...             pair.right = 1
...     spawn(write)
...     while True:
...         start = lock.read_seqbegin()
...         seen = pair.left, pair.right
...         if not retry or not lock.read_seqretry(start):
...             break
...     check(seen[0] == seen[1], "both halves are of one write")
>>> explore(lambda: program(retry=True), strategy="dpor").verdict.value
'passed'
>>> explore(lambda: program(retry=False), strategy="dpor").failures[0].failure.headline
'check failed: both halves are of one write'

Simpler here: a reader that comes while a writer is inside waits until that has left, where the kernel's spins. Both
read the same, and a reader that waits costs no schedules.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sugarbush.concurrency.core import (
    Access,
    Dep,
    Failure,
    Hold,
    Kind,
    Operation,
    Task,
    caller,
    checked,
    fail,
    holds,
    look_at,
    perform,
    position,
)
from sugarbush.concurrency.locks.lock import Lock
from sugarbush.concurrency.locks.spinlock import Spinlock
from sugarbush.lockdep import LockClassKey


class SeqCount(Lock):
    """A sequence counter: odd while a writer is inside. The program must keep writers from each other by other means.

    Kernel: seqcount_t. Two writers at once are a data race on the counter, and reported as one.
    """

    # A `Lock` because the validator treats it as one, as the kernel does: a reader that waits for a writer inside
    # of what the writer needs is a deadlock (seqcount_lockdep_reader_access()). `_sequence` is odd exactly while
    # `_writer` is set.

    __slots__ = ("_sequence", "_writer")

    def __init__(self, name: str = "seqcount", key: LockClassKey | None = None) -> None:
        super().__init__(name, key)
        self._sequence = 0
        self._writer: Task | None = None

    @property
    def sequence(self) -> int:
        """The number at this moment, odd while a writer is inside: an operation. Kernel: raw_read_seqcount()."""
        return int(look_at(self, "_sequence"))

    @property
    def holders(self) -> tuple[Task, ...]:
        """The writer inside, if there is one."""
        return () if self._writer is None else (self._writer,)

    def read_begin(self) -> int:
        """Wait until no writer is inside; gives the sequence. Kernel: read_seqcount_begin()."""
        return int(perform(READ_SEQCOUNT_BEGIN, self))

    def read_retry(self, start: int) -> bool:
        """Whether a writer came since `start`, so what was read may be half-changed; kernel: read_seqcount_retry()."""
        return bool(perform(READ_SEQCOUNT_RETRY, self) != start)

    def write_begin(self) -> None:
        """Begin to write: the sequence becomes odd. Kernel: write_seqcount_begin()."""
        perform(WRITE_SEQCOUNT_BEGIN, self)

    def write_end(self) -> None:
        """What was written is whole: the sequence is even again. Kernel: write_seqcount_end()."""
        perform(WRITE_SEQCOUNT_END, self)


class SeqLock:
    """A sequence counter with the spinlock that keeps its writers from each other. Kernel: seqlock_t."""

    __slots__ = ("lock", "name", "seqcount")

    def __init__(self, name: str = "seqlock") -> None:
        self.name = name
        self.lock = Spinlock(name)
        self.seqcount = SeqCount(f"{name}.seqcount")

    def read_seqbegin(self) -> int:
        """Wait until no writer is inside; gives the sequence for `read_seqretry`."""
        return self.seqcount.read_begin()

    def read_seqretry(self, start: int) -> bool:
        """Whether a writer came since `start`: then read once more."""
        return self.seqcount.read_retry(start)

    def write_seqlock(self) -> None:
        """Keep other writers out, and begin to write."""
        self.lock.lock()
        self.seqcount.write_begin()

    def write_sequnlock(self) -> None:
        """End the write."""
        self.seqcount.write_end()
        self.lock.unlock()

    def read_seqlock_excl(self) -> None:
        """Keep writers out, to read without a retry; ended by `read_sequnlock_excl`."""
        self.lock.lock()

    def read_sequnlock_excl(self) -> None:
        """Let writers in again."""
        self.lock.unlock()

    @contextmanager
    def write(self) -> Iterator[None]:
        """`write_seqlock` and `write_sequnlock`, as a `with` block."""
        self.write_seqlock()
        try:
            yield
        finally:
            self.write_sequnlock()


def _even(count: SeqCount, _task: Task) -> bool:
    return count._sequence % 2 == 0


def _sequence(count: SeqCount, _task: Task, _arg: object) -> int:
    return count._sequence


def _begin(count: SeqCount, task: Task, _arg: object) -> None:
    # The kernel's race detector finds this because `sequence` is a plain field there; here it is changed in an effect,
    # which is atomic, so two writers are looked for in so many words.
    other = count._writer
    if other is not None and checked("data-race"):
        fail(
            Failure(
                Kind.DATA_RACE,
                f"BUG: KCSAN: data-race in {count.name}.sequence: write_seqcount_begin by {task.name} while "
                f"{other.name} writes",
                "\n".join(
                    [
                        "nothing keeps the writers of this sequence counter from each other",
                        f"at {caller()}",
                        *(f"{other.name} holds {lock}" for lock in holds(other)),
                        *position(task, count),
                    ]
                ),
                check="data-race",
            )
        )
    count._writer = task
    count._sequence += 1
    task.preempt_count += 1


def _end(count: SeqCount, task: Task, _arg: object) -> None:
    if count._writer is not task:
        count._unheld_release("write_seqcount_end")
    count._writer = None
    count._sequence += 1
    task.preempt_count -= 1


# Readers acquire what the last writer released. A writer acquires nothing: what keeps writers apart orders them.
_ORDER = ("written",)
READ_SEQCOUNT_BEGIN = Operation(
    "read_seqcount_begin",
    Access.READ_ONCE,
    ready=_even,
    effect=_sequence,
    dep=Dep.WAIT_FOR_WRITER,
    acquires=_ORDER,
    local=True,
    spins=True,
)
READ_SEQCOUNT_RETRY = Operation("read_seqcount_retry", Access.READ_ONCE, effect=_sequence, local=True)
WRITE_SEQCOUNT_BEGIN = Operation(
    "write_seqcount_begin",
    effect=_begin,
    wakes=True,
    dep=Dep.ACQUIRE,
    local=True,
    region=True,
    # The number is not what it was before: a reader that began earlier has to begin again.
    hold=Hold.CHANGES,
)
WRITE_SEQCOUNT_END = Operation(
    "write_seqcount_end",
    effect=_end,
    wakes=True,
    dep=Dep.RELEASE,
    releases=_ORDER,
    local=True,
    region=True,
    hold=Hold.CHANGES,
)
