"""A bug of one's own: one patch, one workload, and the check that breaks.

Here an unlink forgets the rmap lock: the interval tree changes under the feet of a walk.
"""

from __future__ import annotations

from sugarbush.concurrency import Settings, explore
from sugarbush.stress.kit.checks import model_observers
from sugarbush.stress.kit.patches import applied, patch
from sugarbush.stress.workloads.brk import trim_under_compaction
from sugarbush.vm.objects.mm_types import VmArea
from sugarbush.vm.reverse import anon_vma, anon_vma_chain, interval_tree


@patch(anon_vma_chain.unlink_anon_vmas)
def unlink_anon_vmas(vma: VmArea) -> None:
    """As vm.reverse.anon_vma_chain.unlink_anon_vmas, but nobody is kept out of the tree."""
    links = list(vma.anon_vma_chain)
    for avc in links:
        interval_tree.interval_tree_remove(avc)
    vma.anon_vma_chain.clear()
    if vma.anon_vma is not None:
        vma.anon_vma.num_active_vmas -= 1
        vma.anon_vma = None
    for avc in links:
        tree = avc.anon_vma
        anon_vma.avc_cache.free(avc)
        if not tree.rb_root:
            anon_vma.put_anon_vma(tree)


with applied([unlink_anon_vmas]):
    result = explore(trim_under_compaction, executions=500, settings=Settings(observers=model_observers))

(witness,) = result.failures
print(f"found in execution {witness.execution}: {witness.failure.headline}")
print(f"schedule: {witness.schedule}")
