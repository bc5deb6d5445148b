"""The tree as a Python mapping."""

import pytest

from sugarbush.tree import MAX, ZERO_ENTRY, BadKey, BadRange, MapleTree, StaleState, Unset


def sample() -> MapleTree[str]:
    tree: MapleTree[str] = MapleTree()
    tree[10:19] = "a"
    tree[20:29] = "b"
    tree[40] = "c"
    return tree


def test_a_slice_stores_both_ends() -> None:
    tree = sample()
    assert list(tree) == [(10, 19, "a"), (20, 29, "b"), (40, 40, "c")]
    tree[15:24] = "d"
    assert list(tree) == [(10, 14, "a"), (15, 24, "d"), (25, 29, "b"), (40, 40, "c")]


def test_an_open_slice_reaches_the_ends() -> None:
    tree = sample()
    tree[25:] = "z"
    assert tree[MAX] == "z"
    tree[:] = None
    assert not tree
    assert len(tree) == 0


def test_reading_a_slice_gives_what_overlaps_it() -> None:
    assert list(sample()[19:39]) == [(10, 19, "a"), (20, 29, "b")]


def test_an_unset_key_is_a_key_error() -> None:
    tree = sample()
    assert tree[19] == "a"
    with pytest.raises(KeyError, match="30 is not set"):
        tree[30]
    with pytest.raises(Unset):
        del tree[30]


def test_del_unsets_one_key_or_a_range() -> None:
    tree = sample()
    del tree[15]
    del tree[25:99]
    assert list(tree) == [(10, 14, "a"), (16, 19, "a"), (20, 24, "b")]


def test_membership() -> None:
    tree = sample()
    assert 10 in tree
    assert 9 not in tree
    assert "10" not in tree
    assert -1 not in tree


def test_equality_is_by_content() -> None:
    tree, other = sample(), MapleTree[str](track_gaps=True, rcu=True)
    assert tree != other
    for first, last, entry in reversed(list(tree)):
        other[first:last] = entry
    assert tree == other
    assert tree != "a tree"


def test_equal_neighbours_are_not_merged() -> None:
    tree: MapleTree[str] = MapleTree()
    tree[0:4] = "a"
    tree[5:9] = "a"
    assert len(tree) == 2


def test_repr_shows_the_first_ranges() -> None:
    tree = sample()
    assert repr(tree) == "<MapleTree {10..19: 'a', 20..29: 'b', 40..40: 'c'}>"
    tree[50] = tree[60] = "x"
    assert repr(tree).endswith(", ...}>")
    assert repr(MapleTree()) == "<MapleTree {}>"


def test_the_zero_entry_reads_as_unset() -> None:
    tree = sample()
    tree[20:29] = ZERO_ENTRY  # type: ignore[assignment]
    assert 25 not in tree
    assert [entry for _, _, entry in tree] == ["a", "c"]


@pytest.mark.parametrize("key", [-1, MAX + 1, 1.5, "1", None, True])
def test_a_key_must_be_an_integer_in_range(key: object) -> None:
    tree = sample()
    with pytest.raises(BadKey):
        tree[key] = "x"  # type: ignore[index]
    assert tree == sample()


def test_a_slice_has_no_step_and_does_not_end_before_it_begins() -> None:
    tree = sample()
    with pytest.raises(BadRange, match="step"):
        tree[0:9:2] = "x"
    with pytest.raises(BadRange, match="after its end"):
        tree[9:0] = "x"
    assert tree == sample()


def test_changing_the_tree_while_iterating_is_an_error() -> None:
    tree = sample()
    ranges = iter(tree)
    first, last, _ = next(ranges)
    tree[first:last] = "x"
    with pytest.raises(StaleState, match="reset or pause"):
        next(ranges)


def test_in_rcu_mode_iteration_goes_on_over_changes() -> None:
    tree: MapleTree[int] = MapleTree(rcu=True)
    for key in range(100):
        tree[3 * key] = key
    for first, last, entry in tree:
        tree[first:last] = entry + 1000
        tree[first + 1] = None
    assert [entry for _, _, entry in tree] == list(range(1000, 1100))
