# SPDX-License-Identifier: Apache-2.0
import pytest

from vla_core.errors import ObservationRefusedError, RefusalKind
from vla_core.supervisor import Reason, State, Supervisor

SECOND = 1_000_000_000
NOW = 10 * SECOND


def running() -> Supervisor:
    supervisor = Supervisor()
    supervisor.activate()
    supervisor.action_timeout_s = 1.0
    supervisor.accept_instruction("open the drawer")
    return supervisor


def test_everything_fine_means_running() -> None:
    verdict = running().verdict(NOW)
    assert (verdict.state, verdict.reason, verdict.may_move) == (State.RUNNING, Reason.NONE, True)


def test_a_new_supervisor_never_allows_motion() -> None:
    supervisor = Supervisor()
    supervisor.accept_instruction("open the drawer")
    assert not supervisor.verdict(NOW).may_move
    assert supervisor.verdict(NOW).reason is Reason.NOT_ACTIVE
    assert supervisor.arm() is not None


REFUSAL = ObservationRefusedError("static", RefusalKind.FROZEN, "camera 'static' has sent the same picture")


@pytest.mark.parametrize(
    ("happen", "state", "reason"),
    [
        (lambda s: s.deactivate(), State.INACTIVE, Reason.NOT_ACTIVE),
        (lambda s: s.press_estop(True), State.STOPPED, Reason.ESTOP),
        (lambda s: s.disarm(), State.STOPPED, Reason.DISARMED),
        (lambda s: s.note_failure(Reason.INFERENCE_DEAD, "dead"), State.STOPPED, Reason.INFERENCE_DEAD),
        (lambda s: s.note_failure(Reason.INFERENCE_ERROR, "error"), State.STOPPED, Reason.INFERENCE_ERROR),
        (lambda s: s.refuse_instruction("too long"), State.IDLE, Reason.INSTRUCTION_REFUSED),
        (lambda s: s.accept_instruction(""), State.IDLE, Reason.INSTRUCTION_EMPTY),
        (lambda s: s.note_observation(REFUSAL), State.HOLDING, Reason.STREAM_FROZEN),
        (lambda s: s.note_failure(Reason.INTERNAL_ERROR, "a bug"), State.STOPPED, Reason.INTERNAL_ERROR),
        (lambda s: s.note_action("nan"), State.HOLDING, Reason.ACTION_NOT_FINITE),
        (lambda s: s.note_progress(NOW - 2 * SECOND), State.HOLDING, Reason.ACTION_LATE),
    ],
)
def test_each_cause_stops_the_arm_with_its_own_reason(happen: object, state: State, reason: Reason) -> None:
    supervisor = running()
    happen(supervisor)  # type: ignore[operator]
    verdict = supervisor.verdict(NOW)
    assert (verdict.state, verdict.reason) == (state, reason)
    assert not verdict.may_move
    assert verdict.detail


def test_the_emergency_stop_outlasts_everything_but_arm() -> None:
    supervisor = running()
    supervisor.press_estop(True)
    supervisor.accept_instruction("close the drawer")
    supervisor.note_observation(None)
    supervisor.press_estop(False)
    for happen in (supervisor.deactivate, supervisor.begin, supervisor.activate):
        happen()
    assert supervisor.verdict(NOW).reason is Reason.ESTOP
    supervisor.accept_instruction("close the drawer")
    assert supervisor.arm() is None
    assert supervisor.verdict(NOW).may_move


def test_a_pressed_button_cannot_be_armed_away() -> None:
    supervisor = running()
    supervisor.press_estop(True)
    assert "still pressed" in str(supervisor.arm())
    assert supervisor.verdict(NOW).reason is Reason.ESTOP


def test_a_refusal_is_news_once() -> None:
    supervisor = running()
    told = [supervisor.note_observation(refusal) for refusal in (None, REFUSAL, REFUSAL, None, REFUSAL)]
    assert told == [False, True, False, False, True]


def test_an_action_in_time_ends_the_waiting() -> None:
    supervisor = running()
    supervisor.note_progress(NOW - 2 * SECOND)
    assert supervisor.is_too_old(NOW - 2 * SECOND, NOW)
    supervisor.note_progress(NOW - SECOND // 2)
    assert supervisor.verdict(NOW).may_move


def test_a_dead_inference_thread_cannot_be_armed_away() -> None:
    supervisor = running()
    supervisor.note_failure(Reason.INFERENCE_DEAD, "the inference thread has ended")
    assert "configure" in str(supervisor.arm())
    assert not supervisor.verdict(NOW).may_move


def test_only_a_different_sentence_is_new() -> None:
    supervisor = running()
    assert not supervisor.accept_instruction("open the drawer")
    assert supervisor.accept_instruction("close the drawer")
    supervisor.refuse_instruction("too long")
    assert supervisor.accept_instruction("close the drawer")
    assert supervisor.verdict(NOW).may_move
