"""Known bugs, put back into the tree one at a time: each is found, or gives exactly the kernel's answers."""

from collections.abc import Callable
from typing import Any

import kernel_bugs
import pytest
from borders import INNER, RANGE, Walk
from rcu_programs import CASES, equal_growth, load_reader, program
from tree_replay import DATA, CountingNodes, Replay, recorded

from sugarbush.concurrency import Kind, Verdict, check, explore, rcu_barrier, rcu_reader
from sugarbush.tree import Corrupt, MapleTree, MaState


def break_it(monkeypatch: pytest.MonkeyPatch, bug: Callable[..., Any]) -> None:
    kernel_bugs.patch(monkeypatch, kernel_bugs.TARGETS[bug], bug)


def failure_of(run: Callable[[], None], **options: Any) -> Kind | None:
    options = {"executions": 200, "seed": 3, **options}
    failures = explore(run, **options).failures
    return failures[0].failure.kind if failures else None


def differences(name: str) -> list[list[Any]]:
    replay = Replay()
    return [op for _, op, kernel in recorded(DATA / name) if replay.run(op) != kernel]


def test_s1_gives_the_kernels_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    assert differences("31_gaps_f1.jsonl.gz")
    break_it(monkeypatch, kernel_bugs.s1_highest_passes_over_key_zero)
    assert differences("31_gaps_f1.jsonl.gz") == []


def test_s3_gives_the_kernels_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(differences("39_prealloc_f3.jsonl.gz")) == 30
    break_it(monkeypatch, kernel_bugs.s3_exact_fit_before_widening)
    assert differences("39_prealloc_f3.jsonl.gz") == []


def test_s3_allocates_after_preallocation(monkeypatch: pytest.MonkeyPatch) -> None:
    def taken_beyond_the_request() -> int:
        source = CountingNodes()
        tree: MapleTree[int] = MapleTree(rcu=True, source=source)
        for key in range(12):
            tree.store_range(10 * key, 10 * key + 5, key)
        mas: MaState[int] = MaState(tree, 50, 55)
        mas.preallocate(None)
        taken = source.taken
        mas.store_prealloc(None)
        return source.taken - taken

    assert taken_beyond_the_request() == 0
    break_it(monkeypatch, kernel_bugs.s3_exact_fit_before_widening)
    assert taken_beyond_the_request() == 1


def ascending(count: int) -> Callable[[], None]:
    def run() -> None:
        tree: MapleTree[int] = MapleTree(rcu=True)
        for key in range(count):
            tree.insert(key, key)
        tree.destroy()
        rcu_barrier()

    return run


def test_s4_frees_a_wrong_address(monkeypatch: pytest.MonkeyPatch) -> None:
    assert failure_of(ascending(226), executions=1) is None
    break_it(monkeypatch, kernel_bugs.s4_frees_a_wrong_address)
    assert failure_of(ascending(225), executions=1) is None
    assert failure_of(ascending(226), executions=1) is Kind.DOUBLE_FREE


@pytest.mark.exhaustive
def test_s5_needs_as_many_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    assert failure_of(ascending(5191), executions=1) is None
    break_it(monkeypatch, kernel_bugs.s5_follows_metadata)
    assert failure_of(ascending(5190), executions=1) is None


def test_s5_takes_metadata_for_a_child(monkeypatch: pytest.MonkeyPatch) -> None:
    break_it(monkeypatch, kernel_bugs.s5_follows_metadata)
    assert failure_of(ascending(5191), executions=1) is Kind.DOUBLE_FREE


def test_s6_is_not_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    break_it(monkeypatch, kernel_bugs.s6_right_side_ends_at_the_store)
    for name in ("25_nulls_f0.jsonl.gz", "15_spans_f0.jsonl.gz", "17_spans_f3.jsonl.gz"):
        assert differences(name) == []


def test_s7_a_reader_in_a_root_leaf_goes_on_in_the_past(monkeypatch: pytest.MonkeyPatch) -> None:
    def seen_behind() -> Any:
        tree: MapleTree[int] = MapleTree(rcu=True)
        for key in range(5):
            tree.store(key, key)
        mas: MaState[int] = MaState(tree, 2)
        mas.walk()
        tree.store_range(0, 2**64 - 1, None)
        return mas.next()

    assert seen_behind() is None
    break_it(monkeypatch, kernel_bugs.s7_root_leaf_stays_alive)
    assert seen_behind() == 3


def test_s8_a_second_preallocation_takes_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    def store_after_two_requests() -> int:
        source = CountingNodes()
        tree: MapleTree[Any] = MapleTree(rcu=True, source=source)
        for key in range(300):
            tree.store_range(10 * key, 10 * key + 9, key)
        mas: MaState[Any] = MaState(tree, 57, 59)
        mas.preallocate("one leaf")
        mas.set_range(5, 1203)
        mas.preallocate("many")
        taken = source.taken
        mas.store_prealloc("many")
        tree.validate()
        return source.taken - taken

    assert store_after_two_requests() == 0
    break_it(monkeypatch, kernel_bugs.s8_content_with_what_is_left)
    with pytest.raises(IndexError):  # where the kernel follows a null pointer
        store_after_two_requests()


