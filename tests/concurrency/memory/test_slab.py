"""Slab caches: use after free, double free, leaks, reuse under RCU, failing allocations."""

from __future__ import annotations

from typing import Any

import pytest
from concurrency_programs import Cell, clean, first_failure, outcomes

from sugarbush.concurrency import (
    READ_ONCE,
    WRITE_ONCE,
    Kind,
    KmemCache,
    Mutex,
    Once,
    Plain,
    Settings,
    Shared,
    Spinlock,
    Unshared,
    call_rcu,
    check,
    cond_resched,
    explore,
    join,
    rcu_reader,
    smp_load_acquire,
    spawn,
    synchronize_rcu,
)
from sugarbush.lockdep.model.gfp import GFP_ATOMIC, GFP_KERNEL, GFP_NOFAIL


class Node(Shared):
    value: Plain[int] = 0
    label: Unshared[str] = "new"


nodes = KmemCache("maple_node", Node, object_size=256)
TOUCHES = {
    "read": lambda node: node.value,
    "write": lambda node: setattr(node, "value", 1),
    "READ_ONCE": lambda node: READ_ONCE(node, "value"),
    "WRITE_ONCE": lambda node: WRITE_ONCE(node, "value", 1),
    "unshared": lambda node: node.label,
}


def allocated() -> Node:
    node = nodes.alloc(GFP_KERNEL)
    assert node is not None
    return node


def test_alloc_gives_new_objects_and_free_takes_them(run) -> None:
    def program() -> None:
        one, two = allocated(), allocated()
        check(one is not two and one.value == 0, "two fresh objects")
        one.value = 3
        nodes.free(one)
        nodes.free(two)

    assert run(program) is None


def test_what_was_made_without_the_cache_can_be_adopted_and_freed(run) -> None:
    def program(freed: bool) -> None:
        node = Node()
        nodes.adopt(node)
        if freed:
            nodes.free(node)
            node.value = 1

    failure = run(lambda: program(freed=True))
    assert failure is not None
    assert failure.kind is Kind.USE_AFTER_FREE
    failure = run(lambda: program(freed=False))
    assert failure is not None
    assert failure.kind is Kind.LEAK


@pytest.mark.parametrize("touch", TOUCHES)
def test_any_touch_of_a_freed_object_is_a_report_with_places(touch: str, run) -> None:
    def program() -> None:
        node = allocated()
        nodes.free(node)
        TOUCHES[touch](node)

    failure = run(program)
    assert failure is not None
    assert failure.kind is Kind.USE_AFTER_FREE
    field = "label" if touch == "unshared" else "value"
    assert failure.headline.startswith(f"BUG: KASAN: slab-use-after-free in maple_node.{field} by main at ")
    allocation, free = failure.detail.splitlines()
    assert allocation.startswith("allocated by main at memory/test_slab.py:")
    assert free.startswith("freed by main at memory/test_slab.py:")


def test_the_check_for_use_after_free_can_be_switched_off(run) -> None:
    def program() -> None:
        node = allocated()
        node.value = 4
        nodes.free(node)
        check(node.value == 4, "what was there is there")

    assert run(program, Settings(frozenset({"use-after-free"}))) is None


def test_a_reader_that_is_not_waited_for_uses_freed_memory() -> None:
    def program(wait: str) -> None:
        root = Cell()
        root.pointer = allocated()

        def read() -> None:
            with rcu_reader():
                found = root.pointer
                if found is not None:
                    READ_ONCE(found, "value")

        reader = spawn(read)
        with rcu_reader():
            old = root.pointer
        root.pointer = None
        if wait == "synchronize":
            synchronize_rcu()
        if wait == "call":
            call_rcu(nodes.free, old)
        else:
            nodes.free(old)
        join(reader)

    assert first_failure(lambda: program("no")).kind is Kind.USE_AFTER_FREE
    clean(lambda: program("synchronize"))
    clean(lambda: program("call"))


