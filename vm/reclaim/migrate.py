"""Page migration and compaction. Kernel: mm/migrate.c and mm/compaction.c, v6.1."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sugarbush.concurrency import READ_ONCE, trace
from sugarbush.concurrency.lowlevel import Operation, peek, perform, poke
from sugarbush.vm.files import folio_wait_writeback
from sugarbush.vm.frames import (
    alloc_folio,
    folio_put,
    isolate_freepage,
    isolate_freepages_block,
    isolate_lru_page,
    putback_lru_page,
)
from sugarbush.vm.objects import EAGAIN, EBUSY, AnonVma, Folio, Memory, fields, folio_mapped, folio_test_anon
from sugarbush.vm.reclaim.huge_migrate import migrate_locked_huge_folio
from sugarbush.vm.reclaim.huge_split import split_huge_page
from sugarbush.vm.reclaim.remove_migration import remove_migration_ptes
from sugarbush.vm.reverse import folio_get_anon_vma, put_anon_vma, try_to_migrate

if TYPE_CHECKING:
    from sugarbush.concurrency.core import Place


def compact_zone(memory: Memory, *, alloc_contig: bool = False) -> int:
    """Move pages from the low frames to the high ones until the two scanners meet; gives how many folios moved.

    The migrate scanner goes up from the first frame, the free scanner takes the highest free frame above it. Large
    folios are left alone, as in v6.1, unless the frames are wanted for an allocation that is larger still
    (`alloc_contig`; kernel: alloc_contig_range(), for CMA). Simpler here: what cannot be moved is not tried again.
    """
    moved = 0
    # Both scanners go by frame number, so a move never undoes another.
    for folio in memory.mem_map:
        if isolate_lru_page(memory, folio):
            if folio.order and not alloc_contig:
                putback_lru_page(memory, folio)
                continue
            target = isolate_freepages_block(memory, folio.pfn) if folio.order else None
            target = target or isolate_freepage(memory, folio.pfn)
            if target is None:
                putback_lru_page(memory, folio)
                break
            if folio.order > target.order:
                moved += _move_in_parts(memory, folio, target)
            else:
                moved += _move_isolated(memory, folio, target)
    return moved


def _move_isolated(memory: Memory, folio: Folio, target: Folio) -> bool:
    moved = migrate_folio(memory, folio, target) == 0
    if moved:
        folio_put(memory, folio)
    else:
        putback_lru_page(memory, folio)
    return moved


def _move_in_parts(memory: Memory, folio: Folio, first: Folio) -> int:
    """No frames for the whole of the isolated large folio are free: split it, and move its pages, the first to `first`.

    Gives how many pages moved. Kernel: try_split_thp() in migrate_pages().
    """
    tails = folio.pages[1:]
    folio.lock.lock()
    error = split_huge_page(memory, folio)
    folio.lock.unlock()
    if error:
        folio_put(memory, first)
        putback_lru_page(memory, folio)
        return 0
    moved = int(_move_isolated(memory, folio, first))
    for page in tails:
        if isolate_lru_page(memory, page):
            target = isolate_freepage(memory, page.pfn)
            if target is None:
                putback_lru_page(memory, page)
                break
            moved += _move_isolated(memory, page, target)
    return moved


def migrate_folio(memory: Memory, src: Folio, dst: Folio) -> int:
    """Move the isolated folio `src` to the frames of the new folio `dst`, whose one reference it takes over.

    0, or a negative error and nothing has changed. The caller's reference to `src` keeps the old frame until the
    end. Kernel: unmap_and_move(), steps 1 to 18 of Documentation/mm/page_migration.rst.
    """
    # The only folio lock that is waited for, and none is held.
    src.lock.lock()
    result = migrate_locked_huge_folio(src, dst) if src.order else migrate_locked_folio(src, dst)
    src.lock.unlock()
    folio_put(memory, dst)
    return result


def migrate_locked_folio(src: Folio, dst: Folio) -> int:
    """As `migrate_folio`, with `src` locked by the caller, and the reference to `dst` left to him."""
    # Before the first walk, while the page is mapped: afterwards nothing keeps its anon_vma, and the second
    # walk needs it.
    anon_vma = folio_get_anon_vma(src)
    result = EBUSY
    # What is anonymous, in no cache, and mapped by nobody is about to go by itself; and nothing would say
    # whose it is.
    if anon_vma is not None or READ_ONCE(src, "swap") is not None or not folio_test_anon(src):
        if dst.lock.trylock():
            if folio_mapped(src):
                try_to_migrate(src)
            # Still mapped: the page is pinned, or a walk has missed an entry. To miss one now does no harm:
            # all is put back.
            result = EAGAIN if folio_mapped(src) else move_to_new_folio(dst, src)
            if result == 0:
                dst.lru = True
            # Whatever came of it. `src` is locked until this is done: a fault that meets a migration entry
            # waits for that lock.
            remove_migration_ptes(src, dst if result == 0 else src)
            dst.lock.unlock()
        if anon_vma is not None:
            put_anon_vma(anon_vma)
    return result


def migrate_pages(memory: Memory, folios: list[Folio]) -> int:
    """Move pages to whatever frames are free, as many at a time as can be had without waiting; gives how many moved.

    Kernel: migrate_pages() in batches, v6.3. With one folio lock held another is only tried. What is left is moved one
    folio at a time.
    """
    moved = 0
    batch, later = lock_batch([folio for folio in folios if isolate_lru_page(memory, folio)])
    for folio in batch:
        moved += _move_one(memory, folio)
    for folio in later:
        # No lock of the batch is held any more. Writeback puts page after page into one request before it
        # sends that: a task that waits for the writeback of one page with another one locked may so wait for
        # itself (migrate-batch, Z40d).
        folio.lock.lock()
        folio_wait_writeback(folio)
        moved += _move_one(memory, folio)
    return moved


def lock_batch(folios: list[Folio]) -> tuple[list[Folio], list[Folio]]:
    """Those of `folios` that could be locked at once and are not being written, and the others."""
    batch, later = [], []
    for folio in folios:
        if not folio.lock.trylock():
            later.append(folio)
        elif READ_ONCE(folio, "writeback"):
            folio.lock.unlock()
            later.append(folio)
        else:
            batch.append(folio)
    return batch, later


def _move_one(memory: Memory, folio: Folio) -> bool:
    target = alloc_folio(memory)
    moved = target is not None and migrate_locked_folio(folio, target) == 0
    folio.lock.unlock()
    if target is not None:
        folio_put(memory, target)
    if moved:
        folio_put(memory, folio)
    else:
        putback_lru_page(memory, folio)
    return moved


def _switch(src: Folio, _task: Any, dst: Folio) -> bool:
    slot, mapping, index = peek(src, "swap"), peek(src, "mapping"), peek(src, "index")
    filed = not isinstance(mapping, AnonVma) and mapping is not None
    cached = filed or slot is not None
    # The caller's, and the cache's. One more is somebody who may go on using the old frame: a pin, a read, a
    # task that waits for a huge page (`pmd_migration_entry_wait`). Then all is put back.
    if peek(src, "refcount") != 1 + cached:
        return False
    if slot is not None:
        slot.folio = dst
        poke(src, "swap", None)
    elif filed:
        mapping.pages[index] = dst
    poke(src, "refcount", 1)
    poke(dst, "refcount", peek(dst, "refcount") + cached)
    for field, value in (
        ("swap", slot),
        ("mapping", mapping),
        ("index", index),
        ("dirty", peek(src, "dirty")),
    ):
        # `src` keeps its mapping: see `move_to_new_folio`.
        poke(dst, field, value)
    return True


def _switches(src: Folio, _task: Any, dst: Folio) -> list[Place]:
    found = [
        *fields(src, "swap", "refcount"),
        *fields(src, "mapping", "index", "dirty", changes=False),
        *fields(dst, "swap", "refcount", "mapping", "index", "dirty"),
    ]
    slot, mapping = peek(src, "swap"), peek(src, "mapping")
    if slot is not None:
        found.append((slot, None, True))
    elif mapping is not None and not isinstance(mapping, AnonVma):
        found.append((mapping, "pages", True))
    return found


SWITCH = Operation(
    "folio_migrate_mapping",
    effect=_switch,
    acquires=("i_pages",),
    releases=("i_pages",),
    touches=_switches,
)


def move_to_new_folio(dst: Folio, src: Folio) -> int:
    """Give `dst` the content and identity of `src`, which nothing maps; -EAGAIN if somebody else refers to it.

    The caches are switched over in one step, as under the lock of their xarray. An anonymous `src` keeps its mapping
    until it is freed: whoever zaps a migration entry must still see that it was anonymous.
    """
    if not perform(SWITCH, src, dst):
        return EAGAIN
    # After the switch, as v6.1: nobody can look yet. No entry is present, and a task that finds `dst` in a
    # cache waits for its lock.
    dst.token = READ_ONCE(src, "token")
    trace("migrate", old=src.name, new=dst.name)
    return 0
