"""Maps that stand for no lock: reclaim, MMU notifiers, RCU readers. Each validator has its own."""

from __future__ import annotations

from typing import Final

from sugarbush.lockdep.model.keys import LockClassKey, LockMap, LockType, WaitType

_FS_RECLAIM: Final = LockClassKey("fs_reclaim")
_NOTIFIER: Final = LockClassKey("mmu_notifier_invalidate_range_start")
_RCU: Final = LockClassKey("rcu_read_lock")
_RCU_BH: Final = LockClassKey("rcu_read_lock_bh")
_RCU_SCHED: Final = LockClassKey("rcu_read_lock_sched")


# Keys are static, so that a class has the same identity in every validator; maps are of one validator each, since a map
# caches what that one knows of it.
class PseudoLocks:
    """The annotation maps of one validator."""

    __slots__ = ("fs_reclaim", "mmu_notifier", "rcu", "rcu_bh", "rcu_sched")

    def __init__(self) -> None:
        self.fs_reclaim = LockMap(_FS_RECLAIM, lock_type=LockType.ANNOTATION)
        self.mmu_notifier = LockMap(_NOTIFIER, lock_type=LockType.ANNOTATION)
        self.rcu = _reader(_RCU, WaitType.CONFIG)
        self.rcu_bh = _reader(_RCU_BH, WaitType.CONFIG)
        self.rcu_sched = _reader(_RCU_SCHED, WaitType.SPIN)


def _reader(key: LockClassKey, inner: WaitType) -> LockMap:
    return LockMap(key, wait_outer=WaitType.FREE, wait_inner=inner, lock_type=LockType.ANNOTATION)