def test_double_free_is_a_report_with_places(run) -> None:
    def program() -> None:
        node = allocated()
        nodes.free(node)
        nodes.free(node)

    failure = run(program)
    assert failure is not None
    assert failure.kind is Kind.DOUBLE_FREE
    assert failure.headline.startswith(
        "BUG: KASAN: double-free of maple_node by main at memory/test_slab.py:"
    )
    assert failure.detail.startswith("allocated by main at memory/test_slab.py:")
    assert run(program, Settings(frozenset({"double-free"}))) is None


def test_two_tasks_that_free_the_same_object() -> None:
    def program() -> None:
        node = allocated()
        join(spawn(nodes.free, node), spawn(nodes.free, node))

    assert first_failure(program, executions=3).kind is Kind.DOUBLE_FREE


def test_freeing_what_no_cache_gave_is_a_report(run) -> None:
    failure = run(lambda: nodes.free(Node()))
    assert failure is not None
    assert failure.detail == "it was never allocated from a cache in this execution"


def test_what_is_alive_at_the_end_is_a_leak(run) -> None:
    def program() -> None:
        allocated()
        nodes.free(allocated())
        allocated()

    failure = run(program)
    assert failure is not None
    assert failure.kind is Kind.LEAK
    assert failure.headline == "leak: 2 of maple_node never freed"
    assert len(failure.detail.splitlines()) == 2
    assert failure.detail.startswith("maple_node allocated by main at memory/test_slab.py:")
    assert run(program, Settings(frozenset({"leak"}))) is None


def test_memory_that_is_type_safe_by_rcu_is_reused_at_once(run) -> None:
    cache = KmemCache("anon_vma", Node, typesafe_by_rcu=True)

    def program() -> None:
        one = cache.alloc(GFP_KERNEL)
        assert one is not None
        one.value = 5
        cache.free(one)
        check(one.value == 5, "no poison: a reader may still look")
        two = cache.alloc(GFP_KERNEL)
        assert two is not None
        check(two is one and two.value == 0, "the same memory, made anew")
        cache.free(two)

    assert run(program) is None


def test_type_safe_double_free_says_so(run) -> None:
    cache = KmemCache("anon_vma", Node, typesafe_by_rcu=True)

    def program() -> None:
        one = cache.alloc(GFP_KERNEL)
        assert one is not None
        cache.free(one)
        cache.free(one)

    failure = run(program)
    assert failure is not None
    assert failure.detail == "it is free already"


def test_owners_of_reused_memory_do_not_race() -> None:
    """The allocator orders what the last owner did before what the next one does."""
    cache = KmemCache("anon_vma", Node, typesafe_by_rcu=True)

    def program() -> None:
        def own() -> None:
            node = cache.alloc(GFP_KERNEL)
            assert node is not None
            node.value += 1
            cache.free(node)

        join(spawn(own), spawn(own), spawn(own))

    clean(program)


def test_allocations_fail_by_choice_and_only_so_often() -> None:
    def program(log: list[Any]) -> None:
        for _ in range(3):
            node = nodes.alloc(GFP_KERNEL)
            log.append(node is not None)
            if node is not None:
                nodes.free(node)

    every = {(a, b, c) for a in (True, False) for b in (True, False) for c in (True, False)}
    for faults in range(4):
        allowed = {outcome for outcome in every if outcome.count(False) <= faults}
        assert outcomes(program, faults=faults) == allowed


def test_gfp_nofail_never_fails() -> None:
    def program(log: list[Any]) -> None:
        node = nodes.alloc(GFP_KERNEL | GFP_NOFAIL)
        log.append(node is not None)
        assert node is not None
        nodes.free(node)

    assert outcomes(program, faults=3) == {(True,)}


