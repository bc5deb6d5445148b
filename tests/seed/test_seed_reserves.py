"""Nested mas_preallocate(), the order of stores, and what a reserve costs: the tree's part of the mail."""

from __future__ import annotations

import pytest

from sugarbush.concurrency import Settings, explore
from sugarbush.lockdep.model.gfp import GFP_KERNEL
from sugarbush.stress.kit.checks import model_observers
from sugarbush.stress.kit.patches import Patch, applied, patch
from sugarbush.stress.workloads.pages import heap, page
from sugarbush.tree import MapleTree, MaState, NoMemory, StaleState
from sugarbush.tree.core.alloc import PlainNodes
from sugarbush.tree.core.layout import NODE_SIZE
from sugarbush.tree.core.node import MapleNode
from sugarbush.vm.objects.layout import PAGE_SIZE, USER_PGTABLES_CEILING
from sugarbush.vm.objects.mm_types import MmStruct, VmArea
from sugarbush.vm.spaces.find import vma_find
from sugarbush.vm.vmas import munmap
from sugarbush.vm.vmas.adjust import split_vma
from sugarbush.vm.vmas.munmap import remove_vma
from sugarbush.vm.vmas.zap import unmap_region


class Counted(PlainNodes):
    """Counts the calls of the slab allocator and the nodes; while it is `dry` it has none."""

    def __init__(self) -> None:
        self.calls = 0
        self.nodes = 0
        self.dry = False

    def alloc(self, gfp: int) -> MapleNode | None:
        del gfp
        self.calls += 1
        if self.dry:
            return None
        self.nodes += 1
        return MapleNode()

    def alloc_bulk(self, gfp: int, count: int) -> list[MapleNode]:
        del gfp
        self.calls += 1
        if self.dry:
            return []
        self.nodes += count
        return [MapleNode() for _ in range(count)]


Tree = MapleTree[str]
WIDTH = 10


def filled(entries: int, *, rcu: bool = True) -> tuple[Tree, Counted]:
    """So many entries of ten keys, side by side."""
    source = Counted()
    tree: Tree = MapleTree(track_gaps=True, rcu=rcu, source=source)
    for number in range(entries):
        tree.store_range(number * WIDTH, number * WIDTH + WIDTH - 1, f"vma{number}")
    source.calls = source.nodes = 0
    return tree, source


