# SPDX-License-Identifier: Apache-2.0
"""Kinematics in the node: what is missing is a sentence at configure; the TCP pose can come from the joints."""

import copy
import importlib.util
import time
from pathlib import Path

import numpy as np
import pytest
from closed_loop import CONTRACT, SIM_ARM, Probe, SwingingPolicy, closed_loop, spinning, wait_until
from geometry_msgs.msg import PoseStamped, TransformStamped
from interface_bench import URDF, listening, spec_with
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, qos_profile_sensor_data
from std_msgs.msg import String

from vla_core.codecs.pose_stamped import decode_pose
from vla_core.codecs.stamp import stamp_ns_of
from vla_core.errors import ConfigError
from vla_core.geometry import angle_rad, distance_m
from vla_policy_node.policy_node import PolicyNode
from vla_policy_node.tcp_pose_publisher import TcpPosePublisher

pytestmark = pytest.mark.ros


def configure(spec: str) -> tuple[str, str]:
    """Try to configure a node; return the transition's result and what the status says."""
    overrides = [Parameter("robot_spec", value=spec)]
    node, listener = PolicyNode(lambda *_: SwingingPolicy(CONTRACT), parameter_overrides=overrides), Probe()
    with spinning(listener):
        try:
            wait_until(lambda: listener.status is not None, "a status")
            listener.statuses.clear()
            result = node.trigger_configure().name
            wait_until(lambda: listener.status is not None, "a status")
            return result, listener.statuses[-1].detail
        finally:
            node.destroy_node()


JOINTS = ("interface: target_pose", "interface: forward_position")
TOPIC = ("urdf: sim_arm.urdf", "urdf_topic: robot_description")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            [JOINTS, (SIM_ARM.read_text().partition("\nkinematics:\n")[2], ""), ("\nkinematics:\n", "")],
            "kinematics",
        ),
        ([JOINTS, ("urdf: sim_arm.urdf", "urdf: nowhere.urdf")], "nowhere.urdf does not exist"),
        ([JOINTS, ("tip_link: hand", "tip_link: flange")], "tip_link 'flange' is no link"),
        ([JOINTS, TOPIC], "nothing was heard on '/robot_description' in 5 s"),
    ],
)
def test_a_joint_interface_without_what_it_needs_is_refused(
    ros: None, tmp_path: Path, changes: list[tuple[str, str]], words: str
) -> None:
    result, why = configure(spec_with(tmp_path, *changes))
    assert result == TransitionCallbackReturn.FAILURE.name
    assert words in why


def test_the_urdf_may_come_from_its_latched_topic(robot: Probe, tmp_path: Path) -> None:
    latched = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
    publisher = robot.create_publisher(String, "robot_description", latched)
    publisher.publish(String(data=URDF.read_text()))
    try:
        with closed_loop(robot, robot_spec=spec_with(tmp_path, JOINTS, TOPIC)) as loop:
            loop.run()
    finally:
        robot.destroy_publisher(publisher)


