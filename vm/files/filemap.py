"""Files (`vm.objects.mm_types.AddressSpace`): their page cache, and the VMAs that map them. Kernel: mm/filemap.c, v6.1.

Simpler here: a file is its address_space, so there is no inode and no dentry; one operation each stands for the
xarray of the cache and its lock; the interval tree is a list in the order of its keys.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from sugarbush.concurrency import READ_ONCE, atomic_add_return, trace
from sugarbush.concurrency.lowlevel import Access, Operation, peek, perform, poke, step
from sugarbush.vm.frames import alloc_folio, folio_put
from sugarbush.vm.objects import PAGE_SHIFT, VM_NONLINEAR, AddressSpace, Folio, Memory, VmArea, fields

if TYPE_CHECKING:
    from sugarbush.concurrency.core import Place

I_MMAP_READ = Operation("vma_interval_tree_foreach", Access.READ, field="i_mmap", local=True)
I_MMAP_INSERT = Operation("vma_interval_tree_insert", Access.WRITE, field="i_mmap", local=True)
I_MMAP_REMOVE = Operation("vma_interval_tree_remove", Access.WRITE, field="i_mmap", local=True)


# -- the VMAs ---------------------------------------------------------------------------------------------------


def i_mmap_lock_write(mapping: AddressSpace) -> None:
    """Lock the tree of the file's VMAs for changes."""
    mapping.i_mmap_rwsem.down_write()


def i_mmap_unlock_write(mapping: AddressSpace) -> None:
    """The end of `i_mmap_lock_write`."""
    mapping.i_mmap_rwsem.up_write()


def i_mmap_lock_read(mapping: AddressSpace) -> None:
    """Lock the tree of the file's VMAs for walks."""
    mapping.i_mmap_rwsem.down_read()


def i_mmap_unlock_read(mapping: AddressSpace) -> None:
    """The end of `i_mmap_lock_read`."""
    mapping.i_mmap_rwsem.up_read()


def vma_interval_tree_insert(vma: VmArea, mapping: AddressSpace) -> None:
    """Put a VMA into the tree under the page offsets that it has now; needs i_mmap_rwsem for writing.

    Among equal ranges the newest comes last: so a child's VMA stands after its parent's, and is visited after it.
    """
    first = vma.vm_pgoff
    last = first + ((vma.vm_end - vma.vm_start) >> PAGE_SHIFT) - 1
    # Before the step: what is read here is the VMA's, and the step stands for the change of the tree alone.
    nonlinear = vma.vm_flags & VM_NONLINEAR
    step(I_MMAP_INSERT, mapping)
    if nonlinear:
        mapping.i_mmap_nonlinear.append(vma)
        return
    insort(mapping.i_mmap, (first, last, vma), key=lambda entry: entry[:2])


def vma_interval_tree_insert_after(vma: VmArea, before: VmArea, mapping: AddressSpace) -> None:
    """As `vma_interval_tree_insert`, right behind `before`, which has the same range; so a walk that has already met
    the parent's VMA meets the child's next. Needs i_mmap_rwsem for writing.
    """
    step(I_MMAP_INSERT, mapping)
    if vma.vm_flags & VM_NONLINEAR:
        mapping.i_mmap_nonlinear.append(vma)
        return
    # At the range of when the parent was inserted, which is that of its fields: mmap_lock is held for
    # writing.
    place = next(number for number, entry in enumerate(mapping.i_mmap) if entry[2] is before)
    first, last, _ = mapping.i_mmap[place]
    mapping.i_mmap.insert(place + 1, (first, last, vma))


def vma_interval_tree_remove(vma: VmArea, mapping: AddressSpace) -> None:
    """Take a VMA out of the tree; needs i_mmap_rwsem for writing."""
    step(I_MMAP_REMOVE, mapping)
    mapping.i_mmap = [entry for entry in mapping.i_mmap if entry[2] is not vma]
    mapping.i_mmap_nonlinear = [one for one in mapping.i_mmap_nonlinear if one is not vma]


def vma_interval_tree_foreach(mapping: AddressSpace, first: int, last: int) -> Iterator[VmArea]:
    """The VMAs that map any of the pages `first`..`last`; needs i_mmap_rwsem. As `interval_tree_foreach`."""
    step(I_MMAP_READ, mapping)
    # What the tree leaves out goes by the keys, what it gives by the live fields: if somebody changes those
    # while the VMA is filed, a walk misses it, as in the kernel (split-invalidate, Z39). A copy of the list,
    # so that a walk ends as it began even where a patch changes the list without the lock.
    for _, inserted_last, vma in list(mapping.i_mmap):
        if inserted_last < first:
            continue
        start = vma.vm_pgoff
        if start <= last and first < start + ((vma.vm_end - vma.vm_start) >> PAGE_SHIFT):
            yield vma


def unlink_file_vma(vma: VmArea) -> None:
    """Take `vma` out of its file's tree; from here on no walk of the file finds it. Takes i_mmap_rwsem for writing."""
    mapping = vma.vm_file
    if mapping is not None:
        i_mmap_lock_write(mapping)
        vma_interval_tree_remove(vma, mapping)
        i_mmap_unlock_write(mapping)


def shmem_zero_setup(vma: VmArea) -> None:
    """Give shared anonymous memory the nameless file that its pages are of, as long as it; kernel: mm/shmem.c."""
    vma.vm_file = AddressSpace("dev/zero", (vma.vm_end - vma.vm_start) >> PAGE_SHIFT)


# -- the pages --------------------------------------------------------------------------------------------------


