"""The page cache, as far as it makes frames change hands. Kernel: mm/filemap.c, v6.1."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from concurrency import Operation, perform, trace
from vm.folio import Folio, Memory, alloc_folio, folio_put


class AddressSpace:
    """The cached pages of one file. Simpler here: one operation each stands for the xarray and its lock."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.pages: dict[int, Folio] = {}


def _insert(mapping: AddressSpace, _task: Any, arg: tuple[int, Folio]) -> bool:
    index, folio = arg
    return mapping.pages.setdefault(index, folio) is folio


def _delete(mapping: AddressSpace, _task: Any, index: int) -> Folio | None:
    return mapping.pages.pop(index, None)


_ORDER = ("i_pages",)
ADD = Operation("filemap_add_folio", effect=_insert, acquires=_ORDER, releases=_ORDER, local=True)
DELETE = Operation("filemap_remove_folio", effect=_delete, acquires=_ORDER, releases=_ORDER, local=True)


def filemap_read(
    memory: Memory, mapping: AddressSpace, index: int, read_folio: Callable[[int], object]
) -> object:
    """Read page `index` of a file that is not cached, through the page cache; None if no frame is free.

    The folio is locked while `read_folio` fills it, as during the I/O of a real read.
    """
    folio = alloc_folio(memory)
    if folio is None:
        return None
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


def invalidate_mapping_page(memory: Memory, mapping: AddressSpace, index: int) -> None:
    """Drop page `index` from the cache."""
    folio = perform(DELETE, mapping, index)
    if folio is not None:
        folio_put(memory, folio)
