"""A lock that is missing shows: as a report, as a data race, or outside executions as an exception."""

from collections.abc import Callable
from typing import Any

import pytest

from sugarbush.concurrency import (
    Failure,
    Kind,
    Mutex,
    RwSemaphore,
    Settings,
    check,
    explore,
    join,
    rcu_barrier,
    rcu_read_lock,
    rcu_read_unlock,
    rcu_reader,
    spawn,
)
from sugarbush.tree import MapleTree, MaState, NoMemory, NotLocked


def with_lock(rcu: bool) -> tuple[RwSemaphore, MapleTree[Any]]:
    lock = RwSemaphore("mmap_lock")
    tree: MapleTree[Any] = MapleTree(True, rcu, lock)
    lock.down_write()
    for key in range(20):
        tree.store_range(10 * key, 10 * key + 5, key)
    lock.up_write()
    return lock, tree


def failure_of(run: Callable[[], object], executions: int = 20, **settings: Any) -> Failure | None:
    failures = explore(run, executions=executions, seed=5, settings=Settings(**settings)).failures
    return failures[0].failure if failures else None


CALLS: list[Callable[[MapleTree[Any]], object]] = [
    lambda tree: tree.store_range(3, 4, "x"),
    lambda tree: tree.erase(30),
    lambda tree: tree.insert(7, "x"),
    lambda tree: tree.destroy(),
    lambda tree: MaState(tree, 3, 4).store_gfp("x"),
    lambda tree: MaState(tree, 3, 4).erase(),
    lambda tree: MaState(tree, 3, 4).preallocate("x"),
    lambda tree: MaState(tree).expected_entries(5),
]


@pytest.mark.parametrize("rcu", [False, True])
@pytest.mark.parametrize("call", CALLS)
def test_a_write_needs_the_external_lock_for_writing(
    call: Callable[[MapleTree[Any]], object], rcu: bool
) -> None:
    def under_no_lock() -> None:
        _, tree = with_lock(rcu)
        call(tree)

    def under_the_read_lock() -> None:
        lock, tree = with_lock(rcu)
        lock.down_read()
        call(tree)

    for run in (under_no_lock, under_the_read_lock):
        failure = failure_of(run, executions=1)
        assert failure is not None
        assert failure.kind is Kind.LOCKDEP
        assert "lockdep_assert_held_write(mmap_lock)" in failure.headline


@pytest.mark.parametrize("rcu", [False, True])
def test_a_write_without_the_lock_raises_outside_executions(rcu: bool) -> None:
    _, tree = with_lock(rcu)
    before = tree.dump()
    for call in CALLS:
        with pytest.raises(NotLocked, match="mmap_lock"):
            call(tree)
    assert tree.dump() == before


def test_a_read_needs_the_lock_or_in_rcu_mode_a_reader() -> None:
    lock, tree = with_lock(False)
    with pytest.raises(NotLocked):
        MaState(tree, 3).find()
    with pytest.raises(NotLocked):
        list(tree)
    with rcu_reader(), pytest.raises(NotLocked):
        MaState(tree, 3).find()
    lock.down_read()
    assert MaState(tree, 3).find() == 0
    lock.up_read()
    with pytest.raises(NotLocked):
        tree.load(3)
    lock, tree = with_lock(True)
    assert (tree.load(3), tree.find(3), tree.next(3), tree.prev(13)) == (0, (0, 6), 1, 0)
    with pytest.raises(NotLocked):
        MaState(tree, 3).find()
    rcu_read_lock()
    assert MaState(tree, 3).find() == 0
    rcu_read_unlock()


def test_a_gap_search_needs_the_lock_itself() -> None:
    _, tree = with_lock(True)
    with rcu_reader(), pytest.raises(NotLocked):
        MaState(tree).empty_area(0, 500, 3)

    def program() -> None:
        _, tree = with_lock(True)
        with rcu_reader():
            MaState(tree).empty_area(0, 500, 3)

    failure = failure_of(program, executions=1)
    assert failure is not None
    assert failure.kind is Kind.LOCKDEP


def test_reading_in_rcu_mode_outside_a_reader_is_reported() -> None:
    def program() -> None:
        _, tree = with_lock(True)
        MaState(tree, 3).find()

    failure = failure_of(program, executions=1)
    assert failure is not None
    assert (failure.kind, failure.headline) == (Kind.RCU, "WARNING: suspicious RCU usage")


def test_without_rcu_mode_a_read_beside_a_write_is_a_data_race() -> None:
    def program() -> None:
        tree: MapleTree[int] = MapleTree()
        tree.store_range(0, 9, 1)
        join(spawn(tree.store, 5, 2), spawn(tree.load, 5))

    failure = failure_of(program)
    assert failure is not None
    assert failure.kind is Kind.DATA_RACE


def test_lock_free_look_ups_are_clean_beside_a_writer_under_mmap_lock() -> None:
    def program() -> None:
        lock, tree = with_lock(True)

        def writer() -> None:
            lock.down_write()
            mas: MaState[Any] = MaState(tree, 33, 72)
            mas.preallocate("x")
            mas.store_prealloc("x")
            lock.up_write()

        def reader() -> None:
            check(tree.load(34) in (3, "x"), "old or new")

        join(spawn(writer), spawn(reader), spawn(reader))
        lock.down_write()
        tree.destroy()
        lock.up_write()
        rcu_barrier()

    assert failure_of(program, executions=200) is None


@pytest.mark.parametrize("rcu", [False, True])
def test_a_failing_allocation_changes_and_loses_nothing(rcu: bool) -> None:
    """Every choice of one allocation that fails, in a store of every kind; the slab cache finds what is lost."""
    failed = []

    def program() -> None:
        lock = Mutex("tree_lock")
        tree: MapleTree[Any] = MapleTree(True, rcu, lock)
        lock.lock()
        for key in range(40):
            try:
                tree.store_range(10 * key, 10 * key + 5, key)
            except NoMemory:
                failed.append(key)
        for first, last, entry in ((52, 233, "wide"), (100, 130, None), (3, 4, "mid"), (0, 2**64 - 1, "all")):
            before = list(tree.shown())
            mas: MaState[Any] = MaState(tree, first, last)
            try:
                mas.preallocate(entry)
            except NoMemory:
                failed.append(first)
                check(list(tree.shown()) == before, "nothing has changed")
            else:
                mas.store_prealloc(entry)
            tree.validate()
        tree.destroy()
        lock.unlock()
        rcu_barrier()

    assert failure_of(program, executions=60, faults=4) is None
    assert failed


def test_two_that_allocate_never_get_the_same_keys() -> None:
    """Also when the lock is dropped for memory between the search and the store."""

    def program() -> None:
        tree: MapleTree[int] = MapleTree(track_gaps=True)
        got: list[int] = []

        def allocate(task: int) -> None:
            for _ in range(3):
                try:
                    got.append(tree.alloc_range(task, 2, 0, 99))
                except NoMemory:
                    pass

        join(spawn(allocate, 1), spawn(allocate, 2))
        check(len(got) == len(set(got)), f"{sorted(got)} are different")
        tree.destroy()

    assert failure_of(program, executions=300, faults=3) is None
