"""The second walk of a migration: migration entries become entries of the page again. Kernel: mm/migrate.c, v6.1."""

from __future__ import annotations

from functools import partial

from sugarbush.concurrency import READ_ONCE, trace
from sugarbush.vm.frames import maybe_mkwrite, mk_pte, pte_offset_map, ptep_get, set_pte
from sugarbush.vm.objects import (
    PTE_KEPT,
    PTE_SWP_EXCLUSIVE,
    AddressSpace,
    Folio,
    Migration,
    VmArea,
    folio_get,
    folio_test_anon,
)
from sugarbush.vm.reclaim.nonlinear import walk_nonlinear
from sugarbush.vm.reverse import folio_add_anon_rmap, folio_add_file_rmap, rmap_walk


def remove_migration_ptes(old: Folio, new: Folio) -> None:
    """The second walk: turn the migration entries of `old` into entries of `new`. Needs both folio locks."""
    # Not by `folio_lock_anon_vma_read`: nothing maps the page now, so that would find nobody. The anon_vma
    # was pinned before the first walk, when it could still be found.
    visited = rmap_walk(new, partial(remove_migration_pte, old))
    mapping = READ_ONCE(new, "mapping")
    # A VMA may have left the tree since the first walk found it there (remap-file-pages, Z07).
    if isinstance(mapping, AddressSpace):
        walk_nonlinear(new, mapping, partial(remove_migration_pte, old))
    trace("remove_migration_ptes", old=old.name, new=new.name, vmas=visited)


def remove_migration_pte(old: Folio, new: Folio, vma: VmArea, address: int) -> None:
    """Turn the migration entry of `old` at `address` into an entry of `new`.

    The permissions come from the VMA as it is now, read without mmap_lock: only the rmap lock is held, which is needed.
    """
    mm = vma.vm_mm
    # An entry that this walk does not come to stays, and names a page that is unlocked and soon free. The
    # kernel stops when it meets the entry; or goes on, if the frame has an owner who has it locked, which is
    # worse. Each bug of the family of brk-false-vma (Z01) is a way of not coming here.
    table = pte_offset_map(mm, address)
    if table is None:
        return
    with table.ptl:
        pte = ptep_get(table, address)
        if not isinstance(pte, Migration) or pte.pfn != old.pfn:
            return
        # Reference, then mapcount, then entry: a task that sees the entry may rely on both.
        folio_get(new)
        # A merge must have this right for all pages of the grown VMA by the time that it gives the rmap lock
        # back (merge-page-prot, Z08); of a protected shared page it must not permit a store
        # (uffd-wp-writenotify, Z72).
        bits = vma.vm_page_prot | pte.bits & PTE_KEPT
        if pte.write:
            bits |= maybe_mkwrite(vma)
        if folio_test_anon(new):
            folio_add_anon_rmap(new, vma, address, exclusive=bool(pte.bits & PTE_SWP_EXCLUSIVE))
        else:
            folio_add_file_rmap(new)
        set_pte(table, address, mk_pte(new, bits))
        trace("remove_migration_pte", mm=mm.name, addr=hex(address), old=old.name, new=new.name)
