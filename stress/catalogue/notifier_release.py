"""When an address space ends, those who mirror it are told to drop everything, before its pages are freed. For that
each was first taken out of the list, and then told. But the pages are still mapped, and reclaim may take one of them
just then: it finds nobody in the list, tells nobody, and frees the page, which the guest that is not told yet still
uses. Xiao Guangrong fixed it in 2012 (3.7), by telling first. 3.10 brought it back with the fix of another race, and
he fixed it again.

The list of those who are told was another one then than that of ranges, which is what the model has; the order of the
two steps is what mattered.
"""

from __future__ import annotations

from sugarbush.concurrency import WRITE_ONCE, Kind, join, spawn
from sugarbush.stress.kit import Process, bug, patch
from sugarbush.stress.workloads.mirrors import mirror
from sugarbush.stress.workloads.pages import heap, page
from sugarbush.vm.access import device_close, device_load
from sugarbush.vm.frames import drop, mmu_notifier, subscriptions_of
from sugarbush.vm.objects import TASK_SIZE, MmStruct
from sugarbush.vm.reclaim import kswapd
from sugarbush.vm.vmas import exit_mmap


@patch(mmu_notifier.mmu_notifier_release)
def mmu_notifier_release(mm: MmStruct) -> None:
    """Take each out of the list, so that nobody else tells it anything, and tell it."""
    subs = subscriptions_of(mm)
    if subs is None:
        return
    subs.lock.lock()
    while subs.itree:
        sub = subs.itree.pop()
        WRITE_ONCE(sub, "in_tree", False)
        subs.lock.unlock()
        with sub.driver_lock:
            drop(sub, 0, TASK_SIZE)
        subs.lock.lock()
    subs.lock.unlock()


def end_process(process: Process) -> None:
    """The process ends; its device goes afterwards."""
    exit_mmap(process.mm)


@bug(
    "notifier-release",
    id="Z67",
    title="reclaim frees a page of a process that ends, and the guest is not told",
    year=2013,
    versions="before 3.7, and 3.10",
    fix="d34883d4e35c: mm: mmu_notifier: re-fix freed page still mapped in secondary MMU",
    evidence="read",
    kind=Kind.INVARIANT,
    check="secondary-mmu",
    patches=(mmu_notifier_release,),
    tasks=2,
    preemptions=1,
)
def notifier_release() -> None:
    """Reclaim memory while a process ends that a guest mirrors."""
    machine, process = heap(1, slots=2)
    sub = mirror(process.mm, page(0), 1)
    device_load(sub, page(0))
    join(
        spawn(end_process, process, name="exit"),
        spawn(kswapd, machine.memory, 1, name="kswapd"),
    )
    device_close(sub)
    machine.remove_mm(process.mm)
