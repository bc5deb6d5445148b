"""Schedules: the text form, and what is wrong with a bad one."""

from __future__ import annotations

import pytest
from concurrency_programs import lost_update
from hypothesis import given
from hypothesis import strategies as st

from sugarbush.concurrency import BadSchedule, Schedule, replay
from sugarbush.concurrency.lowlevel import Datum, Segment

choices = st.one_of(
    st.builds(Segment, st.integers(0, 10**9 - 1), st.integers(0, 10**12 - 1)),
    st.builds(Datum, st.integers(0, 10**9 - 1)),
)


@given(st.lists(choices).map(tuple).map(Schedule))
def test_text_form_says_everything(schedule: Schedule) -> None:
    assert Schedule.parse(str(schedule)) == schedule


def test_text_form_is_short_and_as_documented() -> None:
    schedule = Schedule((Segment(0, 12), Segment(1, 1), Datum(1), Segment(0, 5)))
    assert str(schedule) == "s1:0*12,1,=1,0*5"
    assert schedule.switches == 2


@given(st.text(max_size=40))
def test_any_text_is_a_schedule_or_one_clear_sentence(text: str) -> None:
    for attempt in (text, "s1:" + text):
        try:
            schedule = Schedule.parse(attempt)
        except BadSchedule as error:
            said = str(error)
            assert "\n" not in said
            assert len(said) < 320
        else:
            assert Schedule.parse(str(schedule)) == schedule


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a schedule starts with 's1:', not ''"),
        ("s2:0*3", "a schedule starts with 's1:', not 's2:0*3'"),
        ("s1:0*3,x", "'x' is no choice of a schedule: write TASK, TASK*LENGTH or =VALUE"),
        ("s1:0*3,", "'' is no choice of a schedule: write TASK, TASK*LENGTH or =VALUE"),
        ("s1:0*-3", "'0*-3' is no choice of a schedule: write TASK, TASK*LENGTH or =VALUE"),
        ("s1:٣", "'٣' is no choice of a schedule: write TASK, TASK*LENGTH or =VALUE"),
    ],
)
def test_bad_texts_are_refused_in_words(text: str, message: str) -> None:
    with pytest.raises(BadSchedule) as refused:
        Schedule.parse(text)
    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("s1:", "the schedule does not fit|the schedule ends"),
        ("s1:0*1000", "nothing fails|does not fit|cannot run there"),
        ("s1:0*1,7*3", "wants task 7 at operation 1, but it cannot run there"),
        ("s1:0*1,1*1", "the schedule ends after 2 operations, but the program goes on"),
        ("s1:0,1*3,2*3,0*2,=1", "does not fit the program"),
        ("s1:0*0,0*9", "does not fit|wants task|ends after"),
    ],
)
def test_a_schedule_that_does_not_fit_is_refused_in_words(text: str, message: str) -> None:
    with pytest.raises(BadSchedule, match=message):
        replay(lost_update, text)
