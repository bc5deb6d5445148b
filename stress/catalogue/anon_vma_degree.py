"""When a child of fork is linked to the anon_vmas of its parent, it may use one of them as its own that nobody uses any
more, so that a long chain of forks does not grow for ever. "Nobody" was read off one number, the degree: the children
and the VMAs of an anon_vma together. An anon_vma with children can have no VMA of its own at degree one; but one that
was left by all may be a leaf, and then the one is a VMA. So two VMAs of one process could get the same anon_vma, with
different links otherwise.

mprotect() takes VMAs of the same anon_vma for VMAs of the same links, and made one of the two: pages of the other then
belonged to an anon_vma that the VMA was not linked to, and which was freed while they were mapped. Jann Horn found it.
Since v6.0 children and VMAs are counted apart. The workload needs one task and seven processes.
"""

from __future__ import annotations

from sugarbush.concurrency import Kind
from sugarbush.lockdep.model import GFP_KERNEL, GFP_NOWAIT, GFP_NOWARN
from sugarbush.stress.kit import Process, bug, patch
from sugarbush.stress.workloads.mappings import BASE, READ, READ_WRITE, end, fill, map_pages, page
from sugarbush.vm.objects import PAGE_SIZE, AnonVma, VmArea
from sugarbush.vm.reverse import (
    anon_vma_chain,
    anon_vma_chain_link,
    anon_vma_unlock_write,
    avc_cache,
    unlink_anon_vmas,
)
from sugarbush.vm.syscalls import sys_fork, sys_mprotect
from sugarbush.vm.vmas import Machine, boot


@patch(anon_vma_chain.anon_vma_clone)
def anon_vma_clone(dst: VmArea, src: VmArea) -> bool:
    """An anon_vma is used again if children and VMAs of its own together are fewer than two."""
    locked: AnonVma | None = None
    for link in reversed(src.anon_vma_chain):
        avc = avc_cache.alloc(GFP_NOWAIT | GFP_NOWARN)
        if avc is None:
            if locked is not None:
                anon_vma_unlock_write(locked)
                locked = None
            avc = avc_cache.alloc(GFP_KERNEL)
            if avc is None:
                dst.anon_vma = None
                unlink_anon_vmas(dst)
                return False
        anon_vma = link.anon_vma
        locked = anon_vma_chain.lock_anon_vma_root(locked, anon_vma)
        anon_vma_chain_link(dst, avc, anon_vma)
        degree = anon_vma.num_children + anon_vma.num_active_vmas
        if dst.anon_vma is None and src.anon_vma is not None and anon_vma is not src.anon_vma and degree < 2:
            dst.anon_vma = anon_vma
    if dst.anon_vma is not None:
        dst.anon_vma.num_active_vmas += 1
    if locked is not None:
        anon_vma_unlock_write(locked)
    return True


def fork(machine: Machine, parent: Process) -> Process:
    """A child, which finds what the parent wrote."""
    mm = sys_fork(machine, parent.mm, parent.name + "'")
    assert mm is not None
    child = Process(mm)
    child.written.update(parent.written)
    return child


@bug(
    "anon-vma-degree",
    id="Z24",
    title="an anon_vma that a VMA uses is given to another one",
    year=2022,
    versions="up to v6.0-rc3",
    cve="CVE-2022-42703",
    fix="mm/rmap: Fix anon_vma->degree ambiguity leading to double-reuse",
    evidence="read",
    kind=Kind.INVARIANT,
    check="anon-vma-chain",
    patches=(anon_vma_clone,),
    tasks=1,
    preemptions=0,
)
def anon_vma_degree() -> None:
    """Generations of forks, in which some parents exit and a mapping is cut in two and made one again."""
    machine = boot(20)
    lower, upper = page(0), page(1)
    first = Process(machine.add_mm("init", BASE))
    map_pages(first, 0, 2)
    fill(first, 0, 2)
    second = fork(machine, first)
    third = fork(machine, second)
    fourth = fork(machine, third)
    sys_mprotect(fourth.mm, upper, PAGE_SIZE, READ)
    end(machine, second, third)
    fifth = fork(machine, fourth)
    sixth = fork(machine, fifth)
    sys_mprotect(sixth.mm, upper, PAGE_SIZE, READ_WRITE)
    sixth.store(lower, "lower")
    sixth.store(upper, "upper")
    end(machine, fourth)
    seventh = fork(machine, sixth)
    sys_mprotect(seventh.mm, upper, PAGE_SIZE, READ)
    sys_mprotect(seventh.mm, upper, PAGE_SIZE, READ_WRITE)
    seventh.load(upper)
    end(machine, first, fifth, sixth, seventh)