def get_file(mapping: AddressSpace) -> AddressSpace:
    """Take a reference, as each VMA has one."""
    atomic_add_return(mapping, "f_count", 1)
    return mapping


def fput(memory: Memory, mapping: AddressSpace) -> None:
    """Drop a reference; the pages of a file that nobody refers to any more are dropped with it."""
    if atomic_add_return(mapping, "f_count", -1) == 0:
        cached = sorted(mapping.pages)
        # Nobody can come to them any more: there is no VMA, for each has a reference, and no other holder of
        # the file.
        for index in cached:
            invalidate_mapping_page(memory, mapping, index)
        mapping.evict(len(cached))


def _insert(mapping: AddressSpace, _task: Any, arg: tuple[int, Folio]) -> bool:
    index, folio = arg
    return mapping.pages.setdefault(index, folio) is folio


def _delete(mapping: AddressSpace, _task: Any, index: int) -> Folio | None:
    folio = mapping.pages.pop(index, None)
    if folio is not None:
        poke(folio, "mapping", None)
    return folio


def _get(mapping: AddressSpace, _task: Any, index: int) -> Folio | None:
    folio = mapping.pages.get(index)
    if folio is not None:
        poke(folio, "refcount", peek(folio, "refcount") + 1)
    return folio


def _add(mapping: AddressSpace, _task: Any, arg: tuple[int, Folio]) -> bool:
    index, folio = arg
    if mapping.pages.setdefault(index, folio) is not folio:
        return False
    poke(folio, "refcount", peek(folio, "refcount") + 1)
    poke(folio, "mapping", mapping)
    poke(folio, "index", index)
    return True


def _remove_clean(mapping: AddressSpace, _task: Any, folio: Folio) -> bool:
    # The caller's reference and that of the cache; see `_remove` of vm.frames.swap_slots for the order of the
    # two looks.
    if peek(folio, "refcount") != 2 or peek(folio, "dirty"):
        return False
    del mapping.pages[peek(folio, "index")]
    poke(folio, "mapping", None)
    poke(folio, "refcount", 1)
    return True


def _gets(mapping: AddressSpace, _task: Any, index: int) -> list[Place]:
    folio = mapping.pages.get(index)
    return [(mapping, "pages", False), *([] if folio is None else fields(folio, "refcount"))]


def _adds(mapping: AddressSpace, _task: Any, arg: tuple[int, Folio]) -> list[Place]:
    return [(mapping, "pages", True), *fields(arg[1], "refcount", "mapping", "index")]


def _removes_clean(mapping: AddressSpace, _task: Any, folio: Folio) -> list[Place]:
    return [
        (mapping, "pages", True),
        *fields(folio, "refcount", "mapping"),
        *fields(folio, "dirty", "index", changes=False),
    ]


def _deletes(mapping: AddressSpace, _task: Any, index: int) -> list[Place]:
    folio = mapping.pages.get(index)
    return [(mapping, "pages", True), *([] if folio is None else fields(folio, "mapping"))]


_ORDER = ("i_pages",)
GET = Operation("filemap_get_folio", effect=_get, acquires=_ORDER, touches=_gets)
ADD_LOCKED = Operation("filemap_add_folio", effect=_add, acquires=_ORDER, releases=_ORDER, touches=_adds)
REMOVE_CLEAN = Operation(
    "__remove_mapping", effect=_remove_clean, acquires=_ORDER, releases=_ORDER, touches=_removes_clean
)
ADD = Operation("filemap_add_folio", effect=_insert, acquires=_ORDER, releases=_ORDER, local=True)
# Not local: it changes the folio, too.
DELETE = Operation("filemap_remove_folio", effect=_delete, acquires=_ORDER, releases=_ORDER, touches=_deletes)


def filemap_read(
    memory: Memory, mapping: AddressSpace, index: int, read_folio: Callable[[int], object]
) -> object:
    """Read page `index` of a file that is not cached, through the page cache; None if no frame is free.

    The folio is locked while `read_folio` fills it, as during the I/O of a real read.
    """
    folio = alloc_folio(memory)
    if folio is None:
        return None
    # Locked before others can find it: a task that does waits until it has its content.
    folio.lock.lock()
    folio.mapping = mapping
    folio.index = index
    if not perform(ADD, mapping, (index, folio)):
        folio.lock.unlock()
        folio_put(memory, folio)
        return None
    token = folio.token = read_folio(index)
    trace("filemap_read", file=mapping.name, index=index, page=folio.name)
    folio.lock.unlock()
    return token


def filemap_get_folio(mapping: AddressSpace, index: int) -> Folio | None:
    """The cached page `index`, with a reference; None if it is not cached."""
    folio: Folio | None = perform(GET, mapping, index)
    return folio


def add_folio(mapping: AddressSpace, index: int, folio: Folio) -> bool:
    """Make the locked `folio` page `index` of the cache, which refers to it from now on; False if there is one."""
    return bool(perform(ADD_LOCKED, mapping, (index, folio)))


def remove_clean_page(folio: Folio) -> bool:
    """Take the locked `folio` out of the cache of its file, if it is clean and only the caller refers to it besides."""
    mapping = READ_ONCE(folio, "mapping")
    return isinstance(mapping, AddressSpace) and bool(perform(REMOVE_CLEAN, mapping, folio))


def invalidate_mapping_page(memory: Memory, mapping: AddressSpace, index: int) -> None:
    """Drop page `index` from the cache; needs the folio lock, unless nobody else can come to the file any more."""
    folio = perform(DELETE, mapping, index)
    if folio is not None:
        folio_put(memory, folio)
