"""write(2) to a file, and holes in it. Kernel: mm/filemap.c and fs/open.c, v6.1."""

from __future__ import annotations

from sugarbush.concurrency import READ_ONCE, trace
from sugarbush.vm.access.user import user_load
from sugarbush.vm.files import HugetlbFile, add_folio, filemap_get_folio, invalidate_mapping_page
from sugarbush.vm.frames import alloc_folio, folio_put
from sugarbush.vm.objects import EINVAL, ENOMEM, AddressSpace, Folio, Memory, MmStruct
from sugarbush.vm.reclaim import hugetlbfs_punch_hole, unmap_mapping_pages


def generic_file_write(mm: MmStruct, mapping: AddressSpace, index: int, buffer: int) -> int:
    """Write the page of the process at `buffer` to page `index` of the file; 0, -ENOMEM, or -EINVAL in hugetlbfs.

    Takes i_rwsem, and reads the page of the process with it held: that may fault, and so take mmap_lock. That is done
    before the page of the file is locked, for it may be a mapping of that very page. A page that is new to the cache
    is locked until it has its content.
    """
    if isinstance(mapping, HugetlbFile):
        return EINVAL
    mapping.i_rwsem.down_write()
    # With i_rwsem held and mmap_lock not: so mmap_lock stands inside of i_rwsem, and a task that holds it may
    # not take that (madvise-remove-order, Z40c; remap-file-pages-hook, Z40e). The kernel reads the buffer
    # with faults off, with the page locked, and faults it in before; one read here.
    token = user_load(mm, buffer)
    folio = filemap_grab_folio(mm.memory, mapping, index)
    if folio is not None:
        folio.token = token
        folio.dirty = True
        size = READ_ONCE(mapping, "i_size")
        if size is not None and index >= size:
            mapping.i_size = index + 1
        folio.lock.unlock()
        folio_put(mm.memory, folio)
    mapping.i_rwsem.up_write()
    trace("write", file=mapping.name, index=index)
    return ENOMEM if folio is None else 0


def filemap_grab_folio(memory: Memory, mapping: AddressSpace, index: int) -> Folio | None:
    """Page `index` of the file to be overwritten as a whole, locked and with a reference; None without memory."""
    while True:
        folio = filemap_get_folio(mapping, index)
        if folio is not None:
            folio.lock.lock()
            if READ_ONCE(folio, "mapping") is mapping:
                return folio
        else:
            folio = alloc_folio(memory)
            if folio is None:
                return None
            folio.lock.lock()
            if add_folio(mapping, index, folio):
                folio.lru = True
                return folio
        folio.lock.unlock()
        folio_put(memory, folio)


def vfs_punch_hole(memory: Memory, mapping: AddressSpace, first: int, last: int) -> None:
    """Take the pages `first` to `last` out of the file. Takes i_rwsem and invalidate_lock.

    Private copies of them stay: they are not the file's (truncate_pagecache_range(), shmem_fallocate()); in hugetlbfs
    they go.
    """
    if isinstance(mapping, HugetlbFile):
        hugetlbfs_punch_hole(memory, mapping, first, last)
        return
    mapping.i_rwsem.down_write()
    # From before the mappings are emptied until the pages are gone: no fault brings a page into the cache
    # meanwhile. One that was in the cache may be mapped again in between; the second emptying meets that.
    mapping.invalidate_lock.down_write()
    unmap_mapping_pages(mapping, first, last, even_cows=False)
    for index in range(first, last + 1):
        folio = filemap_get_folio(mapping, index)
        if folio is not None:
            folio.lock.lock()
            invalidate_mapping_page(memory, mapping, index)
            folio.lock.unlock()
            folio_put(memory, folio)
        mapping.disk.pop(index, None)
    unmap_mapping_pages(mapping, first, last, even_cows=False)
    mapping.invalidate_lock.up_write()
    mapping.i_rwsem.up_write()
