# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vla_core.policy_clock import PolicyClock

MS = 1_000_000


def simulate(camera_ms: float, duration_ms: int, phase_ms: float = 7.0, until_ms: float = 1e9) -> list[int]:
    """Return tick times for a 10 Hz policy, a 50 Hz timer and a camera that may fall silent."""
    clock = PolicyClock(period_s=0.1, camera_period_s=camera_ms * 1e-3)
    clock.restart(0)
    pictures = {round((phase_ms + k * camera_ms) * MS) for k in range(int(duration_ms / camera_ms))}
    events = sorted([(t * MS, False) for t in range(0, duration_ms, 20)] + [(t, True) for t in pictures])
    ticks = []
    for t, is_picture in events:
        if not (is_picture and t > until_ms * MS) and clock.is_due(t, is_picture):
            clock.begin_tick(t)
            ticks.append(t)
    return ticks


@pytest.mark.parametrize("camera_ms", [1000 / 60, 1000 / 30, 1000 / 24, 50.0])
def test_the_mean_spacing_is_the_trained_period(camera_ms: float) -> None:
    ticks = simulate(camera_ms, 20_000)
    assert np.mean(np.diff(ticks)) == pytest.approx(100 * MS, rel=0.01)


def test_a_tick_waits_for_its_picture() -> None:
    ticks = simulate(1000 / 30, 5_000)[2:]
    frames = [(t / MS - 7.0) / (1000 / 30) for t in ticks]
    np.testing.assert_allclose(frames, np.round(frames), atol=1e-4)


def test_ticks_go_on_when_the_camera_falls_silent() -> None:
    ticks = simulate(1000 / 30, 5_000, until_ms=1_000)
    assert np.max(np.diff(ticks)) < 150 * MS
    assert ticks[-1] > 4_800 * MS


@given(st.lists(st.integers(1, 500), min_size=2, max_size=50))
def test_missed_ticks_are_skipped_and_never_caught_up(gaps_ms: list[int]) -> None:
    clock, now, ticks = PolicyClock(0.1, 1 / 30), 0, []
    for gap_ms in gaps_ms:
        now += gap_ms * MS
        if clock.is_due(now, picture_arrived=False):
            clock.begin_tick(now)
            ticks.append(now)
    # A tick may come up to one camera period after its place on the grid, the next one in its place.
    assert all(spacing >= (100 - 34) * MS for spacing in np.diff(ticks))


@pytest.mark.parametrize(("spacing_ms", "warns"), [(100, False), (115, False), (150, True), (60, True)])
def test_a_spacing_that_is_not_the_trained_one_is_a_warning(spacing_ms: int, warns: bool) -> None:
    clock = PolicyClock(0.1, 1 / 30)
    assert clock.warning is None
    for k in range(5):
        clock.note_step(k * spacing_ms * MS)
    assert clock.measured_period_s == pytest.approx(spacing_ms * 1e-3)
    assert (clock.warning is not None) == warns
    if warns:
        assert f"{spacing_ms} ms" in str(clock.warning)
        assert "100 ms" in str(clock.warning)


def test_asking_twice_gives_the_same_answer() -> None:
    clock = PolicyClock(0.1, 1 / 30)
    clock.restart(0)
    assert clock.is_due(0, picture_arrived=True)
    assert clock.is_due(0, picture_arrived=True)
    clock.begin_tick(0)
    assert not clock.is_due(0, picture_arrived=True)


@pytest.mark.parametrize(("gap_ms", "breaks"), [(100, False), (200, False), (300, True)])
def test_a_gap_of_several_ticks_breaks_the_history(gap_ms: int, breaks: bool) -> None:
    clock = PolicyClock(0.1, 1 / 30)
    clock.restart(0)
    assert not clock.begin_tick(0)
    assert clock.begin_tick(gap_ms * MS) == breaks