def test_the_pose_by_forward_kinematics_is_that_of_the_simulator(robot: Probe, tmp_path: Path) -> None:
    spec = spec_with(tmp_path, ("topic: tcp_pose", "topic: computed/tcp_pose\n  source: joints"))
    node = TcpPosePublisher(parameter_overrides=[Parameter("robot_spec", value=spec)])
    with (
        listening(robot, PoseStamped, "tcp_pose", qos_profile_sensor_data) as wanted,
        listening(robot, PoseStamped, "computed/tcp_pose") as found,
        closed_loop(robot) as loop,
        spinning(node),
    ):
        loop.run()
        wait_until(lambda: len(found) > 100, "computed poses")
    told = {stamp_ns_of(message): decode_pose(message, "base_link") for message in list(wanted)}
    pairs = [
        (told[stamp_ns_of(message)], decode_pose(message, "base_link"))
        for message in list(found)
        if stamp_ns_of(message) in told
    ]
    assert len(pairs) > 50
    assert max(distance_m(*pair) for pair in pairs) < 1e-6
    assert max(angle_rad(*pair) for pair in pairs) < 1e-6


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ([], "source is 'topic'"),
        ([("topic: tcp_pose", "topic: tcp_pose\n  source: joints"), ("urdf: sim", "urdf: no")], "does not exist"),
    ],
)
def test_a_publisher_of_the_pose_that_cannot_work_says_why(
    ros: None, tmp_path: Path, changes: list[tuple[str, str]], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        TcpPosePublisher(parameter_overrides=[Parameter("robot_spec", value=spec_with(tmp_path, *changes))])


def test_without_tf_the_publisher_of_the_pose_says_so(ros: None, tmp_path: Path) -> None:
    if importlib.util.find_spec("tf2_ros") is not None:
        pytest.skip("tf2_ros is installed here")
    spec = spec_with(tmp_path, ("topic: tcp_pose", "topic: tcp_pose\n  source: tf"))
    with pytest.raises(ConfigError, match="needs the ROS package tf2_ros"):
        TcpPosePublisher(parameter_overrides=[Parameter("robot_spec", value=spec)])


def test_the_pose_from_tf_is_the_transform_and_ends_with_it(robot: Probe, tmp_path: Path) -> None:
    tf2_ros = pytest.importorskip("tf2_ros", reason="tf2_ros is not installed here")
    spec = spec_with(tmp_path, ("topic: tcp_pose", "topic: from_tf/tcp_pose\n  source: tf"))
    node = TcpPosePublisher(parameter_overrides=[Parameter("robot_spec", value=spec)])
    broadcaster = tf2_ros.TransformBroadcaster(robot)
    with (
        listening(robot, PoseStamped, "tcp_pose", qos_profile_sensor_data) as wanted,
        listening(robot, PoseStamped, "from_tf/tcp_pose") as found,
        spinning(node),
    ):

        def tell() -> None:
            """Pass on what the robot measures as a transform over a link in between."""
            pose = wanted[-1]
            flange, tcp = (TransformStamped(header=copy.deepcopy(pose.header)) for _ in range(2))
            flange.child_frame_id = tcp.header.frame_id = "flange"
            tcp.child_frame_id = "tcp"
            position, shift = pose.pose.position, flange.transform.translation
            shift.x, shift.y, shift.z = position.x, position.y, position.z
            tcp.transform.rotation = pose.pose.orientation
            flange.header.frame_id = "base_link"
            broadcaster.sendTransform([flange, tcp])

        wait_until(lambda: len(wanted) > 5, "the TCP pose")
        timer = robot.create_timer(0.01, tell)
        wait_until(lambda: len(found) > 20, "poses from tf")
        robot.destroy_timer(timer)
        num_found = -1
        while num_found != len(found):  # what was under way arrives; then there is no more
            num_found = len(found)
            time.sleep(0.3)
    told = {stamp_ns_of(message): decode_pose(message, "base_link") for message in list(wanted)}
    stamps_ns = [stamp_ns_of(message) for message in found]
    assert len(set(stamps_ns)) == len(stamps_ns)
    for message in found:
        assert distance_m(decode_pose(message, "base_link"), told[stamp_ns_of(message)]) < 1e-9


def test_faster_joint_states_give_poses_at_the_rate_of_the_spec(robot: Probe, tmp_path: Path) -> None:
    changes = ("topic: tcp_pose\n  rate_hz: 100.0", "topic: computed/tcp_pose\n  source: joints\n  rate_hz: 40.0")
    node = TcpPosePublisher(parameter_overrides=[Parameter("robot_spec", value=spec_with(tmp_path, changes))])
    with listening(robot, PoseStamped, "computed/tcp_pose") as found, spinning(node):
        wait_until(lambda: len(found) > 60, "computed poses")
    stamps_s = np.array([stamp_ns_of(message) for message in found]) * 1e-9
    # The joint states come at 100 Hz, or more slowly on a machine that is busy.
    assert np.mean(np.diff(stamps_s)) == pytest.approx(1.0 / 40.0, rel=0.2)
