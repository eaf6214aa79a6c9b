# SPDX-License-Identifier: Apache-2.0
import pytest

from vla_core.errors import ObservationRefusedError, RefusalKind
from vla_core.supervisor import Reason, State, Supervisor


def running() -> Supervisor:
    supervisor = Supervisor()
    supervisor.is_active = True
    assert supervisor.arm() is None
    supervisor.accept_instruction("open the drawer")
    return supervisor


def test_everything_fine_means_running() -> None:
    verdict = running().verdict()
    assert (verdict.state, verdict.reason, verdict.may_move) == (State.RUNNING, Reason.NONE, True)


def test_a_new_supervisor_never_allows_motion() -> None:
    supervisor = Supervisor()
    supervisor.accept_instruction("open the drawer")
    assert not supervisor.verdict().may_move
    assert supervisor.arm() is not None
    supervisor.is_active = True
    assert supervisor.verdict().reason is Reason.DISARMED


REFUSAL = ObservationRefusedError("static", RefusalKind.FROZEN, "camera 'static' has sent the same picture")


@pytest.mark.parametrize(
    ("happen", "state", "reason"),
    [
        (lambda s: setattr(s, "is_active", False), State.INACTIVE, Reason.NOT_ACTIVE),
        (lambda s: s.estop(), State.STOPPED, Reason.ESTOP),
        (lambda s: s.disarm(), State.STOPPED, Reason.DISARMED),
        (lambda s: s.note_failure(Reason.INFERENCE_DEAD, "dead"), State.STOPPED, Reason.INFERENCE_DEAD),
        (lambda s: s.note_failure(Reason.INFERENCE_ERROR, "error"), State.STOPPED, Reason.INFERENCE_ERROR),
        (lambda s: s.refuse_instruction("too long"), State.IDLE, Reason.INSTRUCTION_REFUSED),
        (lambda s: s.accept_instruction(""), State.IDLE, Reason.INSTRUCTION_EMPTY),
        (lambda s: s.note_observation(REFUSAL), State.HOLDING, Reason.STREAM_FROZEN),
        (lambda s: s.note_action(Reason.ACTION_NOT_FINITE, "nan"), State.HOLDING, Reason.ACTION_NOT_FINITE),
    ],
)
def test_each_cause_stops_the_arm_with_its_own_reason(happen: object, state: State, reason: Reason) -> None:
    supervisor = running()
    happen(supervisor)  # type: ignore[operator]
    verdict = supervisor.verdict()
    assert (verdict.state, verdict.reason) == (state, reason)
    assert not verdict.may_move
    assert verdict.detail


def test_the_emergency_stop_outlasts_everything_but_arm() -> None:
    supervisor = running()
    supervisor.estop()
    supervisor.accept_instruction("close the drawer")
    supervisor.note_observation(None)
    assert supervisor.verdict().reason is Reason.ESTOP
    assert supervisor.arm() is None
    assert supervisor.verdict().may_move


def test_a_dead_inference_thread_cannot_be_armed_away() -> None:
    supervisor = running()
    supervisor.note_failure(Reason.INFERENCE_DEAD, "the inference thread has ended")
    assert "configure" in str(supervisor.arm())
    assert not supervisor.verdict().may_move


def test_only_a_different_sentence_is_new() -> None:
    supervisor = running()
    assert not supervisor.accept_instruction("open the drawer")
    assert supervisor.accept_instruction("close the drawer")
    supervisor.refuse_instruction("too long")
    assert supervisor.accept_instruction("close the drawer")
    assert supervisor.verdict().may_move