def test_s9_a_bulk_load_takes_its_last_node_in_the_middle_of_a_split(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_more_than_was_announced() -> None:
        tree: MapleTree[int] = MapleTree(source=CountingNodes())
        mas: MaState[int] = MaState(tree)
        mas.expected_entries(40)
        for key in range(1000):
            mas.set(2 * key)
            mas.store(key)
        mas.destroy()
        tree.validate()

    load_more_than_was_announced()
    break_it(monkeypatch, kernel_bugs.s9_takes_from_an_empty_stash)
    with pytest.raises(IndexError):
        load_more_than_was_announced()


@pytest.mark.parametrize(
    "bug", [kernel_bugs.right_edge_told_by_the_slot, kernel_bugs.null_is_not_widened_to_the_right]
)
def test_stores_at_the_borders_of_nodes_find_it(
    bug: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    break_it(monkeypatch, bug)
    walk = Walk(1, gaps=True, rcu=True)
    with pytest.raises((Corrupt, AssertionError)):
        sixty_stores(walk)


def sixty_stores(walk: Walk) -> None:
    """Each ends where an inner node ends."""
    for _ in range(60):
        walk.step(RANGE, INNER, "store_range")


@pytest.mark.parametrize(
    ("bug", "file"),
    [
        (kernel_bugs.right_edge_told_by_the_slot, "43_inner_f1.jsonl.gz"),
        (kernel_bugs.reverse_search_passes_its_limit, "51_cursor_f2.jsonl.gz"),
        (kernel_bugs.bulk_load_asks_for_the_worst_case, "47_bulk_f0.jsonl.gz"),
    ],
)
def test_the_kernels_answers_find_it(
    bug: Callable[..., Any], file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_it(monkeypatch, bug)
    replay = Replay()
    assert any(replay.run(op) != kernel for _, op, kernel in recorded(DATA / file))


PARKED = [
    (300, 305, "one entry"),
    (303, 305, "half"),
    (297, 302, "other half"),
    (297, 308, "more than the entry"),
    (255, 402, "more than the node"),
    (0, 2**64 - 1, "the whole tree"),
]


def parked_reader_goes_on() -> None:
    """One task: park a cursor before, in and behind what is stored over, store, and go on: new data must be seen."""
    for store in PARKED:
        first, last, entry = store
        for park, forward in ((29, True), (31, False), (30, True), (30, False)):
            tree: MapleTree[Any] = MapleTree(True, rcu=True)
            for key in range(70):
                tree.store_range(10 * key, 10 * key + 5, key)
            with rcu_reader():
                mas: MaState[Any] = MaState(tree, 10 * park)
                mas.find()
                tree.store_range(*store)
                seen = mas.next() if forward else mas.prev()
                at = mas.index if forward else mas.last
                check(
                    seen is None or seen == tree.load(at), f"{seen!r} at {at} after {store}, parked at {park}"
                )
            check(tree.load(first) == tree.load(last) == entry, f"{entry} is there")
            tree.destroy()
    rcu_barrier()


def test_a_parked_reader_sees_what_is_new() -> None:
    assert failure_of(parked_reader_goes_on, executions=1) is None


@pytest.mark.parametrize("bug", [kernel_bugs.no_dead_mark, kernel_bugs.no_dead_test])
def test_without_dead_nodes_a_parked_reader_sees_what_is_old(
    monkeypatch: pytest.MonkeyPatch, bug: Callable[..., Any]
) -> None:
    break_it(monkeypatch, bug)
    assert failure_of(parked_reader_goes_on, executions=1) is Kind.CHECK


@pytest.mark.parametrize("strategy", ["random", "pct"])
@pytest.mark.parametrize("name", ["split", "spanning", "erase until leaves merge"])
def test_a_node_freed_too_early_is_found(monkeypatch: pytest.MonkeyPatch, name: str, strategy: str) -> None:
    break_it(monkeypatch, kernel_bugs.no_grace_period)
    run = program(next(case for case in CASES if case.name == name))
    assert failure_of(run, strategy=strategy) is Kind.USE_AFTER_FREE


@pytest.mark.parametrize("strategy", ["random", "pct"])
def test_a_node_changed_under_readers_is_found(monkeypatch: pytest.MonkeyPatch, strategy: str) -> None:
    break_it(monkeypatch, kernel_bugs.node_reused)
    run = program(next(case for case in CASES if case.name == "half of an entry"))
    assert failure_of(run, strategy=strategy) in (Kind.CHECK, Kind.USE_AFTER_FREE)


@pytest.mark.parametrize("strategy", ["random", "pct"])
def test_two_boundaries_moved_one_after_the_other_are_found(
    monkeypatch: pytest.MonkeyPatch, strategy: str
) -> None:
    break_it(monkeypatch, kernel_bugs.two_boundaries_in_place)
    assert failure_of(equal_growth, strategy=strategy) is Kind.CHECK


@pytest.mark.parametrize("name", ["more than an entry", "spanning"])
def test_a_reader_that_restarts_for_ever_is_found(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The first meets a dead leaf below the root, the second a dead root."""
    run = program(next(case for case in CASES if case.name == name), (load_reader,))
    break_it(monkeypatch, kernel_bugs.dead_before_reachable)
    assert failure_of(run, strategy="delay", depth=1) is Kind.LIVELOCK


@pytest.mark.parametrize(
    "name", ["more than an entry", pytest.param("spanning", marks=pytest.mark.exhaustive)]
)
def test_no_delay_makes_a_reader_restart_for_ever(name: str) -> None:
    run = program(next(case for case in CASES if case.name == name), (load_reader,))
    assert explore(run, strategy="delay", depth=1, executions=2000).verdict is Verdict.PASSED
