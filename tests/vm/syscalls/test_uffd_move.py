"""UFFDIO_MOVE: what moves and what does not, and beside it everything else that may happen to a page."""

from __future__ import annotations

import pytest
from vm_world import assert_clean, assert_invariants, run_alone

from sugarbush.concurrency import check, join, spawn
from sugarbush.concurrency.lowlevel import quiet
from sugarbush.stress.workloads.moves import ROOM, heap_and_room, move, room
from sugarbush.stress.workloads.pages import compact_page, migrate_huge, page
from sugarbush.vm.access.gup import pin_user_page, unpin_user_page
from sugarbush.vm.access.user import user_load, user_store
from sugarbush.vm.faults.uffd import userfaultfd_register, userfaultfd_unregister, userfaultfd_writeprotect
from sugarbush.vm.frames.zero_page import is_huge_zero_pmd
from sugarbush.vm.huge.huge_zero import shrink_huge_zero_page_scan
from sugarbush.vm.objects.errno import EBUSY, EEXIST, EINVAL, ENOENT
from sugarbush.vm.objects.layout import PAGE_SIZE
from sugarbush.vm.objects.pgtable_types import PTE_DIRTY, PTE_UFFD_WP, PTE_WRITE, Present
from sugarbush.vm.reclaim.migrate import compact_zone
from sugarbush.vm.reclaim.swapping_off import swapoff
from sugarbush.vm.reclaim.vmscan import kswapd
from sugarbush.vm.syscalls.madvise import sys_madvise
from sugarbush.vm.syscalls.mman import MADV_DONTNEED, PROT_READ
from sugarbush.vm.syscalls.mprotect import sys_mprotect
from sugarbush.vm.syscalls.uffd_move import UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES, userfaultfd_move


