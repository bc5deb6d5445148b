"""The VMAs of an anon_vma by page offset. Kernel: mm/interval_tree.c, v6.1.

Simpler here: the interval tree is a list in the order of its keys, and a search looks at every element. What it
matches against are the live fields of the VMA, and what it leaves out goes by those of when the VMA was inserted, as in
the kernel. So they must not change while it is in the tree.
A walk that finds nothing takes as many steps as one that does.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator

from sugarbush.concurrency import trace
from sugarbush.concurrency.lowlevel import Access, Operation, step
from sugarbush.vm.objects import PAGE_SHIFT, AnonVma, AnonVmaChain, VmArea

RB_READ = Operation("anon_vma_interval_tree_iter", Access.READ, field="rb_root", local=True)
RB_INSERT = Operation("anon_vma_interval_tree_insert", Access.WRITE, field="rb_root", local=True)
RB_REMOVE = Operation("anon_vma_interval_tree_remove", Access.WRITE, field="rb_root", local=True)


def interval_tree_insert(avc: AnonVmaChain) -> None:
    """Put a VMA into the tree under the page offsets that it has now; needs the root's lock for writing."""
    anon_vma = avc.anon_vma
    # Where several have one key the newest comes last, so that a walk meets a child's VMA, and the new place
    # of a mremap, after the one that it was made from: what moves to it meanwhile is met once at least.
    first = avc.vma.vm_pgoff
    last = first + ((avc.vma.vm_end - avc.vma.vm_start) >> PAGE_SHIFT) - 1
    step(RB_INSERT, anon_vma)
    avc.key = (first, last, avc)
    insort(anon_vma.rb_root, avc.key, key=lambda entry: entry[:2])


def interval_tree_remove(avc: AnonVmaChain) -> None:
    """Take a VMA out of the tree; needs the root's lock for writing."""
    step(RB_REMOVE, avc.anon_vma)
    entries = avc.anon_vma.rb_root
    avc.anon_vma.rb_root = [entry for entry in entries if entry[2] is not avc]
    avc.key = None


def interval_tree_foreach(anon_vma: AnonVma, pgoff: int) -> Iterator[AnonVmaChain]:
    """The links whose VMA covers page offset `pgoff`; needs the root's lock.

    A search leaves out what ended below `pgoff` when it was inserted, and looks at the live fields of the rest.
    """
    step(RB_READ, anon_vma)
    # A copy, so that a walk ends as it began even where a patch changes the list without the lock.
    for _, last, avc in list(anon_vma.rb_root):
        if last < pgoff:
            continue
        vma = avc.vma
        start = vma.vm_pgoff
        if start <= pgoff < start + ((vma.vm_end - vma.vm_start) >> PAGE_SHIFT):
            yield avc


def pre_update_vma(vma: VmArea) -> None:
    """Before start, end or pgoff change: out of all trees; needs the root's lock for writing."""
    for avc in vma.anon_vma_chain:
        interval_tree_remove(avc)


def post_update_vma(vma: VmArea) -> None:
    """After they have changed: back into all trees, under the new keys; needs the root's lock for writing."""
    for avc in vma.anon_vma_chain:
        interval_tree_insert(avc)
    trace("anon_vma_interval_tree_post_update", vma=vma.name)
