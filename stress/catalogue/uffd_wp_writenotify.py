"""userfaultfd protects pages from stores. In a shared mapping new entries are writable at once, if the mapping is: so
says vm_page_prot, unless somebody wants to be told of the first store to each page (vma_wants_writenotify()). That
userfaultfd does was forgotten. Whoever makes an entry anew out of vm_page_prot made a protected page writable: the
second walk of a migration, mprotect, the end of a NUMA hint. The bit that says "protected" was still set, and meant
nothing, for a store to a writable page does not fault. It was seen with shared anonymous memory whose pages were moved.

With the fix vm_page_prot of a registered shared mapping permits no store, as that of a private mapping never does.
"""

from __future__ import annotations

from sugarbush.concurrency import Kind, check, join, spawn
from sugarbush.stress.kit import bug, patch
from sugarbush.stress.workloads.mappings import BASE, READ_WRITE, page
from sugarbush.vm.access import user_load, user_store
from sugarbush.vm.faults import userfaultfd_register, userfaultfd_writeprotect
from sugarbush.vm.objects import PAGE_SIZE, MmStruct, page_prot
from sugarbush.vm.reclaim import compact_zone
from sugarbush.vm.syscalls import MAP_ANONYMOUS, MAP_FIXED, MAP_SHARED, sys_mmap
from sugarbush.vm.vmas import boot, exit_mmap


@patch(page_prot.vma_wants_writenotify)
def vma_wants_writenotify(_flags: int) -> bool:
    """Nobody asks userfaultfd."""
    return False


def snapshot(mm: MmStruct) -> None:
    """Copy the page in peace: it is the same at the beginning and at the end. Then let stores go on."""
    for _ in range(2):
        check(user_load(mm, page(0)) == "before", "nobody stores to a page while userfaultfd protects it")
    userfaultfd_writeprotect(mm, page(0), page(1), protect=False)


@bug(
    "uffd-wp-writenotify",
    id="Z72",
    title="a page of a shared mapping that userfaultfd protects becomes writable when it is moved",
    year=2022,
    versions="5.19 to 6.1",
    fix="51d3d5eb74ff: mm/userfaultfd: enable writenotify while userfaultfd-wp is enabled for a VMA",
    evidence="as far as we know",
    kind=Kind.CHECK,
    patches=(vma_wants_writenotify,),
    tasks=3,
)
def uffd_wp_writenotify() -> None:
    """Take a snapshot of shared memory while one thread stores to it and its page is moved."""
    machine = boot(6)
    mm = machine.add_mm("qemu", BASE)
    sys_mmap(mm, BASE, PAGE_SIZE, READ_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED)
    user_store(mm, page(0), "before")
    userfaultfd_register(mm, page(0))
    userfaultfd_writeprotect(mm, page(0), page(1), protect=True)
    join(
        spawn(snapshot, mm, name="monitor"),
        spawn(user_store, mm, page(0), "store", name="vcpu"),
        spawn(compact_zone, machine.memory, name="kcompactd"),
    )
    exit_mmap(mm)
    machine.remove_mm(mm)
