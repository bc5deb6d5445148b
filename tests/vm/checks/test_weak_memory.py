"""The barriers of the mm model under weak memory: the sequence number that unlocks the VMAs."""

from typing import Any

import pytest

from sugarbush.concurrency import READ_ONCE, WRITE_ONCE, Kind, Settings, Verdict, check, explore, join, spawn
from sugarbush.vm.objects.mm_types import MmStruct
from sugarbush.vm.spaces import vma_lock
from sugarbush.vm.spaces.mm import mmap_write_lock, mmap_write_unlock
from sugarbush.vm.spaces.vma import vm_area_alloc
from sugarbush.vm.vmas.machine import boot

WEAK = Settings(memory="weak", without=frozenset({"leak"}))
SC = Settings(without=frozenset({"leak"}))


def reader_without_mmap_lock() -> None:
    """A writer changes two fields of a locked VMA; a reader that may look sees both old or both new."""
    mm = boot(8, "6.6").add_mm("cc1", 0x100000)
    vma = vm_area_alloc(mm, 0x100000, 0x101000, 0x100, 0)
    assert vma is not None
    vma.vm_page_prot = 0

    def writer() -> None:
        mmap_write_lock(mm)
        vma_lock.vma_start_write(vma)
        vma.vm_flags = 1
        vma.vm_page_prot = 1
        mmap_write_unlock(mm)

    def reader() -> None:
        if vma_lock.vma_start_read(vma):
            flags, prot = vma.vm_flags, vma.vm_page_prot
            vma_lock.vma_end_read(vma)
            check(flags == prot, f"flags {flags} and protection {prot} are of one moment")

    join(spawn(writer), spawn(reader))


def end_write_all_without_release(_locks: Any, mm: MmStruct) -> None:
    """mm_lock_seq before 6.5: the number may go on before what was written to the VMAs is visible."""
    WRITE_ONCE(mm, "mm_lock_seq", READ_ONCE(mm, "mm_lock_seq") + 1)


def load_without_acquire(mm: MmStruct, name: str) -> int:
    """The other half: the number may be read after the fields."""
    return int(READ_ONCE(mm, name))


@pytest.mark.parametrize("settings", [SC, WEAK], ids=["sc", "weak"])
def test_a_reader_sees_a_whole_change(settings: Settings) -> None:
    assert explore(reader_without_mmap_lock, strategy="dpor", settings=settings).verdict is Verdict.PASSED


@pytest.mark.parametrize("half", ["release", "acquire"])
def test_z23_is_found_under_weak_memory_only(monkeypatch: pytest.MonkeyPatch, half: str) -> None:
    if half == "release":
        monkeypatch.setattr(vma_lock.PerVmaLocks, "end_write_all", end_write_all_without_release)
    else:
        monkeypatch.setattr(vma_lock, "smp_load_acquire", load_without_acquire)
    assert explore(reader_without_mmap_lock, strategy="dpor", settings=SC).verdict is Verdict.PASSED
    for strategy in ("dpor", "random"):
        result = explore(reader_without_mmap_lock, strategy=strategy, settings=WEAK)
        assert [witness.failure.kind for witness in result.failures] == [Kind.CHECK]