def split(tree: Tree, number: int) -> None:
    """The inner level: a state of its own cuts an entry in two."""
    inner: MaState[str] = MaState(tree, number * WIDTH + WIDTH // 2, number * WIDTH + WIDTH - 1)
    inner.preallocate("upper", GFP_KERNEL)
    inner.store_prealloc("upper")


# -- two states ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("entries", [1, 15, 16, 40, 200])
def test_an_inner_reserve_does_not_eat_the_outer_one(entries: int) -> None:
    tree, source = filled(entries)
    last = (entries - 1) * WIDTH
    outer: MaState[str] = MaState(tree, last + 2, last + 3)
    assert outer.preallocate(None, GFP_KERNEL) == len(outer.stash) > 0
    reserved = list(map(id, outer.stash))
    split(tree, 0)
    assert list(map(id, outer.stash)) == reserved
    source.dry = True
    outer.set_range(last + 2, last + 3)
    outer.store_prealloc(None)
    assert tree.load(last + 2) is None
    tree.validate()


@pytest.mark.parametrize("rcu", [False, True])
@pytest.mark.parametrize("entries", [2, 16, 200])
def test_an_outer_state_that_is_not_walked_again_is_stale(entries: int, rcu: bool) -> None:
    """M-c1: the node that the outer state stands in was replaced by the inner store."""
    tree, _ = filled(entries, rcu=rcu)
    outer: MaState[str] = MaState(tree, 0, WIDTH - 1)
    assert outer.walk() == "vma0"
    node = outer.node
    split(tree, 0)
    assert outer.node is node
    assert node.is_dead or not rcu
    with pytest.raises(StaleState):
        outer.store("too late")
    outer.reset()
    assert outer.walk() == "vma0"
    assert (outer.index, outer.last) == (0, WIDTH // 2 - 1)


def munmap_as_in_v6_1(*, walk_again: bool) -> Patch:
    """do_mas_align_munmap() with its reserve taken before the cut, for a range inside one VMA."""

    def do_mas_align_munmap(mm: MmStruct, vma: VmArea, start: int, end: int, *, downgrade: bool) -> int:
        mas = mm.mm_mt.cursor(start, end - 1)
        mas.preallocate(None, GFP_KERNEL)
        assert split_vma(vma, start, new_below=False) == 0
        if walk_again:
            mas.set_range(start, end - 1)
        gone = vma_find(mm, start, end)
        assert gone is not None
        mas.store_prealloc(None)
        mm.map_count -= 1
        unmap_region(mm, [gone], vma.vm_end, USER_PGTABLES_CEILING, start, end)
        remove_vma(gone)
        return 0

    return patch(munmap.do_mas_align_munmap)(do_mas_align_munmap)


def trim(era: str) -> None:
    machine, process = heap(3, era=era)
    process.brk(page(1))
    process.load(page(0))
    process.exit(machine)


@pytest.mark.parametrize("era", ["6.1", "6.6"])
def test_in_brk_the_outer_state_must_walk_again_after_the_cut(era: str) -> None:
    settings = Settings(observers=model_observers)
    with applied([munmap_as_in_v6_1(walk_again=True)]):
        assert explore(lambda: trim(era), executions=1, settings=settings).failures == []
    with applied([munmap_as_in_v6_1(walk_again=False)]):
        stale = explore(lambda: trim(era), executions=1, settings=settings).failures
    assert ["StaleState" in witness.failure.headline for witness in stale] == [True]


# -- two stores after one preallocation ------------------------------------------------------------------------------


@pytest.mark.parametrize("lower_first", [True, False])
@pytest.mark.parametrize("entries", [*range(1, 36), 100, 300])
def test_a_split_may_store_its_two_halves_in_either_order(entries: int, lower_first: bool) -> None:
    """Whichever comes first cuts the entry and has the reserve; the other fits exactly, and needs no node."""
    for number in {0, entries // 2, entries - 1}:
        tree, source = filled(entries)
        begin, middle, end = number * WIDTH, number * WIDTH + 4, number * WIDTH + WIDTH
        halves = [(begin, middle - 1, "lower"), (middle, end - 1, "upper")]
        (first, last, entry), (other, other_last, other_entry) = halves if lower_first else halves[::-1]
        mas: MaState[str] = MaState(tree, first, last)
        mas.preallocate(entry, GFP_KERNEL)
        source.dry = True
        mas.store_prealloc(entry)
        assert mas.stash == []
        mas.set_range(other, other_last)
        mas.store_prealloc(other_entry)
        assert (tree.load(begin), tree.load(middle)) == ("lower", "upper")
        tree.validate()


@pytest.mark.parametrize("entries", [1, 16, 100])
def test_only_the_first_store_after_a_preallocation_is_guaranteed(entries: int) -> None:
    """M-c2: an exact fit comes first, needs nothing, and gives the reserve back; the store that cuts has none."""
    tree, source = filled(entries)
    mas: MaState[str] = MaState(tree, 4, WIDTH - 1)
    assert mas.preallocate("upper", GFP_KERNEL) > 0
    mas.set_range(0, WIDTH - 1)
    mas.store_prealloc("again")
    source.dry = True
    mas.set_range(4, WIDTH - 1)
    with pytest.raises(NoMemory):
        mas.store_prealloc("upper")
    assert tree.load(4) == "again"


# -- sixteen nodes a page --------------------------------------------------------------------------------------------


def test_sixteen_nodes_fill_a_page() -> None:
    assert divmod(PAGE_SIZE, NODE_SIZE) == (16, 0)


@pytest.mark.parametrize(
    ("entries", "height", "nodes", "calls"),
    [(5, 1, 1, 1), (100, 2, 7, 2), (300, 3, 10, 2), (4000, 4, 13, 2)],
)
def test_a_reserve_is_two_calls_of_the_slab_allocator(
    entries: int, height: int, nodes: int, calls: int
) -> None:
    """The worst case above one leaf is 3 x height + 1 nodes: the first alone, all others at once."""
    tree, source = filled(entries)
    assert tree.height == height
    mas: MaState[str] = MaState(tree, WIDTH // 2, (entries - 1) * WIDTH + 3)
    assert mas.preallocate("over all", GFP_KERNEL) == nodes
    assert (source.nodes, source.calls) == (nodes, calls)


@pytest.mark.parametrize(("entries", "nodes", "calls"), [(10, 6, 2), (100, 20, 2), (1000, 164, 7)])
def test_what_fork_takes_at_once(entries: int, nodes: int, calls: int) -> None:
    """Thirty nodes a call, as the kernel's allocation node holds."""
    tree, source = filled(0)
    mas: MaState[str] = MaState(tree)
    mas.expected_entries(entries)
    assert (source.nodes, source.calls) == (nodes, calls)
    mas.destroy()
