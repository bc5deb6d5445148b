"""A page moves while its process trims the heap around it: the standard brk, and one that leaves a hole.

Run it: python examples/vm_migration.py
"""

from __future__ import annotations

from sugarbush.concurrency import Settings, explore, join, spawn
from sugarbush.stress.catalogue.brk_false_vma import do_brk_munmap
from sugarbush.stress.kit.checks import model_observers
from sugarbush.stress.kit.patches import applied
from sugarbush.vm.access.user import user_load, user_store
from sugarbush.vm.objects.layout import PAGE_SIZE
from sugarbush.vm.objects.mm_types import MmStruct
from sugarbush.vm.reclaim.migrate import compact_zone
from sugarbush.vm.syscalls.brk import sys_brk
from sugarbush.vm.vmas.exit import exit_mmap
from sugarbush.vm.vmas.machine import boot

HEAP = 0x10_0000


def trim(mm: MmStruct) -> None:
    """Give three of four pages back, and read the one that is left."""
    sys_brk(mm, HEAP + PAGE_SIZE)
    assert user_load(mm, HEAP) == "kept"


def program() -> None:
    """One process with four pages, and kcompactd."""
    machine = boot(frames=9)
    mm = machine.add_mm("cc1", HEAP)
    sys_brk(mm, HEAP + 4 * PAGE_SIZE)
    for number, token in enumerate(["kept", "cut", "cut", "cut"]):
        user_store(mm, HEAP + number * PAGE_SIZE, token)
    join(spawn(trim, mm, name="cc1"), spawn(compact_zone, machine.memory, name="kcompactd"))
    exit_mmap(mm)
    machine.remove_mm(mm)


if __name__ == "__main__":
    for name, patches in (("brk of v6.1", []), ("brk of July 2022", [do_brk_munmap])):
        for without in (frozenset[str](), frozenset({"coverage"})):
            settings = Settings(without=without, observers=model_observers)
            with applied(patches):
                result = explore(program, executions=200, settings=settings)
            found = [witness.failure.headline for witness in result.failures] or ["nothing found"]
            print(f"{name}, {'without coverage' if without else 'all checks'}: {found[0]}")
