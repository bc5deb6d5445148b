"""A fault looks its VMA up in the tree under RCU, and locks it. If the VMA has left the tree meanwhile, it asks the
tree again, from where the cursor stands: in a node that RCU keeps. v6.18 moved the end of the reader of RCU into
vma_start_read(): whenever that fails, the reader is over. The caller began a new one, and went on with the old
cursor. The node under it may be free by then.

syzbot found it in the candidates of v6.18. The fix sets the cursor anew, so that the next walk begins at the root.
That the walk goes on in the node is a rule of the tree since v6.8; the one of v6.6, which the model has, begins at
the root each time. So the walk is here as it was, too.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from sugarbush.concurrency import READ_ONCE, Kind, join, rcu_read_lock, rcu_read_unlock, spawn
from sugarbush.stress.kit import Process, bug, patch
from sugarbush.stress.workloads.mappings import BASE, end, fill, map_pages, page
from sugarbush.tree.read import lookup
from sugarbush.vm.access import Killed, user_load
from sugarbush.vm.objects import EAGAIN, MmStruct, VmArea
from sugarbush.vm.spaces import vma_is_anonymous, vma_lock_refcnt
from sugarbush.vm.vmas import boot


def mas_walk(mas: Any) -> Any:
    """Go to the key of the cursor from where that stands, as since v6.8."""
    return lookup.state_walk(mas, mas._reading())


@patch(vma_lock_refcnt.lock_vma_under_rcu)
def lock_vma_under_rcu(mm: MmStruct, address: int) -> VmArea | None:
    """The cursor is one of a reader that is over."""
    mas = mm.mm_mt.cursor(address)
    while True:
        rcu_read_lock()
        found = mas_walk(mas)
        vma = None if found is None else vma_lock_refcnt.vma_start_read(mm, found)
        if not isinstance(vma, VmArea):
            # What vma_start_read() does itself when it fails, as since v6.18 (0b16f8bed19c).
            rcu_read_unlock()
            if vma == EAGAIN:
                continue
            return None
        inside = vma.vm_start <= address < vma.vm_end
        locked = inside and READ_ONCE(vma, "anon_vma") is not None and vma_is_anonymous(vma)
        if not locked:
            vma_lock_refcnt.vma_end_read(vma)
        rcu_read_unlock()
        return vma if locked else None


def read(process: Process, number: int) -> None:
    """Read a page, unless it has been unmapped."""
    with suppress(Killed):
        user_load(process.mm, page(number))


@bug(
    "vma-lock-stale-cursor",
    id="Z89",
    title="a fault asks the tree again with the cursor of a reader of RCU that is over",
    year=2025,
    versions="candidates of v6.18",
    fix="270065f514c5: mm/mmap_lock: reset maple state on lock_vma_under_rcu() retry",
    evidence="read",
    kind=Kind.USE_AFTER_FREE,
    check="use-after-free",
    patches=(lock_vma_under_rcu,),
    tasks=2,
    preemptions=2,
    era="6.15",
)
def vma_lock_stale_cursor() -> None:
    """Unmap memory while a thread reads there."""
    machine = boot(8, "6.15")
    process = Process(machine.add_mm("java", BASE))
    map_pages(process, 0, 2)
    fill(process, 0)
    map_pages(process, 8, 2)
    join(
        spawn(read, process, 1, name="fault"),
        spawn(process.munmap, page(0), 2, name="munmap"),
    )
    end(machine, process)
