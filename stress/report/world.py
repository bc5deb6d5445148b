"""What the world looks like at one moment: the address spaces, their trees, page tables and frames."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sugarbush.concurrency.lowlevel import peek
from sugarbush.tree import MapleTree
from sugarbush.tree.show import draw
from sugarbush.vm.objects import Memory, MmStruct, PageTable, Pmd, VmArea
from sugarbush.vm.vmas import Machine

Section = tuple[str, str, list[str]]
"""A title, how to show it (``lines``, or ``svg`` for a picture in one string), and the lines."""


def world(runtime: Any) -> list[Section]:
    """The sections of the machine of this execution; none for a program that booted none. Look from outside."""
    machine: Machine = runtime.domain(Machine)
    sections: list[Section] = []
    for mm in machine.mms:
        for title, form, lines in _PARTS:
            sections.append((f"{mm.name}: {title}", form, _seen(lines, mm)))
    if machine.memory.mem_map:
        sections.append(("frames in use", "lines", _seen(_frames, machine.memory)))
    return sections


def _seen(lines: Callable[[Any], list[str]], what: Any) -> list[str]:
    """What a part says of itself; while a bug goes on it may be in no state to be shown."""
    try:
        return lines(what)
    # Whatever it raises: the page is made to show what is broken, and the rest of it is what explains that.
    except Exception as error:
        return [f"not to be shown at this moment ({type(error).__name__})"]


def _vmas(mm: MmStruct) -> list[str]:
    return [_vma(vma) for _, _, vma in mm.mm_mt.shown()]


def _tree(mm: MmStruct) -> list[str]:
    return [draw(mm.mm_mt, entry=_start)] if isinstance(mm.mm_mt, MapleTree) and not mm.mm_mt.empty else []


def _start(vma: VmArea) -> str:
    return f"vma {peek(vma, 'vm_start'):x}"


def _tables(mm: MmStruct) -> list[str]:
    return [f"{index * mm.pmd_size:#x}: {_upper(pmd)}" for index, pmd in sorted(mm.pmds.items())]


def _upper(pmd: Pmd) -> str:
    if isinstance(pmd, PageTable):
        return " ".join("-" if pte is None else str(pte) for pte in pmd.entries)
    return f"huge {pmd}"


def _frames(memory: Memory) -> list[str]:
    return [_folio(folio) for folio in memory.mem_map if folio.refcount]


def _vma(vma: VmArea) -> str:
    return f"{vma.name} pgoff {peek(vma, 'vm_pgoff'):#x}" + (
        " anon" if peek(vma, "anon_vma") is not None else ""
    )


def _folio(folio: Any) -> str:
    locked = ", locked" if not folio.lock.unheld else ""
    return f"{folio.name}: {folio.token!r}, refcount {folio.refcount}, mapcount {folio.mapcount}{locked}"


_PARTS = (("VMAs", "lines", _vmas), ("maple tree", "svg", _tree), ("page tables", "lines", _tables))
