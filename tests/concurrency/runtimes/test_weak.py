"""Weak memory as a program sees it: what each barrier forbids, what is left open, and what the search says of both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakSet

import pytest

from sugarbush.concurrency import (
    READ_ONCE,
    WRITE_ONCE,
    Atomic,
    Completion,
    ConcurrencyError,
    Flag,
    Kind,
    KmemCache,
    Mutex,
    Once,
    Plain,
    RcuPtr,
    Semaphore,
    Settings,
    Shared,
    Verdict,
    atomic_add_return,
    atomic_inc,
    check,
    cmpxchg,
    explore,
    join,
    rcu_assign_pointer,
    rcu_reader,
    replay,
    smp_load_acquire,
    smp_mb,
    smp_rmb,
    smp_store_release,
    smp_wmb,
    spawn,
    xchg,
)
from sugarbush.concurrency.core.operation import Operation
from sugarbush.concurrency.lowlevel import Access, Order, active, peek, perform, poke
from sugarbush.concurrency.runtimes.weak.prune import _views
from sugarbush.concurrency.search.exploring import make_strategy
from sugarbush.lockdep.model.gfp import GFP_KERNEL

WEAK = Settings(memory="weak")
SC = Settings()


class Cell(Shared):
    x: Once[int] = 0
    y: Once[int] = 0
    z: Once[int] = 0
    n: Atomic[int] = 0
    plain: Plain[int] = 0
    pointer: Once[Any] = None
    head: RcuPtr[Any] = None


Body = Callable[[Cell], Any]


def outcomes(
    *bodies: Body, settings: Settings = WEAK, strategy: str = "dpor", at_the_end: Body | None = None
) -> set[Any]:
    """What the bodies return, in all executions; and what `at_the_end` gives once all have ended."""
    found = set()

    def program() -> None:
        cell = Cell()
        results = join(*[spawn(body, cell) for body in bodies])
        if at_the_end is not None:
            results.append(at_the_end(cell))
        found.add(tuple(results))

    result = explore(program, strategy=strategy, settings=settings)
    assert result.verdict is (Verdict.PASSED if len(bodies) > 1 else Verdict.UNEXPLORED), result.failures
    return found


def nothing() -> None:
    pass


def store_then_load(first: str, second: str, barrier: Callable[[], None] = nothing) -> Body:
    def body(cell: Cell) -> int:
        WRITE_ONCE(cell, first, 1)
        barrier()
        return int(READ_ONCE(cell, second))

    return body


def two_stores(first: str, second: str, barrier: Callable[[], None] = nothing, value: int = 1) -> Body:
    def body(cell: Cell) -> None:
        WRITE_ONCE(cell, first, value)
        barrier()
        WRITE_ONCE(cell, second, value)

    return body


def two_loads(first: str, second: str, barrier: Callable[[], None] = nothing) -> Body:
    def body(cell: Cell) -> tuple[int, int]:
        one = READ_ONCE(cell, first)
        barrier()
        return one, READ_ONCE(cell, second)

    return body


@pytest.mark.parametrize("strategy", ["dfs", "dpor"])
def test_store_buffering_needs_full_barriers_on_both_sides(strategy: str) -> None:
    def left_and_right(*barriers: Callable[[], None]) -> set[Any]:
        bodies = (store_then_load("x", "y", barriers[0]), store_then_load("y", "x", barriers[1]))
        return outcomes(*bodies, strategy=strategy)

    assert (0, 0) in left_and_right(nothing, nothing)
    assert (0, 0) in left_and_right(smp_mb, nothing)
    assert (0, 0) in left_and_right(smp_wmb, smp_rmb)
    assert left_and_right(smp_mb, smp_mb) == {(0, 1), (1, 0), (1, 1)}


def test_message_passing_needs_a_barrier_on_each_side() -> None:
    def stale(write: Callable[[], None], read: Callable[[], None]) -> bool:
        return (None, (1, 0)) in outcomes(two_stores("x", "y", write), two_loads("y", "x", read))

    assert stale(nothing, nothing)
    assert stale(smp_wmb, nothing)
    assert stale(nothing, smp_rmb)
    assert stale(smp_rmb, smp_wmb)
    assert not stale(smp_wmb, smp_rmb)
    assert not stale(smp_mb, smp_mb)


def test_release_and_acquire_pass_a_message() -> None:
    def sender(cell: Cell) -> None:
        cell.x = 1
        smp_store_release(cell, "y", 1)

    def receiver(cell: Cell) -> tuple[int, int]:
        return smp_load_acquire(cell, "y"), cell.x

    assert outcomes(sender, receiver) == {(None, (0, 0)), (None, (0, 1)), (None, (1, 1))}
    assert (None, (1, 0)) in outcomes(sender, two_loads("y", "x"))
    assert (None, (1, 0)) in outcomes(two_stores("x", "y"), receiver)


@pytest.mark.parametrize("strategy", ["dfs", "dpor"])
def test_reads_of_one_place_never_go_back(strategy: str) -> None:
    def twice(cell: Cell) -> tuple[int, int]:
        return cell.x, cell.x

    def writer(cell: Cell) -> None:
        cell.x = 1
        cell.x = 2

    seen = {pair for _, pair in outcomes(writer, twice, strategy=strategy)}
    assert seen == {(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)}


def test_two_tasks_agree_on_the_order_of_writes() -> None:
    def write(value: int) -> Body:
        return lambda cell: WRITE_ONCE(cell, "x", value)

    seen = outcomes(write(1), write(2), two_loads("x", "x"), two_loads("x", "x"))
    assert (None, None, (1, 2), (1, 2)) in seen
    assert (None, None, (1, 2), (2, 1)) not in seen


def test_a_task_reads_what_it_wrote() -> None:
    def body(cell: Cell) -> int:
        cell.x = 7
        return cell.x

    assert outcomes(body) == {(7,)}


def test_writes_that_cross_need_full_barriers() -> None:
    def crossed(barrier: Callable[[], None]) -> set[Any]:
        left, right = two_stores("x", "y", barrier, 1), two_stores("y", "x", barrier, 2)
        return {found[-1] for found in outcomes(left, right, at_the_end=lambda cell: (cell.x, cell.y))}

    assert crossed(smp_wmb) == {(1, 1), (1, 2), (2, 1), (2, 2)}
    assert crossed(smp_mb) == {(1, 1), (2, 2), (2, 1)}


@pytest.mark.parametrize(("barrier", "agree"), [(nothing, False), (smp_rmb, False), (smp_mb, True)])
def test_two_readers_may_see_two_writes_in_different_orders(barrier: Callable[[], None], agree: bool) -> None:
    def write(name: str) -> Body:
        return lambda cell: WRITE_ONCE(cell, name, 1)

    seen = outcomes(write("x"), write("y"), two_loads("x", "y", barrier), two_loads("y", "x", barrier))
    assert ((None, None, (1, 0), (1, 0)) not in seen) == agree


@pytest.mark.parametrize("order", list(Order))
def test_no_increment_is_lost_whatever_its_order(order: Order) -> None:
    def body(cell: Cell) -> int:
        return atomic_add_return(cell, "n", 1, order)

    seen = outcomes(body, body, at_the_end=lambda cell: cell.n)
    assert seen == {(1, 2, 2), (2, 1, 2)}


def test_a_relaxed_increment_orders_nothing_and_a_full_one_everything() -> None:
    def relaxed(cell: Cell) -> int:
        cell.x = 1
        atomic_inc(cell, "n")
        return cell.y

    def full(cell: Cell) -> int:
        cell.y = 1
        atomic_add_return(cell, "n", 1)
        return cell.x

    def fuller(cell: Cell) -> int:
        cell.x = 1
        xchg(cell, "z", 1)
        return cell.y

    assert (0, 0) in outcomes(relaxed, full)
    assert (0, 0) not in outcomes(fuller, full)


def test_one_of_two_exchanges_succeeds() -> None:
    def body(cell: Cell) -> bool:
        return cmpxchg(cell, "n", 0, 1, Order.RELAXED) == 0

    assert outcomes(body, body) == {(True, False), (False, True)}


def test_a_failed_exchange_may_see_an_old_value_but_never_succeeds_on_it() -> None:
    def writer(cell: Cell) -> None:
        WRITE_ONCE(cell, "n", 5)

    def exchange(cell: Cell) -> int:
        return cmpxchg(cell, "n", 7, 8, Order.RELAXED)

    assert outcomes(writer, exchange, at_the_end=lambda cell: cell.n) == {(None, 0, 5), (None, 5, 5)}


def test_a_mutex_orders_all_that_is_done_under_it() -> None:
    def program() -> None:
        cell, mutex = Cell(), Mutex("m")

        def body() -> None:
            with mutex:
                cell.plain += 1

        join(spawn(body), spawn(body), spawn(body))
        check(cell.plain == 3, "three increments")

    assert explore(program, strategy="dpor", settings=WEAK).verdict is Verdict.PASSED


OWN: dict[str, Callable[[], tuple[Callable[[], Any], Callable[[], Any]]]] = {
    "completion": lambda: ((done := Completion("c")).complete, done.wait),
    "semaphore": lambda: ((count := Semaphore(0, "s")).up, count.down),
    "flag": lambda: ((flag := Flag("f")).set, flag.wait),
}


@pytest.mark.parametrize("kind", OWN)
def test_to_take_what_one_has_given_oneself_orders_reads_and_writes(kind: str) -> None:
    """Whether something else was read in between or not: a read more must not make less possible."""

    def reads(cell: Cell) -> tuple[int, int]:
        give, take = OWN[kind]()
        y = cell.y
        give()
        take()
        return y, cell.x

    def writes(cell: Cell) -> None:
        give, take = OWN[kind]()
        cell.x = 1
        give()
        take()
        cell.y = 1

    def behind_a_barrier(cell: Cell) -> None:
        cell.x = 1
        smp_wmb()
        cell.y = 1

    assert {read for _, read in outcomes(behind_a_barrier, reads)} == {(0, 0), (0, 1), (1, 1)}
    assert {read for _, read in outcomes(writes, two_loads("y", "x", smp_rmb))} == {(0, 0), (0, 1), (1, 1)}


def test_a_third_task_sees_critical_sections_in_order() -> None:
    def seen_by_a_third(locked: bool) -> bool:
        mutexes: list[Mutex] = []

        def under(work: Callable[[Cell], Any]) -> Body:
            def body(cell: Cell) -> Any:
                if not mutexes or not locked:
                    return work(cell)
                with mutexes[0]:
                    return work(cell)

            return body

        found = set()

        def program() -> None:
            mutexes[:] = [Mutex("m")]
            cell = Cell()
            first = under(lambda cell: WRITE_ONCE(cell, "x", 1))
            second = under(lambda cell: (cell.x, WRITE_ONCE(cell, "y", 1))[0])
            _, saw, loads = join(*[spawn(one, cell) for one in (first, second, two_loads("y", "x", smp_rmb))])
            found.add((saw, loads))

        assert explore(program, strategy="dpor", settings=WEAK).verdict is Verdict.PASSED
        return (1, (1, 0)) in found

    assert seen_by_a_third(False)
    assert not seen_by_a_third(True)


def test_a_child_and_whoever_joins_know_everything() -> None:
    def program() -> None:
        cell = Cell()
        cell.x = 1

        def child() -> None:
            check(cell.x == 1, "the child knows what its parent did")
            cell.y = 1

        join(spawn(child))
        check(cell.y == 1, "whoever joins knows what the task did")

    assert explore(program, strategy="dpor", settings=WEAK).verdict is Verdict.PASSED


def published(publish: str, follow: str) -> Callable[[], None]:
    """A task makes an object and publishes it; another one follows the pointer."""

    def program() -> None:
        cell = Cell()

        def writer() -> None:
            new = Cell(x=1)
            if publish == "rcu":
                rcu_assign_pointer(cell, "head", new)
            elif publish == "release":
                smp_store_release(cell, "pointer", new)
            else:
                if publish == "wmb":
                    smp_wmb()
                cell.pointer = new

        def reader() -> None:
            with rcu_reader():
                found = cell.head if follow == "rcu" else READ_ONCE(cell, "pointer")
                if found is not None:
                    check(found.x == 1, "it is initialised")

        join(spawn(writer), spawn(reader))

    return program


@pytest.mark.parametrize("publish", ["once", "wmb", "release", "rcu"])
def test_publish_before_initialise_is_found_under_weak_memory_only(publish: str) -> None:
    program = published(publish, "rcu" if publish == "rcu" else "once")
    assert explore(program, strategy="dpor", settings=SC).verdict is Verdict.PASSED
    result = explore(program, strategy="dpor", settings=WEAK)
    if publish != "once":
        assert result.verdict is Verdict.PASSED
        return
    failure = result.failures[0].failure
    assert failure.kind is Kind.UNINIT
    assert failure.headline == "BUG: KMSAN: uninit-value in Cell.x: read by reader"
    assert "test_weak.py" in failure.detail
    without = Settings(memory="weak", without=frozenset({"uninit"}))
    assert explore(program, strategy="dpor", settings=without).verdict is Verdict.PASSED


def test_an_object_of_a_slab_cache_is_uninitialised_too() -> None:
    class Node:
        value = 0

    look = Operation("look", local=True, access=Access.READ_ONCE)
    cache: KmemCache[Node] = KmemCache("node", Node)

    def program() -> None:
        cell = Cell()

        def writer() -> None:
            cell.pointer = cache.alloc(GFP_KERNEL)

        def reader() -> None:
            node = READ_ONCE(cell, "pointer")
            if node is not None:
                assert active.runtime is not None
                active.runtime.step(look, node)

        join(spawn(writer), spawn(reader))
        cache.free(cell.pointer)

    assert explore(program, strategy="dpor").verdict is Verdict.PASSED
    assert explore(program, strategy="dpor", settings=WEAK).failures[0].failure.kind is Kind.UNINIT


def test_what_an_effect_sets_is_seen_by_all_at_once() -> None:
    swap = Operation("swap", effect=lambda cell, _task, value: poke(cell, "x", value))
    look = Operation("look", effect=lambda cell, _task, _arg: peek(cell, "x"))

    def writer(cell: Cell) -> None:
        perform(swap, cell, 1)
        perform(swap, cell, 2)

    def reader(cell: Cell) -> tuple[int, int]:
        first = perform(look, cell)
        return first, cell.x

    assert {pair for _, pair in outcomes(writer, reader)} == {
        (one, two) for one in range(3) for two in range(one, 3)
    }


def test_fences_order_plain_accesses_for_the_race_detector() -> None:
    def race(settings: Settings, write: Callable[[], None], read: Callable[[], None]) -> bool:
        def program() -> None:
            cell = Cell()

            def writer() -> None:
                cell.plain = 1
                write()
                cell.y = 1

            def reader() -> None:
                if cell.y:
                    read()
                    check(cell.plain == 1, "it is there")

            join(spawn(writer), spawn(reader))

        result = explore(program, strategy="dpor", settings=settings)
        kinds = {witness.failure.kind for witness in result.failures}
        assert kinds <= {Kind.DATA_RACE}
        return bool(kinds)

    for settings in (SC, WEAK):
        assert not race(settings, smp_wmb, smp_rmb)
        assert not race(settings, smp_mb, smp_mb)
        assert race(settings, nothing, smp_rmb)
        assert race(settings, smp_wmb, nothing)


def test_an_acquire_that_reads_an_old_release_knows_what_that_one_knew() -> None:
    def program() -> None:
        cell = Cell()

        def writer() -> None:
            cell.plain = 1
            smp_store_release(cell, "y", 1)
            cell.y = 2

        def reader() -> None:
            if smp_load_acquire(cell, "y") == 1:
                check(cell.plain == 1, "what was released is there")

        join(spawn(writer), spawn(reader))

    assert explore(program, strategy="dpor", settings=WEAK).verdict is Verdict.PASSED
    assert explore(program, strategy="dfs", settings=WEAK).verdict is Verdict.PASSED


@pytest.mark.parametrize("strategy", ["random", "pct", "pos", "surw", "dfs", "dpor"])
def test_every_strategy_finds_the_missing_barrier_and_its_schedule_replays(strategy: str) -> None:
    def program() -> None:
        cell = Cell()
        left = spawn(store_then_load("x", "y"), cell)
        right = spawn(store_then_load("y", "x"), cell)
        check(join(left, right) != [0, 0], "somebody comes second")

    assert explore(program, strategy="dpor", settings=SC).verdict is Verdict.PASSED
    result = explore(program, strategy=strategy, settings=WEAK)
    assert result.verdict is Verdict.FAILED
    witness = result.failures[0]
    assert (
        replay(program, str(witness.schedule), settings=WEAK).failure.signature == witness.failure.signature
    )


def test_sc_and_weak_explorations_take_turns() -> None:
    class Later(Shared):
        x: Once[int] = 0

    for _ in range(2):
        assert (0, 0) in outcomes(store_then_load("x", "y"), store_then_load("y", "x"))
        assert (0, 0) not in outcomes(
            store_then_load("x", "y"), store_then_load("y", "x"), settings=SC, strategy="dfs"
        )
        assert Later(x=3).x == 3


def test_bad_settings_are_refused() -> None:
    with pytest.raises(ConcurrencyError, match="no memory model is called 'tso': there are sc, weak"):
        Settings(memory="tso")
    with pytest.raises(ConcurrencyError, match="the threaded runtime has the memory of the machine"):
        explore(nothing, runtime="threaded", settings=WEAK)


def test_memory_is_flat_in_the_number_of_steps() -> None:
    def kept(rounds: int) -> tuple[int, int]:
        made: WeakSet[Cell] = WeakSet()

        def program() -> None:
            cell = Cell()

            def writer() -> None:
                for number in range(rounds):
                    cell.x = number
                    new = Cell(x=number)
                    made.add(new)
                    smp_store_release(cell, "head", new)

            def reader() -> None:
                for _ in range(rounds):
                    found = smp_load_acquire(cell, "head")
                    assert found is None or found.x >= 0

            join(spawn(writer), spawn(reader))

        runtime = WEAK.runtime(make_strategy("random", 1))
        assert runtime.run(program).failure is None
        views = _views(runtime.memory)  # type: ignore[attr-defined]
        return sum(len(view) for view in views), len(made)

    entries, objects = kept(8000)
    assert entries < 2 * kept(1000)[0]
    assert objects < 100