@pytest.mark.parametrize("how", ["present", "swapped out", "cached", "huge", "huge, in part"])
def test_what_was_there_is_at_the_new_place_and_nowhere_else(how: str) -> None:
    def program() -> None:
        huge = how.startswith("huge")
        machine, process, ctx = heap_and_room(2, slots=4, huge=huge)
        if how in ("swapped out", "cached"):
            kswapd(machine.memory, 2)
        if how == "cached":
            process.load(page(0))
            kswapd(machine.memory, 1)
        count = 1 if how == "huge, in part" else 2
        check(move(process, ctx, page(0), room(0), count) == count * PAGE_SIZE, "all of it")
        assert_invariants(machine)
        with quiet():
            whole = isinstance(process.mm.pmds[ROOM // process.mm.pmd_size], Present)
        check(whole == (how == "huge"), "a huge page stays one if it fits")
        for number in range(2):
            at = room(number) if number < count else page(number)
            check(process.load(at) == f"cc1:{number}", "its content")
            process.store(at, "new")
        check(process.load(page(0)) == 0, "the old place is fresh")
        compact_zone(machine.memory)
        kswapd(machine.memory, 2)
        for address in sorted(process.written):
            process.load(address)
        process.exit(machine)

    assert_clean(run_alone(program, executions=3))


@pytest.mark.parametrize("huge", [False, True])
def test_what_was_only_read_moves_as_the_zero_page(huge: bool) -> None:
    def program() -> None:
        machine, process, ctx = heap_and_room(2, slots=4, huge=huge)
        sys_madvise(process.mm, page(0), 2 * PAGE_SIZE, MADV_DONTNEED)
        process.written.clear()
        for number in range(2):
            check(process.load(page(number)) == 0, "a fresh page")
        check(move(process, ctx, page(0), room(0), 2) == 2 * PAGE_SIZE, "all of it")
        assert_invariants(machine)
        with quiet():
            check(
                is_huge_zero_pmd(machine.memory, process.mm.pmds[ROOM // process.mm.pmd_size]) == huge,
                "as it was",
            )
        for number in range(2):
            check(process.load(room(number)) == 0, "its content")
            process.store(room(number), "new")
            check(process.load(room(number)) == "new", "what is stored is its own")
        process.exit(machine)
        shrink_huge_zero_page_scan(machine.memory)

    assert_clean(run_alone(program, executions=3))


def test_a_moved_page_is_writable_and_counts_as_dirty() -> None:
    def program() -> None:
        machine, process, ctx = heap_and_room(1)
        move(process, ctx, page(0), room(0))
        with quiet():
            table = process.mm.pmds[ROOM // process.mm.pmd_size]
        pte = table.entries[table.index(ROOM)]  # type: ignore[union-attr]
        check(
            isinstance(pte, Present) and pte.bits & (PTE_WRITE | PTE_DIRTY) == PTE_WRITE | PTE_DIRTY, f"{pte}"
        )
        process.exit(machine)

    assert_clean(run_alone(program))


def test_what_is_refused() -> None:
    def program() -> None:
        machine, process, ctx = heap_and_room(4, slots=8)
        mm, size = process.mm, PAGE_SIZE

        def moved(target: int, source: int, length: int = size, mode: int = 0) -> int:
            return userfaultfd_move(ctx, target, source, length, mode)

        for args in ((room(0) + 1, page(0), size), (room(0), page(0), 0), (room(0), page(0), size, 0x10)):
            check(moved(*args) == EINVAL, f"{args}")
        check(moved(room(0), page(8)) == ENOENT, "no VMA at the source")
        check(moved(room(64), page(0)) == ENOENT, "nor at the target")
        check(moved(room(0), page(2), 4 * size) == EINVAL, "beyond the source's VMA")
        user_store(mm, room(1), "there")
        check(moved(room(1), page(1)) == EEXIST, "something is there")
        check(moved(room(0), page(0), 2 * size) == size, "so only the first of two is moved")
        check(moved(room(2), page(0)) == ENOENT, "that one is gone")
        check(
            moved(room(2), page(0), size, UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES) == size, "a hole may be skipped"
        )
        pinned = pin_user_page(mm, page(2))
        check(moved(room(2), page(2)) == EBUSY, "a device has it")
        assert not isinstance(pinned, int)
        unpin_user_page(machine.memory, pinned)
        process.written = {page(n): f"cc1:{n}" for n in (1, 2, 3)}
        mm.userfaultfd_ctx = None  # the monitor does not ask to hear of forks
        child = process.fork(machine, "as")
        assert child is not None
        check(moved(room(2), page(2)) == EBUSY, "a child has it, too")
        kswapd(machine.memory, 8)
        check(moved(room(2), page(2)) == EBUSY, "though it is swapped out")
        sys_mprotect(mm, room(2), size, PROT_READ)
        check(moved(room(2), page(2)) == EINVAL, "other rights there")
        for one in (child, process):
            one.load(page(3))
            one.exit(machine)

    assert_clean(run_alone(program))


STRATEGIES = ["pct", "random"]


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("huge", [False, True])
def test_beside_reclaim_migration_pins_faults_and_swapoff(strategy: str, huge: bool) -> None:
    def program() -> None:
        machine, process, ctx = heap_and_room(2, slots=4, huge=huge)
        first = machine.memory.mem_map[0]

        def touch() -> None:
            for number in (1, 0):
                user_load(process.mm, page(number))

        def pin() -> None:
            found = pin_user_page(process.mm, page(1))
            if not isinstance(found, int):
                unpin_user_page(machine.memory, found)

        def reclaim() -> None:
            kswapd(machine.memory, 2)
            swapoff(machine.memory)

        collector = spawn(userfaultfd_move, ctx, room(0), page(0), 2 * PAGE_SIZE)
        migrate = migrate_huge if huge else compact_page
        others = [spawn(touch), spawn(pin), spawn(reclaim), spawn(migrate, machine.memory, first)]
        moved = join(collector, *others)[0]
        for number in range(2):
            both = [user_load(process.mm, page(number)), user_load(process.mm, room(number))]
            wanted = [0, f"cc1:{number}"] if number * PAGE_SIZE < moved else [f"cc1:{number}", 0]
            check(both == wanted, f"{both}, moved {moved}")
        process.exit(machine)

    assert_clean(run_alone(program, executions=25, strategy=strategy))


def test_outside_a_program_all_that_is_ordinary_python() -> None:
    machine, process, ctx = heap_and_room(2, slots=4)
    kswapd(machine.memory, 2)
    assert move(process, ctx, page(0), room(0)) == PAGE_SIZE
    assert swapoff(machine.memory) == 0
    assert (process.load(room(0)), process.load(page(1))) == ("cc1:0", "cc1:1")
    process.exit(machine)
    assert len(machine.memory.free_list) == 8


def test_two_moves_that_cross_do_not_lock_each_other_out() -> None:
    def program() -> None:
        machine, process, ctx = heap_and_room(2)
        move(process, ctx, page(1), room(1))
        join(
            spawn(userfaultfd_move, ctx, room(0), page(0), PAGE_SIZE),
            spawn(userfaultfd_move, ctx, page(1), room(1), PAGE_SIZE),
        )
        check(user_load(process.mm, room(0)) == "cc1:0", "there")
        check(user_load(process.mm, page(1)) == "cc1:1", "and back")
        process.exit(machine)

    assert_clean(run_alone(program, executions=40, strategy="pct"))


@pytest.mark.parametrize("swapped", [False, True])
def test_who_unregisters_takes_every_protection_away_and_wakes_who_waits(swapped: bool) -> None:
    def program() -> None:
        machine, process, _ctx = heap_and_room(1, slots=2)
        mm = process.mm
        userfaultfd_register(mm, page(0))
        userfaultfd_writeprotect(mm, page(0), page(1), protect=True)
        if swapped:
            kswapd(machine.memory, 1)
        join(spawn(user_store, mm, page(0), "new"), spawn(userfaultfd_unregister, mm, page(0)))
        check(user_load(mm, page(0)) == "new", "the store went on")
        with quiet():
            table = mm.pmds[page(0) // mm.pmd_size]
        pte = table.entries[table.index(page(0))]  # type: ignore[union-attr]
        check(pte is not None and not pte.bits & PTE_UFFD_WP, "nothing says that it is protected")
        process.exit(machine)

    assert_clean(run_alone(program, executions=20, strategy="pct"))
