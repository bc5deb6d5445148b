"""Reverse mapping: visiting every page-table entry that maps a folio.

Kernel: mm/rmap.c and mm/page_vma_mapped.c, v6.1. A migration makes two walks: `try_to_migrate` turns entries into
migration entries, `remove_migration_ptes` (vm/reclaim/migrate.py) turns them back. Both must find the same entries.
"""

from __future__ import annotations

from collections.abc import Callable

from sugarbush.concurrency import (
    READ_ONCE,
    atomic_add_return,
    atomic_dec_and_test,
    rcu_read_lock,
    rcu_read_unlock,
    trace,
)
from sugarbush.concurrency.lowlevel import peek
from sugarbush.vm.files import i_mmap_lock_read, i_mmap_unlock_read, vma_interval_tree_foreach
from sugarbush.vm.frames import (
    folio_put,
    make_migration_entry,
    notified,
    pmdp_get,
    ptep_clear_flush,
    ptep_get,
    set_pte,
)
from sugarbush.vm.objects import (
    PTE_SWP_EXCLUSIVE,
    AddressSpace,
    AnonVma,
    Folio,
    PageTable,
    Present,
    VmArea,
    folio_mapped,
    folio_maybe_dma_pinned,
)
from sugarbush.vm.reverse.anon_vma import (
    anon_vma_lock_read,
    anon_vma_unlock_read,
    free_anon_vma,
    get_anon_vma_unless_zero,
    put_anon_vma,
)
from sugarbush.vm.reverse.interval_tree import interval_tree_foreach
from sugarbush.vm.spaces import linear_page_index, vma_address, vma_is_temporary_stack

RmapOne = Callable[[Folio, "VmArea", int], object]


def folio_add_new_anon_rmap(folio: Folio, vma: VmArea, address: int) -> None:
    """The first mapping of a new anonymous folio, which is exclusive; needs the page-table lock."""
    # All of it before the entry is written, and before the page is on the LRU: a task that finds it there
    # finds its anon_vma.
    atomic_add_return(folio, "mapcount", 1)
    folio.mapping = vma.anon_vma
    folio.index = linear_page_index(vma, address)
    folio.anon_exclusive = True


def folio_add_anon_rmap(folio: Folio, vma: VmArea, address: int, *, exclusive: bool) -> None:
    """One more mapping of an anonymous folio, or its only one; needs the page-table lock and the folio lock.

    A page that comes from swap is anonymous only from here on. If it may be shared, it belongs to the oldest
    anon_vma.
    """
    if peek(folio, "mapping") is None:
        anon_vma = vma.anon_vma
        assert anon_vma is not None
        # Any relative may map it too, and only the tree of the root has them all.
        folio.mapping = anon_vma if exclusive else anon_vma.root
        folio.index = linear_page_index(vma, address)
    atomic_add_return(folio, "mapcount", 1)
    if exclusive:
        folio.anon_exclusive = True


def folio_add_file_rmap(folio: Folio) -> None:
    """One more mapping of a page of a file; needs the page-table lock."""
    atomic_add_return(folio, "mapcount", 1)


def folio_dup_rmap(folio: Folio) -> None:
    """A copy of an entry; an anonymous folio is shared from now on; needs the page-table lock.

    Kernel: page_try_dup_anon_rmap(), page_dup_file_rmap().
    """
    # Before the second entry is there. With the page-table lock held no pin comes meanwhile but one without
    # locks, which looks whether a fork goes on (`write_protect_seq`).
    if folio.anon_exclusive:
        folio.anon_exclusive = False
    atomic_add_return(folio, "mapcount", 1)


def folio_remove_rmap(folio: Folio) -> None:
    """One mapping less; needs the page-table lock."""
    atomic_add_return(folio, "mapcount", -1)


def hugepage_add_new_anon_rmap(folio: Folio, vma: VmArea, address: int) -> None:
    """The first mapping of a new large folio, as a whole; needs `page_table_lock`."""
    atomic_add_return(folio, "entire_mapcount", 1)
    hugepage_set_anon_rmap(folio, vma, address)
    for page in folio.pages:
        page.anon_exclusive = True


def hugepage_set_anon_rmap(folio: Folio, vma: VmArea, address: int) -> None:
    """Write into each page the anon_vma and the index by which walks find it; needs `page_table_lock`."""
    anon_vma = vma.anon_vma
    index = linear_page_index(vma, address)
    for number, page in enumerate(folio.pages):
        page.mapping = anon_vma
        page.index = index + number


