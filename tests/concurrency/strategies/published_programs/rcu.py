"""RCU and reader-writer locks."""

from __future__ import annotations

from collections.abc import Callable

from published_programs.base import GENMC, LITMUS, Place, claim, look, places, published
from sugarbush.concurrency import Barrier, RwLock, Spinlock, join, rcu_reader, spawn, synchronize_rcu


def _rcu_sync_read(wait: Callable[[], None]) -> None:
    x, y = places(2)

    def reads() -> None:
        with rcu_reader():
            x.v = 1
            y.v = 1

    def update() -> None:
        one = x.v
        wait()
        two = y.v
        claim(not (one and not two), "no reader spans a grace period")

    spawn(reads)
    spawn(update)


@published(LITMUS + "RCU+sync+read.litmus", 5)
def rcu_sync_read() -> None:
    """A reader writes x and y; the updater looks at x, waits for a grace period, and looks at y: never x without y.

    The reader begins before the grace period: it has ended, and written y, when that ends; 2 ways at x. It begins
    later: x is not seen, and the reader ends before the grace period does, or after it, with 2 ways at y.
    """
    _rcu_sync_read(synchronize_rcu)


@published(
    LITMUS + "RCU+sync+read.litmus without the grace period", 4, broken="no reader spans a grace period"
)
def rcu_sync_read_without_waiting() -> None:
    """Without waiting the updater may come between the reader's two writes: 2 * 2 ways."""
    _rcu_sync_read(lambda: None)


@published(LITMUS + "RCU+sync+free.litmus", 4)
def rcu_sync_free() -> None:
    """The updater replaces what y points to, waits for a grace period, and marks the old one as freed.

    The reader finds the old one or the new one through y, and never one that is marked. It begins before the grace
    period: 2 ways at y. It begins later: it finds the new one, and ends before or after the grace period.
    """
    old, new = places(2, value="in use")
    y = Place(v=old)

    def reads() -> None:
        with rcu_reader():
            found = y.v
            claim(found.v == "in use", "what a reader finds is not freed")

    def update() -> None:
        y.v = new
        synchronize_rcu()
        old.v = "freed"

    spawn(reads)
    spawn(update)


@published(LITMUS + " (the synchronisation of both tests, for n readers)", {(1,): 3, (2,): 9, (3,): 27})
def rcu_readers_and_a_grace_period(n: int) -> None:
    """Each reader begins before the grace period, and ends before its end; or begins later, and ends before or after
    that: 3^n.
    """

    def reads() -> None:
        with rcu_reader():
            pass

    for _ in range(n):
        spawn(reads)
    spawn(synchronize_rcu)


@published(
    GENMC + "data-structures/linuxrwlocks, with a lock that waits",
    {(1, 1): 2, (2, 1): 4, (1, 2): 6, (2, 2): 18},
)
def reader_writer_lock(readers: int, writers: int) -> None:
    """Sections of a rw-lock: writers! orders, and each reader in one of writers + 1 gaps."""
    lock, x = RwLock("l"), Place()

    def reads() -> None:
        with lock.read():
            look(x)

    def writes() -> None:
        with lock.write():
            x.v += 1

    for _ in range(readers):
        spawn(reads)
    for _ in range(writers):
        spawn(writes)


@published(GENMC + "synthetic/barrier1 (a barrier as one primitive)", {(2,): 4, (3,): 36})
def barrier(n: int) -> None:
    """All arrive in any order and leave in any order: (n!)^2."""
    gate = Barrier(n, "gate")
    for _ in range(n):
        spawn(gate.wait)


@published(GENMC + "data-structures/spinlock (test-and-set as one primitive)", {(2,): 2, (3,): 6})
def spinlock(n: int) -> None:
    """Increments under a spinlock: n! orders."""
    lock, x = Spinlock("s"), Place()

    def body() -> None:
        with lock:
            x.v += 1

    join(*[spawn(body) for _ in range(n)])
    claim(x.v == n, "no increment is lost")


@published("sosy-lab/sv-benchmarks e3f389a, c/pthread/bigshot_p.c", 2, broken="the pointer was set")
def big_shot() -> None:
    """A pointer is set by one task and filled by another, which looks whether it is set; both may be late."""
    v = Place(v=None)

    def allocates() -> None:
        v.v = "allocated"

    def fills() -> None:
        if v.v:
            v.v = "filled"

    join(spawn(allocates), spawn(fills))
    claim(v.v == "filled", "the pointer was set")