def test_a_failing_allocation_is_found_and_replays() -> None:
    def program() -> None:
        node = nodes.alloc(GFP_KERNEL)
        check(node is not None, "there is always memory")
        nodes.free(node)

    failure = first_failure(program, Settings(faults=1))
    assert failure.headline == "check failed: there is always memory"
    clean(program)


def test_bulk_gives_all_or_nothing() -> None:
    def program(log: list[Any]) -> None:
        got = nodes.alloc_bulk(GFP_KERNEL, 3)
        log.append(len(got))
        for node in got:
            nodes.free(node)

    assert outcomes(program) == {(3,)}
    assert outcomes(program, faults=1) == {(0,), (3,)}
    clean(lambda: program([]), Settings(faults=2))


def test_sleeping_allocation_in_atomic_context_is_a_report(run) -> None:
    def program(gfp: int) -> None:
        with Spinlock("s"):
            node = nodes.alloc(gfp)
        assert node is not None
        nodes.free(node)

    assert run(lambda: program(GFP_ATOMIC)) is None
    assert run(lambda: program(GFP_KERNEL)).headline.startswith("BUG: sleeping function called from invalid")


def test_outside_a_program_caches_give_plain_objects() -> None:
    node = nodes.alloc(GFP_KERNEL)
    assert node is not None
    nodes.free(node)
    assert node.value == 0


def test_a_class_made_inside_the_program_can_be_poisoned_too(run) -> None:
    def program() -> None:
        class Local(Shared):
            value: Plain[int] = 0

        cache = KmemCache("local", Local)
        one = cache.alloc(GFP_KERNEL)
        cache.free(one)
        one.value  # noqa: B018

    assert run(program).headline.startswith("BUG: KASAN: slab-use-after-free in local.value")


def test_a_lock_inside_freed_memory_is_seen() -> None:
    class Folio(Shared):
        mutex: Unshared[Mutex]

        def __init__(self) -> None:
            super().__init__(mutex=Mutex("folio"))

    cache = KmemCache("folio", Folio)

    def program() -> None:
        folio = cache.alloc(GFP_KERNEL)
        assert folio is not None
        cache.free(folio)
        with folio.mutex:
            pass

    assert first_failure(program).headline.startswith("BUG: KASAN: slab-use-after-free in folio.mutex")


class Computed(Shared):
    """Its name is computed from a field, as that of a VMA is."""

    start: Once[int] = 0

    @property
    def name(self) -> str:
        return f"from {self.start}"


@pytest.mark.parametrize("how", ["read", "write", "acquire"])
def test_a_report_never_asks_a_freed_object_for_its_name(how: str) -> None:
    def program() -> None:
        cache = KmemCache("computed", Computed)
        obj = cache.alloc(GFP_KERNEL)

        def use() -> None:
            if how == "write":
                WRITE_ONCE(obj, "start", 1)
            else:
                (READ_ONCE if how == "read" else smp_load_acquire)(obj, "start")

        spawn(use)
        cache.free(obj)

    witness = explore(program, strategy="dfs").failures[0]
    assert witness.failure.headline.startswith("BUG: KASAN: slab-use-after-free in computed.start by use")
    assert witness.events[-1].on == "Computed.start"


def test_a_deadlock_over_a_freed_lock_blames_nobody_for_looking_at_it() -> None:
    def program() -> None:
        cache = KmemCache("lock", lambda: Mutex("freed"))
        lock, other = cache.alloc(GFP_KERNEL), Mutex("other")
        lock.lock()
        other.lock()
        spawn(lock.lock, name="ann")
        cond_resched()
        cache.free(lock)
        spawn(other.lock, name="bob")

    settings = Settings(without=frozenset({"lockdep"}))
    result = explore(program, strategy="dfs", settings=settings, keep_going=True, executions=50)
    told = "\n".join(one.failure.detail for one in result.failures)
    assert "ann waits in mutex_lock(freed), which was freed" in told
    assert not any("by bob" in one.failure.headline for one in result.failures)
