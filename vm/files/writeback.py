"""Writing dirty pages of a file back. Kernel: mm/page-writeback.c and mm/filemap.c, v6.1.

Simpler here: the disk has what was written as soon as the request is sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sugarbush.concurrency import READ_ONCE, might_sleep, trace
from sugarbush.concurrency.lowlevel import Operation, peek, perform, poke
from sugarbush.vm.frames import folio_put
from sugarbush.vm.objects import AddressSpace, Folio, Memory, fields, folio_try_get

if TYPE_CHECKING:
    from sugarbush.concurrency.core import Place


def _start(folio: Folio, _task: Any, _arg: Any) -> None:
    # The dirty bit goes before the content is taken: a store after this makes the page dirty again.
    poke(folio, "dirty", False)
    poke(folio, "writeback", True)


def _end(folio: Folio, _task: Any, mapping: AddressSpace) -> None:
    # When the request is done the disk has what the page holds now, not what it held when it was put in: as
    # for a device that reads it by then.
    mapping.disk[peek(folio, "index")] = peek(folio, "token")
    poke(folio, "writeback", False)


def _no_writeback(folio: Folio, _task: Any) -> bool:
    return not peek(folio, "writeback")


def _starts(folio: Folio, _task: Any, _arg: Any) -> list[Place]:
    return fields(folio, "dirty", "writeback")


def _ends(folio: Folio, _task: Any, mapping: AddressSpace) -> list[Place]:
    return [
        *fields(folio, "index", "token", changes=False),
        *fields(folio, "writeback"),
        *fields(mapping, "disk"),
    ]


def _waits(folio: Folio, _task: Any, _arg: Any) -> list[Place]:
    return fields(folio, "writeback", changes=False)


START = Operation("folio_start_writeback", effect=_start, touches=_starts)
END = Operation("folio_end_writeback", effect=_end, wakes=True, touches=_ends)
WAIT = Operation("folio_wait_writeback", ready=_no_writeback, touches=_waits)


def folio_wait_writeback(folio: Folio) -> None:
    """Sleep until the folio is not being written; needs a reference."""
    might_sleep()
    perform(WAIT, folio)


def write_cache_pages(memory: Memory, mapping: AddressSpace, folios: list[Folio]) -> None:
    """Write pages of the file with one request, which is sent when all of them are in it.

    Each is referred to as long as it is looked at, and locked only while it is put into the request; but the ones that
    are in it stay under writeback meanwhile. One that left the file before it was locked is passed over.
    """
    request = []
    for folio in filter(folio_try_get, folios):
        folio.lock.lock()
        # It was found without its lock, and may have been truncated since.
        if READ_ONCE(folio, "mapping") is mapping:
            perform(START, folio)
            request.append(folio)
        # Unlocked, but under writeback until all are in: whoever waits for the writeback of one of these with
        # another one locked waits for himself (migrate-batch, Z40d).
        folio.lock.unlock()
        if folio not in request:
            folio_put(memory, folio)
    for folio in request:
        perform(END, folio, mapping)
        folio_put(memory, folio)
    trace("write_cache_pages", file=mapping.name, pages=len(request))
