"""The second mistake of the new vma_expand(): where a VMA maps a file privately and has pages of its own too, it took
the lock of the anon_vma first and that of the file afterwards. Everybody else takes them the other way round, and the
order stands at the top of mm/rmap.c.

For a deadlock another task must adjust a VMA that maps the same file and belongs to the same family of forks. The lock
validator needs no second task: it knows the order. The fix, in the same patch as that of the missing lock, takes
i_mmap_rwsem first.
"""

from __future__ import annotations

from sugarbush.concurrency import Kind
from sugarbush.lockdep.model import GFP_KERNEL
from sugarbush.stress.kit import Process, bug, patch
from sugarbush.stress.workloads.mappings import BASE, end, fill, map_file
from sugarbush.tree import NoMemory
from sugarbush.vm.files import (
    fput,
    i_mmap_lock_write,
    i_mmap_unlock_write,
    vma_interval_tree_insert,
    vma_interval_tree_remove,
)
from sugarbush.vm.objects import ENOMEM, AddressSpace, VmArea
from sugarbush.vm.reverse import anon_vma_lock_write, anon_vma_unlock_write, post_update_vma, pre_update_vma
from sugarbush.vm.spaces import vma_store
from sugarbush.vm.vmas import adjust, boot


@patch(adjust.vma_expand)
def vma_expand(vma: VmArea, start: int, end: int, pgoff: int, _following: VmArea | None) -> int:
    """Grow `vma`, which swallows nobody here, under the lock of its anon_vma and then that of its file."""
    mas = vma.vm_mm.mm_mt.cursor(start, end - 1)
    try:
        mas.preallocate(vma, GFP_KERNEL)
    except NoMemory:
        return ENOMEM
    anon_vma, mapping = vma.anon_vma, vma.vm_file
    if anon_vma is not None:
        anon_vma_lock_write(anon_vma)
        pre_update_vma(vma)
    if mapping is not None:
        i_mmap_lock_write(mapping)
        vma_interval_tree_remove(vma, mapping)
    vma.vm_start, vma.vm_end, vma.vm_pgoff = start, end, pgoff
    vma_store(mas, vma)
    if mapping is not None:
        vma_interval_tree_insert(vma, mapping)
        i_mmap_unlock_write(mapping)
    if anon_vma is not None:
        post_update_vma(vma)
        anon_vma_unlock_write(anon_vma)
    return 0


@bug(
    "vma-expand-lock-order",
    id="Z03b",
    title="a VMA grows under the lock of its anon_vma and then that of its file",
    year=2022,
    versions="linux-next, v10 of the maple tree series",
    fix="mm/mmap: Fix locking issues in vma_expand()",
    evidence="read",
    kind=Kind.LOCKDEP,
    check="lock-order",
    patches=(vma_expand,),
    tasks=2,
    preemptions=1,
)
def vma_expand_lock_order() -> None:
    """Map more of a file behind a mapping of it that was written to."""
    machine = boot(6)
    process = Process(machine.add_mm("ld", BASE))
    file = AddressSpace("a.out")
    map_file(process, file, 0, 1)
    fill(process, 0)
    map_file(process, file, 1, 1, first=1)
    end(machine, process)
    fput(machine.memory, file)
