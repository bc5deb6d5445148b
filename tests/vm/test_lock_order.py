"""The model's lock order is the kernel's, as the lock validator keeps it whole."""

from lockdep.lockorder import MM_LOCK_ORDER
from vm.lock_order import LOCK_ORDER


def test_the_locks_that_both_name_stand_in_the_same_order() -> None:
    shared = [[name for name in stack if name in LOCK_ORDER] for stack in MM_LOCK_ORDER]
    assert sum(len(stack) for stack in shared) >= 4
    for stack in shared:
        assert stack == sorted(stack, key=LOCK_ORDER.index)
