"""What user space does: loads and stores through the page tables."""

from __future__ import annotations

from typing import Any

from concurrency import Operation, peek, perform, poke
from vm.layout import PAGE_SIZE, pmd_index, pte_index
from vm.memory import handle_user_fault
from vm.mm import MmStruct
from vm.pgtable import Present


class Killed(Exception):
    """The process is killed by a signal; the message says why."""


def _entry(mm: MmStruct, address: int) -> Present | None:
    table = mm.pmds.get(pmd_index(address))
    pte = None if table is None else table.entries[pte_index(address)]
    return pte if isinstance(pte, Present) else None


def _load(mm: MmStruct, _task: Any, address: int) -> tuple[bool, object]:
    pte = _entry(mm, address)
    return (False, None) if pte is None else (True, peek(mm.memory.mem_map[pte.pfn], "token"))


def _store(mm: MmStruct, _task: Any, arg: tuple[int, object]) -> bool:
    address, token = arg
    pte = _entry(mm, address)
    if pte is None:
        return False
    poke(mm.memory.mem_map[pte.pfn], "token", token)
    return True


USER_LOAD = Operation("user_load", effect=_load)
USER_STORE = Operation("user_store", effect=_store)


def user_store(mm: MmStruct, address: int, token: object) -> None:
    """Write `token` over the page of `address`, faulting it in if need be; raises `Killed`."""
    while not perform(USER_STORE, mm, (address, token)):
        _fault(mm, address)


def user_load(mm: MmStruct, address: int) -> object:
    """Read the page of `address`, faulting it in if need be; raises `Killed`. A fresh page reads 0."""
    while True:
        there, token = perform(USER_LOAD, mm, address)
        if there:
            return token
        _fault(mm, address)


def _fault(mm: MmStruct, address: int) -> None:
    error = handle_user_fault(mm, address & -PAGE_SIZE)
    if error:
        raise Killed(f"{mm.name}: signal at {address:#x} (error {error})")
