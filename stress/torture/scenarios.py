"""The scenarios of torture: ``sugarbush run rcutorture`` and ``sugarbush run locktorture``."""

from __future__ import annotations

from sugarbush.stress.kit import scenario
from sugarbush.stress.torture import locktorture as locks
from sugarbush.stress.torture import rcutorture as rcu
from sugarbush.stress.torture.ledger import closing


@scenario("rcutorture", era="6.6", observers=tuple, closing=closing)
def rcutorture(
    torture_type: str = "rcu",
    readers: int = 2,
    fakewriters: int = 1,
    updates: int = 6,
    reads: int = 3,
    barrier: int = 2,
    stall: int = 0,
) -> None:
    """Torture RCU: readers, a writer, fake writers, barriers, polling (--torture-type rcu, srcu, tasks, busted...)."""
    rcu.torture(torture_type, readers, fakewriters, updates, reads, barrier, stall)


@scenario("locktorture", era="6.6", observers=tuple, closing=closing)
def locktorture(lock: str = "spin_lock", writers: int = 2, readers: int = 2, times: int = 3) -> None:
    """Torture a lock (--lock spin_lock, spin_lock_irq, spin_lock_bh, mutex, rwsem, rwlock, semaphore, seqlock...)."""
    locks.torture(lock, writers, readers, times)
