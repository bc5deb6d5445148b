"""A walk that starts at a page finds the anon_vma through it, without a reference: under RCU the memory stays an
anon_vma, but it may be freed and become another one at any moment. So the walk reads the root, locks the root's lock,
and must look at the page once more: if it is still mapped, the anon_vma is still its own. Up to 2.6.35 there was no
second look. An anon_vma of a child of fork has its root elsewhere; used again it is a root itself, and the walk
unlocked another lock than it had locked. (The race detector sees sooner that it looks at a tree without its lock; that
check is off here.)

Hugh Dickins met it as kernel builds that hung after several hours, all tasks spinning in anon_vma_prepare().
"""

from __future__ import annotations

from sugarbush.concurrency import READ_ONCE, Kind, join, rcu_read_lock, rcu_read_unlock, spawn
from sugarbush.stress.kit import Process, bug, patch
from sugarbush.stress.workloads.mappings import BASE, end, fill, map_pages
from sugarbush.vm.frames import swapon
from sugarbush.vm.objects import AnonVma, Folio, folio_mapped
from sugarbush.vm.reclaim import kswapd
from sugarbush.vm.reverse import anon_vma_lock_read, rmap
from sugarbush.vm.syscalls import sys_fork
from sugarbush.vm.vmas import boot, exit_mmap


@patch(rmap.folio_lock_anon_vma_read)
def folio_lock_anon_vma_read(folio: Folio) -> AnonVma | None:
    """The lock is taken, and the page is not looked at again."""
    rcu_read_lock()
    anon_vma = READ_ONCE(folio, "mapping")
    if not isinstance(anon_vma, AnonVma) or not folio_mapped(folio):
        rcu_read_unlock()
        return None
    root = anon_vma.root
    rcu_read_unlock()
    anon_vma_lock_read(root)
    return anon_vma


@bug(
    "anon-vma-root-changes",
    id="Z37",
    title="a walk does not look again whether it locked the right anon_vma",
    year=2010,
    versions="2.6.34 to 2.6.35",
    fix="mm: page_lock_anon_vma() looks at the page again after it has the lock",
    evidence="as far as we know",
    kind=Kind.LOCKDEP,
    without=("data-race",),
    patches=(folio_lock_anon_vma_read,),
    tasks=2,
    preemptions=1,
)
def anon_vma_root_changes() -> None:
    """A child of fork exits, and another process begins, while a page of the child is reclaimed."""
    machine = boot(8)
    swapon(machine.memory, 4)
    parent = Process(machine.add_mm("make", BASE))
    other = Process(machine.add_mm("cc1", BASE))
    map_pages(parent, 0, 1)
    map_pages(other, 0, 1)
    parent.store(BASE, "parent")
    mm = sys_fork(machine, parent.mm, "as")
    assert mm is not None
    child = Process(mm)
    child.store(BASE, "child")
    join(
        spawn(kswapd, machine.memory, 3),
        spawn(exit_mmap, child.mm),
        spawn(fill, other, 0),
    )
    machine.remove_mm(child.mm)
    end(machine, parent, other)
