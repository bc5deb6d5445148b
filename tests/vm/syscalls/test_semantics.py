"""What system calls do, compared with a plain model of pages, one task at a time."""

from __future__ import annotations

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule
from vm_world import HEAP, Action, Beside, actions, assert_clean, run_alone

from sugarbush.concurrency import check, join, spawn
from sugarbush.concurrency.lowlevel import quiet
from sugarbush.vm.access.user import user_load, user_store
from sugarbush.vm.objects.layout import PAGE_SIZE, TASK_SIZE, VM_DATA_FLAGS, VM_MAYWRITE, VM_WRITE
from sugarbush.vm.syscalls.mmap import do_mmap
from sugarbush.vm.vmas.era import ERAS
from sugarbush.vm.vmas.exit import exit_mmap
from sugarbush.vm.vmas.machine import boot
from sugarbush.vm.vmas.munmap import do_munmap

FRAMES = 80
QUICK = settings(
    max_examples=50,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
)


class OneProcess(RuleBasedStateMachine):
    """Outside any runtime: the model is an ordinary Python object."""

    def __init__(self) -> None:
        super().__init__()
        self.machine = boot(FRAMES)
        self.process = Beside(self.machine)

    @rule(action=actions)
    def act(self, action: Action) -> None:
        self.process.do(action)

    def teardown(self) -> None:
        self.process.read_all()
        self.process.end()
        assert len(self.machine.memory.free_list) == FRAMES


TestOneProcess = OneProcess.TestCase
TestOneProcess.settings = QUICK


@QUICK
@given(script=st.lists(actions, max_size=25), era=st.sampled_from(sorted(ERAS)))
def test_one_process_inside_a_runtime_with_every_check(script: list[Action], era: str) -> None:
    """In every era."""

    def program() -> None:
        process = Beside(boot(FRAMES, era))
        for action in script:
            process.do(action)
        process.read_all()
        process.end()

    assert_clean(run_alone(program))


@QUICK
@given(script=st.lists(st.tuples(st.booleans(), actions), max_size=25))
def test_two_processes_do_not_see_each_other(script: list[tuple[bool, Action]]) -> None:
    def program() -> None:
        machine = boot(FRAMES)
        pair = Beside(machine, "cc1"), Beside(machine, "as")
        for which, action in script:
            pair[which].do(action)
            pair[not which].compare()
        for process in pair:
            process.read_all()
            process.end()

    assert_clean(run_alone(program))


@settings(parent=QUICK, max_examples=100)
@given(
    script=st.lists(st.tuples(st.booleans(), actions), max_size=25),
    faults=st.integers(1, 12),
    seed=st.integers(0, 10_000),
)
def test_failing_allocations_change_nothing(
    script: list[tuple[bool, Action]], faults: int, seed: int
) -> None:
    """Each allocation may fail, by choice: of VMAs, links, anon_vmas, tree nodes, page tables and pages."""

    def program() -> None:
        machine = boot(FRAMES)
        pair = Beside(machine, "cc1", may_fail=True), Beside(machine, "as", may_fail=True)
        for which, action in script:
            pair[which].do(action)
        for process in pair:
            process.end()

    assert_clean(run_alone(program, faults=faults, seed=seed))


@QUICK
@given(script=st.lists(actions, max_size=25), frames=st.integers(0, 6))
def test_running_out_of_frames_changes_nothing(script: list[Action], frames: int) -> None:
    def program() -> None:
        process = Beside(boot(frames), may_fail=True)
        for action in script:
            process.do(action)
        process.read_all()
        process.end()

    assert_clean(run_alone(program))


def test_what_is_left_of_a_mapping_stays_the_same_vma() -> None:
    """What munmap cuts off at either border is the new VMA, as in v6.1."""
    machine = boot(FRAMES)
    mm = machine.add_mm("cc1", HEAP)
    do_mmap(mm, HEAP, 6 * PAGE_SIZE, VM_DATA_FLAGS)
    with quiet():
        original = mm.mm_mt.load(HEAP)
    do_munmap(mm, HEAP, PAGE_SIZE)
    do_munmap(mm, HEAP + 5 * PAGE_SIZE, PAGE_SIZE)
    do_munmap(mm, HEAP + 3 * PAGE_SIZE, PAGE_SIZE)
    with quiet():
        assert mm.mm_mt.load(HEAP + PAGE_SIZE) is original
        assert mm.mm_mt.load(HEAP + 4 * PAGE_SIZE) is not original
    assert mm.map_count == 2


def test_the_last_page_of_user_space_gives_its_page_table_back() -> None:
    machine = boot(FRAMES)
    mm = machine.add_mm("cc1", HEAP)
    top = do_mmap(mm, None, PAGE_SIZE, VM_DATA_FLAGS)
    assert top == TASK_SIZE - PAGE_SIZE
    user_store(mm, top, "token")
    do_munmap(mm, top, PAGE_SIZE)
    assert not mm.pmds


def test_what_may_be_written_may_be_read_on_any_cpu() -> None:
    """As on x86-64; another CPU than the one that stored has no translation yet."""

    def program() -> None:
        machine = boot(FRAMES)
        mm = machine.add_mm("cc1", HEAP)
        address = do_mmap(mm, None, PAGE_SIZE, VM_WRITE | VM_MAYWRITE)
        user_store(mm, address, "written")
        (read,) = join(spawn(user_load, mm, address))
        check(read == "written", "the load ends")
        exit_mmap(mm)
        machine.remove_mm(mm)

    assert_clean(run_alone(program))
