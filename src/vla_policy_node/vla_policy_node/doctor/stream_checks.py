# SPDX-License-Identifier: Apache-2.0
"""Each stream of the robot spec: is it there, of the right type, with a QoS that matches, and often enough?"""

from rclpy.duration import Duration
from rclpy.qos import QoSCompatibility, QoSLivelinessPolicy, QoSProfile, qos_check_compatible

from vla_core.observer import TCP_POSE
from vla_core.robot_spec import CAMERA_NAMES, CameraSpec, JointsSpec, TcpPoseSpec
from vla_core.units import NS_PER_S
from vla_policy_node.doctor.evidence import Evidence, StreamRecord, TopicView
from vla_policy_node.doctor.findings import Finding, Notes
from vla_policy_node.doctor.graph import names_of

_SLOW, _FAR_TOO_SLOW, _FAST = 0.9, 0.6, 1.2


def check_stream(evidence: Evidence, record: StreamRecord) -> list[Finding]:
    """Return the findings about presence, type, QoS and rate of a stream."""
    notes = Notes(subject_of(evidence, record.stream))
    if _check_presence(notes, evidence, record) and _check_type(notes, record):
        _check_qos(notes, record)
        _check_rate(notes, record, stream_settings(evidence, record.stream).rate_hz, evidence.seconds)
    return notes.findings


def subject_of(evidence: Evidence, stream: str) -> str:
    """Return how the table calls a stream."""
    return f"camera {stream}" if stream in evidence.spec.cameras else stream.replace("_", " ")


def qos_problem(publisher: QoSProfile, subscription: QoSProfile) -> str | None:
    """Return which policies keep a publisher and a subscription apart; ``None`` when they match."""
    compatibility, reason = qos_check_compatible(_spelled_out(publisher), _spelled_out(subscription))
    if compatibility != QoSCompatibility.ERROR:
        return None
    return reason.replace("ERROR: ", "").strip().rstrip(";").replace(";", "; ").lower()


def _spelled_out(qos: QoSProfile) -> QoSProfile:
    """Return a profile as discovery tells it: what is not set is infinite there, and zero in a new profile."""
    endless = Duration(nanoseconds=2**63 - 1)
    return QoSProfile(
        depth=max(qos.depth, 1),
        reliability=qos.reliability,
        durability=qos.durability,
        deadline=qos.deadline if qos.deadline.nanoseconds else endless,
        liveliness=QoSLivelinessPolicy.AUTOMATIC if not qos.liveliness else qos.liveliness,
        liveliness_lease_duration=(
            qos.liveliness_lease_duration if qos.liveliness_lease_duration.nanoseconds else endless
        ),
    )


def measured_rate_hz(record: StreamRecord) -> float:
    """Return the mean rate of a stream by arrival, hertz; 0 with fewer than two messages."""
    if record.num_messages < 2:
        return 0.0
    return (record.num_messages - 1) * NS_PER_S / max(int(record.received_ns[-1] - record.received_ns[0]), 1)


def _check_presence(notes: Notes, evidence: Evidence, record: StreamRecord) -> bool:
    view: TopicView = record.view
    source = evidence.spec.tcp_pose.source
    if not view.publishers:
        fix = f"start the driver, or correct the topic of '{record.stream}' in the robot spec (ros2 topic list -t)"
        if record.stream == TCP_POSE and source != "topic":
            fix = f"start tcp_pose_publisher, which makes it from {source} (the launch files do)"
        notes.fail("topic", f"nobody publishes {view.topic}", fix)
        return False
    if len(view.publishers) > 1:
        notes.warn(
            "topic",
            f"{len(view.publishers)} publishers on {view.topic}: {names_of(view.publishers)}",
            "end all but one: the policy would see their messages mixed",
        )
    else:
        notes.ok("topic", f"{view.topic} from {names_of(view.publishers)}")
    return True


def _check_type(notes: Notes, record: StreamRecord) -> bool:
    found = sorted({publisher.type for publisher in record.view.publishers})
    if record.type not in found:
        notes.fail(
            "type",
            f"{', '.join(found)}; the robot spec needs {record.type}",
            "correct the type or the topic in the robot spec"
            if record.stream in CAMERA_NAMES
            else "name a topic of that type in the robot spec",
        )
        return False
    notes.ok("type", record.type)
    return True


def _check_qos(notes: Notes, record: StreamRecord) -> None:
    for publisher in record.view.publishers:
        problem = qos_problem(publisher.qos, record.qos)
        if problem:
            notes.fail("QoS", f"{publisher.node}: {problem}", "change the driver's QoS to match")
            return
    offers = {publisher.qos.reliability.name.lower().replace("_", " ") for publisher in record.view.publishers}
    notes.ok("QoS", f"{', '.join(sorted(offers))}; matches our subscription")


def _check_rate(notes: Notes, record: StreamRecord, wanted_hz: float, seconds: float) -> None:
    found_hz = measured_rate_hz(record)
    if record.num_messages < 2:
        notes.fail(
            "rate",
            f"{record.num_messages} messages in {seconds:g} s, the robot spec says {wanted_hz:g} Hz",
            "there is a publisher that sends nothing: look at the driver's log, and at ROS_DOMAIN_ID and the "
            "shared memory of both machines",
        )
        return
    found = f"{found_hz:.1f} Hz, the robot spec says {wanted_hz:g} Hz"
    if found_hz < _FAR_TOO_SLOW * wanted_hz:
        notes.fail("rate", found, f"raise the driver's rate, or set rate_hz to {_rounded(found_hz)}")
    elif found_hz < _SLOW * wanted_hz:
        notes.warn("rate", found, "messages are lost or late: look at the load, the cable, the network")
    elif found_hz > _FAST * wanted_hz:
        notes.warn("rate", found, f"set rate_hz to {_rounded(found_hz)}, or lower the driver's rate")
    else:
        notes.ok("rate", found)


def _rounded(rate_hz: float) -> str:
    return f"{rate_hz:.0f}" if rate_hz >= 2.0 else f"{rate_hz:.1f}"


def stream_settings(evidence: Evidence, stream: str) -> CameraSpec | TcpPoseSpec | JointsSpec:
    """Return the section of the robot spec about a stream."""
    spec = evidence.spec
    return spec.cameras.get(stream) or (spec.tcp_pose if stream == TCP_POSE else spec.joints)
