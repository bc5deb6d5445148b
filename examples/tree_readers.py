"""Lock-free readers of a maple tree beside a writer, and what one forgotten line does to them.

    python examples/tree_readers.py

A store in RCU mode exchanges nodes: it publishes the new one, then marks the old one dead, then frees it after a
grace period. The program walks the tree while a writer stores over half of it. As it is, three hundred schedules are
clean. Freed at once instead, the old nodes are found to be used after they were freed, with the steps that lead there.
"""

from unittest.mock import patch

from sugarbush.concurrency import check, explore, join, rcu_barrier, rcu_reader, spawn
from sugarbush.tree import MapleTree, MaState
from sugarbush.tree.core.alloc import SlabNodes


def program() -> None:
    """Sixty ranges; one writer stores over thirty of them while a reader walks by."""
    tree: MapleTree[str] = MapleTree(track_gaps=True, rcu=True)
    for key in range(60):
        tree[10 * key : 10 * key + 5] = "old"

    def writer() -> None:
        tree[152:449] = "new"

    def reader() -> None:
        with rcu_reader():
            mas = MaState(tree)
            while (entry := mas.find()) is not None:
                check(entry == "old" or mas.index >= 152, "only the new range has the new entry")

    join(spawn(writer), spawn(reader))
    tree.validate()
    tree.destroy()
    rcu_barrier()


def main() -> None:
    """Explore the program as it is, then without grace periods."""
    tree: MapleTree[str] = MapleTree(track_gaps=True)
    for key in range(20):
        tree[10 * key : 10 * key + 5] = f"entry {key}"
    print(tree, tree.dump(hexadecimal=True), sep="\n")

    result = explore(program, executions=300, seed=1)
    print(f"as it is: {result.verdict} after {result.executions} executions, {len(result.failures)} failures")

    with patch.object(SlabNodes, "free_rcu", SlabNodes.free):
        result = explore(program, executions=300, seed=1)
    witness = result.failures[0]
    print(f"freed at once: {result.verdict} in execution {witness.execution + 1}")
    print(witness.failure.headline, witness.failure.detail, sep="\n")


if __name__ == "__main__":
    main()
