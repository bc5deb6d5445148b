"""Faults in mapped files. Kernel: do_fault() in mm/memory.c and filemap_fault() in mm/filemap.c, v6.1."""

from __future__ import annotations

from sugarbush.concurrency import READ_ONCE, trace
from sugarbush.vm.files import add_folio, filemap_get_folio
from sugarbush.vm.frames import alloc_folio, folio_put, maybe_mkwrite, mk_pte, pte_alloc, ptep_get, set_pte
from sugarbush.vm.objects import (
    EFAULT,
    ENOMEM,
    MM_ANONPAGES,
    MM_FILEPAGES,
    PTE_DIRTY,
    PTE_UFFD_WP,
    PTE_WRITE,
    PTE_YOUNG,
    VM_SHARED,
    AddressSpace,
    Folio,
    Marker,
    VmArea,
)
from sugarbush.vm.reverse import anon_vma_prepare, folio_add_file_rmap, folio_add_new_anon_rmap
from sugarbush.vm.spaces import add_mm_counter, check_stable_address_space, linear_page_index


def do_fault(vma: VmArea, address: int, *, write: bool, marker: Marker | None = None) -> int:
    """Map the page of the file at `address`, or a copy of it for a store to a private mapping.

    0, -ENOMEM, or -EFAULT behind the end of the file. Needs mmap_lock, or the VMA's lock. `marker` is what the fault
    found in place of an empty entry.
    """
    mapping = vma.vm_file
    assert mapping is not None
    mm = vma.vm_mm
    private = write and not vma.vm_flags & VM_SHARED
    new: Folio | None = None
    if private:
        new = alloc_folio(mm.memory) if anon_vma_prepare(vma) else None
        if new is None:
            return ENOMEM
    # It stays locked until it is mapped: a truncate waits for that before it takes the page out, and empties
    # the mappings once more after it.
    folio = filemap_fault(vma, mapping, linear_page_index(vma, address))
    if isinstance(folio, int):
        if new is not None:
            folio_put(mm.memory, new)
        return folio
    if new is not None:
        new.token = READ_ONCE(folio, "token")
    result = finish_fault(vma, address, folio, new, write=write, marker=marker)
    folio.lock.unlock()
    if new is not None:
        folio_put(mm.memory, folio)
    return result


def filemap_fault(vma: VmArea, mapping: AddressSpace, index: int) -> Folio | int:
    """Page `index` of the file, locked and with a reference, read if need be; or -ENOMEM, or -EFAULT behind its end.

    Found without a lock, so once it is locked it may be the file's page no more: then it is looked up again.
    """
    memory = vma.vm_mm.memory
    while True:
        # Each time anew. A truncate writes the size first and empties mappings afterwards: it unmaps what we
        # map, or we see it.
        size = READ_ONCE(mapping, "i_size")
        if size is not None and index >= size:
            return EFAULT
        folio = filemap_get_folio(mapping, index)
        if folio is None:
            # While a page comes into the cache: a hole is punched with this held for writing, from before the
            # mappings are emptied until the pages are gone, so that none comes back in between.
            mapping.invalidate_lock.down_read()
            folio = alloc_folio(memory)
            if folio is not None:
                # With a reference, but it may be out of the file, and even in another, by the time that it is
                # locked.
                folio.lock.lock()
                if add_folio(mapping, index, folio):
                    folio.token = mapping.disk.get(index, 0)
                    folio.lru = True
                folio.lock.unlock()
                folio_put(memory, folio)
            mapping.invalidate_lock.up_read()
            if folio is None:
                return ENOMEM
            continue
        folio.lock.lock()
        if READ_ONCE(folio, "mapping") is mapping:
            return folio
        folio.lock.unlock()
        folio_put(memory, folio)


def finish_fault(
    vma: VmArea, address: int, folio: Folio, new: Folio | None, *, write: bool, marker: Marker | None = None
) -> int:
    """Map the locked `folio`, or its copy `new`, unless somebody was faster; takes over a reference.

    0, -ENOMEM, or -EFAULT in a victim of the OOM reaper, which empties private mappings only. Where a `marker` stood
    the page is protected, and even the store that brought it here must fault once more.
    """
    mm = vma.vm_mm
    mapped = folio if new is None else new
    stable = True
    table = pte_alloc(mm, address)
    installed = False
    if table is not None:
        bits = vma.vm_page_prot | PTE_YOUNG
        if write:
            bits |= maybe_mkwrite(vma) | PTE_DIRTY
        if marker is not None:
            bits = bits & ~PTE_WRITE | PTE_UFFD_WP
        with table.ptl:
            # Compared with what the fault saw, so a marker that was taken away since sends the fault back.
            installed = ptep_get(table, address) == marker
            if installed and not vma.vm_flags & VM_SHARED:
                # v6.1 looks before it takes this lock: then another thread's copy may be made and reaped in between.
                installed = stable = check_stable_address_space(mm)
            if installed:
                if new is None:
                    add_mm_counter(mm, MM_FILEPAGES, 1)
                    folio_add_file_rmap(folio)
                else:
                    add_mm_counter(mm, MM_ANONPAGES, 1)
                    folio_add_new_anon_rmap(new, vma, address)
                    new.lru = True
                set_pte(table, address, mk_pte(mapped, bits))
                trace("fault", mm=mm.name, addr=hex(address), page=mapped.name)
    if not installed:
        folio_put(mm.memory, mapped)
    if table is None:
        return ENOMEM
    return 0 if stable else EFAULT
