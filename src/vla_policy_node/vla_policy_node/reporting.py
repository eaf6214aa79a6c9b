# SPDX-License-Identifier: Apache-2.0
"""What people and monitors see: ``~/status``, ``~/action_chunk`` and ``/diagnostics``."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node
from rclpy.qos import QoSDurabilityPolicy, QoSProfile
from rclpy.time import Time
from std_msgs.msg import Header

from vla_core.latency import Stage
from vla_core.supervisor import State, Verdict
from vla_core.types import ActionChunk
from vla_msgs.msg import ActionChunk as ActionChunkMessage
from vla_msgs.msg import PolicyStatus
from vla_policy_node.control_loop import ControlLoop

_LEVELS = {
    State.INACTIVE: DiagnosticStatus.OK,
    State.IDLE: DiagnosticStatus.OK,
    State.RUNNING: DiagnosticStatus.OK,
    State.HOLDING: DiagnosticStatus.WARN,
    State.STOPPED: DiagnosticStatus.ERROR,
}


class Reporter:
    """Publishes what the control loop does.

    Attributes:
        on_published: Told the resolved topic and the message of everything that is published.

    Args:
        node: The node whose topics these are.
    """

    def __init__(self, node: Node) -> None:
        self.on_published: Callable[[str, Any], None] = lambda topic, message: None
        latched = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
        self._node = node
        self._status = node.create_publisher(PolicyStatus, "~/status", latched)
        self._chunks = node.create_publisher(ActionChunkMessage, "~/action_chunk", 1)
        self._diagnostics = node.create_publisher(DiagnosticArray, "/diagnostics", 1)

    def publish_inactive(self, now: Time, detail: str) -> None:
        """Tell that there is no control loop, and why."""
        self._publish(
            self._status,
            PolicyStatus(
                header=_header(now, ""),
                state=PolicyStatus.STATE_INACTIVE,
                reason=PolicyStatus.REASON_NOT_ACTIVE,
                detail=detail,
                inference_ms=float("nan"),
                latency_p50_ms=float("nan"),
                latency_p95_ms=float("nan"),
                policy_rate_hz=float("nan"),
                trained_rate_hz=float("nan"),
            ),
        )

    def publish_status(self, now: Time, verdict: Verdict, loop: ControlLoop, warnings: Sequence[str]) -> None:
        """Tell the state, its reason, ages, rates and latencies."""
        ages_ms = loop.observer.ages_ms(now.nanoseconds)
        measured_s = loop.clock.measured_period_s
        self._publish(
            self._status,
            PolicyStatus(
                header=_header(now, ""),
                state=int(verdict.state),
                reason=int(verdict.reason),
                detail=verdict.detail,
                warnings=list(warnings),
                instruction=loop.supervisor.instruction or "",
                command_enabled=loop.driver.output.command_enabled,
                policy_is_trained=loop.contract.is_trained,
                stream_names=list(ages_ms),
                stream_ages_ms=[float(age) for age in ages_ms.values()],
                inference_ms=loop.last_inference_ms,
                latency_p50_ms=loop.latency.percentile_ms(Stage.TOTAL, 50),
                latency_p95_ms=loop.latency.percentile_ms(Stage.TOTAL, 95),
                policy_rate_hz=1.0 / measured_s if measured_s else float("nan"),
                trained_rate_hz=1.0 / loop.contract.period_s,
            ),
        )

    def publish_diagnostics(self, now: Time, verdict: Verdict, loop: ControlLoop, warnings: Sequence[str]) -> None:
        """Tell guard counters, spacing, what is unusual, and the latency of each stage."""
        warning = loop.clock.warning or "; ".join(warnings)
        level = _LEVELS[verdict.state]
        if warning and level == DiagnosticStatus.OK:
            level = DiagnosticStatus.WARN
        trained = "" if loop.contract.is_trained else " (UNTRAINED policy: random weights)"
        values: dict[str, object] = {
            f"guard.{stage}": count for stage, count in loop.driver.controller.guard.interventions.items()
        }
        values |= {
            f"latency.{stage.value}.p{percent}_ms": f"{loop.latency.percentile_ms(stage, percent):.2f}"
            for stage in Stage
            for percent in (50, 95, 99)
        }
        values |= {f"warning.{number}": text for number, text in enumerate(warnings)}
        values |= {"actions": loop.driver.num_actions, "inference.skipped": loop.num_skipped}
        status = DiagnosticStatus(
            level=level,
            name=f"{self._node.get_fully_qualified_name().lstrip('/')}: policy",
            message=(verdict.detail or warning or verdict.state.name.lower()) + trained,
            hardware_id=loop.spec.name,
            values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
        )
        self._publish(self._diagnostics, DiagnosticArray(header=_header(now, ""), status=[status]))

    def publish_chunk(self, instruction: str, chunk: ActionChunk, inference_ms: float, loop: ControlLoop) -> None:
        """Tell what the model said, before schedule and guard."""
        space, spec = loop.contract.action_space, loop.spec
        normalization, standardization = space.normalization, space.standardization
        self._publish(
            self._chunks,
            ActionChunkMessage(
                header=_header(
                    Time(nanoseconds=chunk.stamp_ns), spec.base_frame if space.frame == "base" else spec.tcp_frame
                ),
                instruction=instruction,
                period_s=chunk.period_s,
                chunk_size=len(chunk.actions),
                action_frame=space.frame,
                actions=np.asarray(chunk.actions, dtype=np.float32).ravel().tolist(),
                translation_m=space.translation_m,
                rotation_rad=space.rotation_rad,
                normalization_low=list(normalization.low) if normalization else [],
                normalization_high=list(normalization.high) if normalization else [],
                standardization_mean=list(standardization.mean) if standardization else [],
                standardization_std=list(standardization.std) if standardization else [],
                mu_law=space.mu_law or 0.0,
                inference_ms=inference_ms,
            ),
        )

    def _publish(self, publisher: Any, message: Any) -> None:
        publisher.publish(message)
        self.on_published(publisher.topic_name, message)


def _header(stamp: Time, frame_id: str) -> Header:
    return Header(stamp=stamp.to_msg(), frame_id=frame_id)
