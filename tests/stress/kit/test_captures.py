"""What a patch reaches: whoever holds the function, in whatever way; what cannot be changed is refused in words."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import lru_cache, partial
from types import SimpleNamespace

import pytest

from sugarbush.stress.kit.captures import Changes
from sugarbush.stress.kit.patches import Patch, PatchError, applied, patch
from sugarbush.stress.workloads.pages import heap, page
from sugarbush.vm.faults import fault_lock
from sugarbush.vm.frames import pgtable
from sugarbush.vm.frames.pgtable import PTE_CLEAR
from sugarbush.vm.objects import page_prot
from sugarbush.vm.objects.layout import VM_READ
from sugarbush.vm.objects.mm_types import MmStruct
from sugarbush.vm.objects.page_prot import vm_get_page_prot
from sugarbush.vm.syscalls.brk import sys_brk
from sugarbush.vm.vmas import munmap
from sugarbush.vm.vmas.era import V6_1
from sugarbush.vm.vmas.munmap import do_munmap

held_by_name = vm_get_page_prot


def refuse(*_arguments: object) -> int:
    """What stands in for vm_get_page_prot."""
    return -1


def stands_in() -> Patch:
    return patch(page_prot.vm_get_page_prot)(refuse)


def by_closure() -> Callable[[], int]:
    captured = vm_get_page_prot
    return lambda: captured(VM_READ)


def by_default(called: Callable[..., int] = vm_get_page_prot) -> int:
    return called(VM_READ)


def by_keyword(*, called: Callable[..., int] = vm_get_page_prot) -> int:
    return called(VM_READ)


class Table:
    """A class with a function in it, and a slot."""

    __slots__ = ("slot",)
    static = staticmethod(vm_get_page_prot)

    def __init__(self) -> None:
        self.slot = vm_get_page_prot


CLOSURE = by_closure()
PARTIAL = partial(vm_get_page_prot, VM_READ)
IN_PARTIAL = partial(lambda called: called(VM_READ), vm_get_page_prot)
TABLE = Table()
LIST, TUPLE, DICT, QUEUE = (
    [vm_get_page_prot],
    (("a tuple", (vm_get_page_prot,)),),
    {"prot": vm_get_page_prot},
    deque([vm_get_page_prot]),
)
KEYS = {"before": 1, vm_get_page_prot: 2, "after": 3}
MEMBERS, FROZEN = {vm_get_page_prot}, frozenset([vm_get_page_prot])
NAMESPACE = SimpleNamespace(prot=vm_get_page_prot)

HELD: dict[str, Callable[[], int]] = {
    "a name in another module": lambda: held_by_name(VM_READ),
    "a closure": CLOSURE,
    "a partial": PARTIAL,
    "an argument of a partial": IN_PARTIAL,
    "a default argument": by_default,
    "a keyword with a default": by_keyword,
    "a list": lambda: LIST[0](VM_READ),
    "a tuple in a tuple": lambda: TUPLE[0][1][0](VM_READ),
    "a table": lambda: DICT["prot"](VM_READ),
    "a queue": lambda: QUEUE[0](VM_READ),
    "a slot": lambda: TABLE.slot(VM_READ),
    "a static method": lambda: Table.static(VM_READ),
    "an attribute": lambda: NAMESPACE.prot(VM_READ),
    "a set": lambda: next(iter(MEMBERS))(VM_READ),
    "a frozen set": lambda: next(iter(FROZEN))(VM_READ),
}


@pytest.mark.parametrize("how", HELD)
def test_whoever_holds_the_function_calls_the_replacement_and_afterwards_the_function(how: str) -> None:
    with applied([stands_in()]):
        assert HELD[how]() == -1
    assert HELD[how]() == VM_READ


def test_keys_keep_their_order() -> None:
    with applied([stands_in()]):
        assert list(KEYS.items()) == [("before", 1), (refuse, 2), ("after", 3)]
    assert list(KEYS.items()) == [("before", 1), (vm_get_page_prot, 2), ("after", 3)]


def test_a_workload_and_the_library_of_workloads_get_the_replacement() -> None:
    called = []

    @patch(munmap.do_munmap)
    def counted(*arguments: object) -> int:
        called.append(len(arguments))
        return 0

    _, process = heap(2)
    with applied([counted]):
        process.munmap(page(0), 1)
        do_munmap(process.mm, page(0), 4096)
    assert len(called) == 2


def test_what_an_era_is_made_of_is_replaced() -> None:
    before: object = V6_1.hold_for_fault

    def stood_in() -> object:
        return V6_1.hold_for_fault

    with applied([patch(fault_lock.hold_mmap_lock)(refuse)]):
        assert stood_in() is refuse
    assert stood_in() is before


def test_the_effect_of_an_operation_is_replaced() -> None:
    effect = PTE_CLEAR.effect
    with applied([patch(pgtable._get_and_clear)(refuse)]):
        assert PTE_CLEAR.effect is refuse
    assert PTE_CLEAR.effect is effect


def original_by_closure() -> Patch:
    before = page_prot.vm_get_page_prot

    @patch(page_prot.vm_get_page_prot)
    def replacement(flags: int) -> int:
        return before(flags) - 100

    return replacement


def original_by_default() -> Patch:
    @patch(page_prot.vm_get_page_prot)
    def replacement(*arguments: object, before: Callable[..., int] = page_prot.vm_get_page_prot) -> int:
        return before(*arguments) - 100

    return replacement


def original_by_attribute() -> Patch:
    @patch(page_prot.vm_get_page_prot)
    def replacement(*arguments: object) -> int:
        return replacement.original(*arguments) - 100  # type: ignore[no-any-return]

    return replacement


def original_by_partial() -> Patch:
    def less(before: Callable[..., int], *arguments: object) -> int:
        return before(*arguments) - 100

    return patch(page_prot.vm_get_page_prot)(partial(less, page_prot.vm_get_page_prot))


@pytest.mark.parametrize(
    "made", [original_by_closure, original_by_default, original_by_attribute, original_by_partial]
)
def test_a_replacement_calls_the_function_of_before(made: Callable[[], Patch]) -> None:
    with applied([made()]):
        assert page_prot.vm_get_page_prot(VM_READ) == VM_READ - 100


_as_it_is = page_prot.vm_get_page_prot
brk_as_it_is = sys_brk


def _helper(mm: MmStruct, brk: int) -> int:
    return brk_as_it_is(mm, brk) + 1


def test_a_name_that_only_the_replacement_and_its_helpers_use_stays() -> None:
    @patch(brk_as_it_is)
    def replacement(mm: MmStruct, brk: int) -> int:
        return _helper(mm, brk)

    _, process = heap(1)
    with applied([replacement]):
        assert process.brk(page(2)) == page(2) + 1


def workload() -> int:
    """Somebody else who knows the function by that name."""
    return name_of_both(VM_READ)


name_of_both = page_prot.vm_get_page_prot


def test_a_name_that_would_have_to_mean_both_functions_is_refused_in_a_sentence() -> None:
    @patch(page_prot.vm_get_page_prot)
    def replacement(flags: int) -> int:
        return name_of_both(flags) - 100

    with (
        pytest.raises(PatchError, match=r"'name_of_both' in .* and by workload\(\), which must") as refused,
        applied([replacement]),
    ):
        pass
    assert str(refused.value).endswith("let the replacement call the `original` of the patch")
    assert workload() == VM_READ


@pytest.mark.parametrize("number", [0, 1])
def test_two_replacements_of_one_function_that_call_it_by_its_name(number: int) -> None:
    @patch(_as_it_is)
    def lower(flags: int) -> int:
        return _as_it_is(flags) - 100

    @patch(_as_it_is)
    def higher(flags: int) -> int:
        return _as_it_is(flags) + 100

    with applied([(lower, higher)[number]]):
        assert page_prot.vm_get_page_prot(VM_READ) == VM_READ + (-100, 100)[number]


def test_what_cannot_be_changed_is_refused_in_a_sentence_and_nothing_is_patched() -> None:
    cached = lru_cache(vm_get_page_prot)
    with pytest.raises(PatchError) as refused, applied([stands_in()]):
        pass
    assert str(refused.value) == (
        "sugarbush.vm.objects.page_prot.vm_get_page_prot is held by vm_get_page_prot of the type "
        "_lru_cache_wrapper, which cannot be changed: patch what calls it there, or let that look the function up "
        "when it is called"
    )
    assert cached is not None
    assert page_prot.vm_get_page_prot is held_by_name is HELD["a list"].__globals__["LIST"][0]
    assert by_default() == VM_READ


def test_garbage_that_holds_a_function_refuses_nothing() -> None:
    ring: list[object] = [lru_cache(vm_get_page_prot)]
    ring.append(ring)
    del ring
    with applied([stands_in()]):
        assert by_default() == -1


def test_changes_are_taken_back_in_the_end_whatever_was_in_between() -> None:
    changes = Changes()
    assert changes.replace("f", stands_in().original, refuse) > len(HELD) - 3
    assert by_default() == -1
    changes.undo()
    assert page_prot.vm_get_page_prot is vm_get_page_prot
    assert refuse() == -1
