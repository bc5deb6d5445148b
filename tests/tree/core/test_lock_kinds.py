"""The irq and bh forms of the tree's own lock: the flags word, and no report with all checks on."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from sugarbush.concurrency import (
    Failure,
    Mutex,
    Settings,
    check,
    explore,
    hardirq,
    irqs_disabled,
    join,
    might_sleep,
    softirq,
    spawn,
)
from sugarbush.lockdep.model.gfp import GFP_NOWAIT
from sugarbush.tree import LockKind, MapleTree, NoMemory, TwoLocks

KINDS = list(LockKind)
Tree = MapleTree[Any]


def failure_of(program: Callable[[], None], runtime: str = "simulated", faults: int = 0) -> Failure | None:
    settings = Settings(faults=faults)
    found = explore(program, runtime=runtime, strategy="random", executions=15, seed=3, settings=settings)
    return found.failures[0].failure if found.failures else None


@pytest.mark.parametrize(("kind", "bits"), [("PLAIN", 0), ("IRQ", 0x100), ("BH", 0x200)])
def test_the_flags_word(kind: str, bits: int) -> None:
    tree: Tree = MapleTree(True, True, lock_kind=LockKind[kind])
    assert tree.flags == 0x03 | bits
    tree.store(5, "x")
    assert tree.flags == 0x07 | bits
    assert not tree.external


def test_a_tree_that_is_given_a_lock_has_no_kind() -> None:
    with pytest.raises(TwoLocks, match="lock_kind"):
        MapleTree(lock=Mutex("m"), lock_kind=LockKind.IRQ)
    assert MapleTree(lock=Mutex("m")).flags == 0x300


def writers_and_a_reader(kind: LockKind) -> None:
    """In RCU mode, with gaps."""
    tree: Tree = MapleTree(True, True, lock_kind=kind)

    def write(first: int) -> None:
        for key in range(first, first + 8):
            tree.store_range(10 * key, 10 * key + 5, key)
        tree.erase(10 * first)
        check(not irqs_disabled(), "on between the calls")
        might_sleep()

    def read() -> None:
        for key in range(16):
            check(tree.load(10 * key) in (None, key), "old or new")

    join(spawn(write, 0), spawn(write, 8), spawn(read))
    tree.alloc_range("low", 3)
    tree.insert(5000, "x")
    tree.validate()
    tree.destroy()


def one_task(kind: LockKind) -> None:
    """Outside RCU mode."""
    tree: Tree = MapleTree(True, lock_kind=kind)
    for key in range(40):
        tree.store(3 * key, key)
    check(tree.find(100)[0] == 34, "found")
    tree.set_in_rcu()
    tree.clear_in_rcu()
    tree.destroy()


@pytest.mark.parametrize("runtime", ["simulated", "threaded"])
@pytest.mark.parametrize("program", [writers_and_a_reader, one_task])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_stores_and_loads_are_clean(
    kind: LockKind, program: Callable[[LockKind], None], runtime: str
) -> None:
    assert failure_of(lambda: program(kind), runtime) is None


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_the_lock_is_dropped_in_its_own_form_for_an_allocation_that_sleeps(kind: LockKind) -> None:
    dropped = 0

    class Watched(Tree):
        def drop_lock(self) -> None:
            nonlocal dropped
            super().drop_lock()
            might_sleep()
            dropped += 1

    def program() -> None:
        tree = Watched(lock_kind=kind)
        for key in range(20):
            with suppress(NoMemory):
                tree.store(3 * key, key)
        might_sleep()
        tree.destroy()

    assert failure_of(program, faults=1) is None
    assert dropped


HANDLERS = {LockKind.PLAIN: hardirq, LockKind.IRQ: hardirq, LockKind.BH: softirq}


@pytest.mark.parametrize("runtime", ["simulated", "threaded"])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_handler_may_lock_the_tree_only_if_the_kind_says_so(kind: LockKind, runtime: str) -> None:
    def program() -> None:
        tree: Tree = MapleTree(lock_kind=kind)

        def handle() -> None:
            with HANDLERS[kind](), tree._own_lock:
                pass

        join(spawn(tree.store, 3, "x"), spawn(handle))
        tree.destroy()

    failure = failure_of(program, runtime)
    if kind is LockKind.PLAIN:
        assert failure is not None
        assert failure.headline == "WARNING: inconsistent lock state"
    else:
        assert failure is None


@pytest.mark.parametrize("into", KINDS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_copy_holds_both_locks(kind: LockKind, into: LockKind) -> None:
    def program() -> None:
        tree: Tree = MapleTree(lock_kind=kind)
        copy: Tree = MapleTree(lock_kind=into)
        for key in range(20):
            tree.store(2 * key, key)
        tree.dup(copy, GFP_NOWAIT)
        check(copy.load(8) == 4, "copied")
        check(not irqs_disabled(), "on again")
        might_sleep()
        tree.destroy()
        copy.destroy()

    assert failure_of(program) is None
