"""Patches replace one function of the model wherever the model knows it, and go without a trace."""

from __future__ import annotations

import pytest

from sugarbush.stress.kit.patches import Patch, PatchError, applied, patch
from sugarbush.vm.reverse.anon_vma import anon_vma_lock_write
from sugarbush.vm.syscalls import brk
from sugarbush.vm.vmas import munmap, zap
from sugarbush.vm.vmas.zap import unmap_region


def test_every_module_that_imported_the_function_calls_the_replacement() -> None:
    calls = []

    @patch(unmap_region)
    def replacement(*_arguments: object) -> None:
        calls.append("called")

    with applied([replacement]):
        munmap.unmap_region(None, [], 0, 0, 0, 0)  # type: ignore[arg-type]
        zap.unmap_region(None, [], 0, 0, 0, 0)  # type: ignore[arg-type]
    assert calls == ["called", "called"]
    assert munmap.unmap_region is zap.unmap_region is unmap_region


def test_a_patch_is_taken_back_when_the_block_fails() -> None:
    original = brk.do_brk_munmap
    one = Patch(original, lambda *_: 0)  # type: ignore[arg-type]
    with pytest.raises(ZeroDivisionError), applied([one]):
        raise ZeroDivisionError
    assert brk.do_brk_munmap is original


def test_only_the_model_can_be_patched() -> None:
    with pytest.raises(PatchError, match="no function of vm or tree"):
        patch(print)


def test_the_same_function_cannot_be_patched_twice() -> None:
    first = patch(anon_vma_lock_write)(lambda _anon_vma: None)
    with pytest.raises(PatchError, match="patched already"), applied([first, first]):
        pass


def test_a_patch_names_its_function() -> None:
    assert patch(brk.do_brk_munmap)(lambda: None).name == "sugarbush.vm.syscalls.brk.do_brk_munmap"