def folio_move_anon_rmap(folio: Folio, vma: VmArea, index: int) -> None:
    """The locked, exclusive `folio` belongs to `vma` from now on, `index` pages into its object.

    Whoever walks by the old anon_vma must be kept away, and so must what maps it: either nothing does, or its entry
    was cleared under the page-table lock, which is held. Kernel: folio_move_anon_rmap(), and the store to the index
    beside it.
    """
    # Two stores, and a walk between them would look in the new tree for the old index.
    folio.mapping = vma.anon_vma
    folio.index = index


def folio_get_anon_vma(folio: Folio) -> AnonVma | None:
    """Pin the anon_vma of a mapped folio, or None if it is not mapped (any more).

    An anon_vma may be freed and used again at any time; the reader keeps its memory, the count and the second look
    at the folio show that it is still the right one.
    """
    rcu_read_lock()
    anon_vma = _mapped_anon_vma(folio)
    if anon_vma is None or not get_anon_vma_unless_zero(anon_vma):
        rcu_read_unlock()
        return None
    # If the page is mapped now, then a VMA has been linked to its anon_vma all the while, which so was never
    # freed: the one that we have is that one, and no other in the same memory.
    mapped = folio_mapped(folio)
    rcu_read_unlock()
    if mapped:
        return anon_vma
    put_anon_vma(anon_vma)
    return None


def folio_lock_anon_vma_read(folio: Folio) -> AnonVma | None:
    """Lock the anon_vma of a mapped folio for a walk, or None if it is not mapped (any more).

    As `folio_get_anon_vma`, but a lock that is taken without waiting needs no reference: whoever frees the anon_vma
    looks at the lock first. The root is read once: it may be another one as soon as nothing maps the folio.
    """
    rcu_read_lock()
    anon_vma = _mapped_anon_vma(folio)
    if anon_vma is None:
        rcu_read_unlock()
        return None
    root = anon_vma.root
    if root.rwsem.down_read_trylock():
        # As above, with the lock in place of a reference. Without this look, anon-vma-root-changes (Z37): the
        # anon_vma may have become another one, with another root, and another lock would be given back.
        mapped = folio_mapped(folio)
        if not mapped:
            root.rwsem.up_read()
        rcu_read_unlock()
        return anon_vma if mapped else None
    # The lock must be waited for, which a reader of RCU may not: so now a reference is needed.
    if not get_anon_vma_unless_zero(anon_vma):
        rcu_read_unlock()
        return None
    mapped = folio_mapped(folio)
    rcu_read_unlock()
    if not mapped:
        put_anon_vma(anon_vma)
        return None
    anon_vma_lock_read(anon_vma)
    if atomic_dec_and_test(anon_vma, "refcount"):
        # Freeing it takes the lock that we hold.
        anon_vma_unlock_read(anon_vma)
        free_anon_vma(anon_vma)
        return None
    return anon_vma


def _mapped_anon_vma(folio: Folio) -> AnonVma | None:
    anon_vma = READ_ONCE(folio, "mapping")
    return anon_vma if isinstance(anon_vma, AnonVma) and folio_mapped(folio) else None


def rmap_walk_anon(
    folio: Folio, rmap_one: RmapOne, lock: Callable[[Folio], AnonVma | None] | None = None
) -> int:
    """Call `rmap_one(page, vma, address)` wherever a VMA of the folio's anon_vma covers a page; gives how often.

    Takes the root anon_vma lock for reading: by `lock` if that is given, else at once, and then the caller must have
    pinned the anon_vma. Simpler here: a walk goes on to the end even if nothing maps the folio any more.
    """
    anon_vma = _anon_vma_locked(folio) if lock is None else lock(folio)
    if anon_vma is None:
        return 0
    visited = rmap_walk_locked(folio, anon_vma, rmap_one)
    anon_vma_unlock_read(anon_vma)
    return visited


def rmap_walk_locked(folio: Folio, anon_vma: AnonVma, rmap_one: RmapOne) -> int:
    """As `rmap_walk_anon`; the caller holds the root anon_vma lock, for reading at least."""
    visited = 0
    for page in folio.pages:
        index = READ_ONCE(page, "index")
        # One VMA after the other, with entries moving between them: what keeps a page from being missed is
        # said at `vm.vmas.move.move_page_tables`.
        for avc in interval_tree_foreach(anon_vma, index):
            address = vma_address(avc.vma, index)
            if address is not None:
                rmap_one(page, avc.vma, address)
                visited += 1
    return visited


def rmap_walk(folio: Folio, rmap_one: RmapOne, lock: Callable[[Folio], AnonVma | None] | None = None) -> int:
    """Call `rmap_one(page, vma, address)` wherever a page of the locked `folio` may be mapped; gives how often.

    `lock` is how the anon_vma of an anonymous folio is locked, as in `rmap_walk_anon`.
    """
    # The folio lock keeps it; of a page that is not locked the second read in `_anon_vma_locked` might give
    # another.
    mapping = READ_ONCE(folio, "mapping")
    if isinstance(mapping, AnonVma):
        return rmap_walk_anon(folio, rmap_one, lock)
    return 0 if mapping is None else rmap_walk_file(folio, mapping, rmap_one)


def rmap_walk_file(folio: Folio, mapping: AddressSpace, rmap_one: RmapOne) -> int:
    """As `rmap_walk`, through the VMAs that map the file; takes i_mmap_rwsem for reading."""
    index = READ_ONCE(folio, "index")
    visited = 0
    i_mmap_lock_read(mapping)
    for vma in vma_interval_tree_foreach(mapping, index, index):
        address = vma_address(vma, index)
        if address is not None:
            rmap_one(folio, vma, address)
            visited += 1
    i_mmap_unlock_read(mapping)
    return visited


def _anon_vma_locked(folio: Folio) -> AnonVma | None:
    anon_vma = READ_ONCE(folio, "mapping")
    if not isinstance(anon_vma, AnonVma):
        return None
    anon_vma_lock_read(anon_vma)
    return anon_vma


def try_to_migrate(folio: Folio) -> None:
    """The first walk: turn every entry that maps the locked `folio` into a migration entry. Takes the rmap lock."""
    visited = rmap_walk(folio, notified(try_to_migrate_one), folio_lock_anon_vma_read)
    trace("try_to_migrate", page=folio.name, vmas=visited)


def invalid_migration_vma(vma: VmArea) -> bool:
    """Migration leaves `vma` alone: its pages are being moved to other addresses, where no walk finds them. Needs
    the rmap lock.
    """
    # No lock would do: for the whole time of the move the VMA says one address, and the entry is at another
    # (exec-stack-migration, Z05). What stays mapped so makes the migration fail, which is no harm.
    return vma_is_temporary_stack(vma)


def try_to_migrate_one(page: Folio, vma: VmArea, address: int, *, sync: bool = False) -> bool:
    """Turn the entry of `address`, if it maps `page`, into a migration entry; False if the page is pinned. Needs
    the folio lock and the rmap lock.

    An entry that looks empty may belong to a task that has emptied it and not yet counted the mapping off. With
    `sync` (TTU_SYNC) that task is waited for, so that afterwards the page counts as mapped only if it is.
    """
    if invalid_migration_vma(vma):
        return True
    mm = vma.vm_mm
    # A look without the lock, and past what looks empty, since taking every lock would cost much. A fault
    # cannot fill it with this page, which is locked; a fork or a mremap that brings an entry of it here has
    # its VMA behind the one that it comes from, so that was met before, or the rmap lock. And what is emptied
    # and still counted: see `sync`.
    table = pmdp_get(mm, address)
    if not isinstance(table, PageTable) or not (sync or isinstance(ptep_get(table, address), Present)):
        return True
    with table.ptl:
        pte = ptep_get(table, address)
        if not isinstance(pte, Present) or pte.pfn != page.pfn:
            return True
        # Cleared and flushed before anything is decided: no CPU stores to the page any more, so its dirty bit
        # is final, and its content may be copied. And a pin without locks, which looks at the entry after it
        # has pinned, either finds it empty, or is seen by the look at the pins below.
        pte = ptep_clear_flush(mm, table, address)
        assert isinstance(pte, Present)
        bits = pte.bits
        if pte.dirty:
            page.head.dirty = True
        if page.anon_exclusive:
            if folio_maybe_dma_pinned(page):
                set_pte(table, address, pte)
                return False
            # It goes on in the entry, and not in the page, whose count would say nothing of it afterwards.
            bits |= PTE_SWP_EXCLUSIVE
            page.anon_exclusive = False
        # The entry first and the mapcount last, all under the lock: a task that sees the page unmapped finds
        # no present entry.
        set_pte(table, address, make_migration_entry(page, bits))
        trace("set_migration_pte", mm=mm.name, addr=hex(address), page=page.name)
        folio_remove_rmap(page)
        # Never the last one: the task that migrates has a reference, and relies on having the only one after
        # the walk.
        folio_put(mm.memory, page)
    return True
