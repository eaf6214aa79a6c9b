# SPDX-License-Identifier: Apache-2.0
"""The SROS 2 policy in docs/ allows the policy node exactly what it opens."""

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from closed_loop import SIM_ARM, SwingingPolicy
from rclpy.parameter import Parameter

from vla_policy_node.policy_node import PolicyNode

pytestmark = pytest.mark.ros

POLICY = Path(__file__).resolve().parents[3] / "docs" / "security_policy.xml"
# Subscribed to only with use_sim_time, and opened by tools.
OPTIONAL = {"/clock", "/parameter_events"}


def allowed(enclave: str, kind: str, right: str) -> set[str]:
    """Return the full names that an enclave may use in one way."""
    found = ET.parse(POLICY).find(f"enclaves/enclave[@path='{enclave}']/profiles/profile")
    assert found is not None
    return {
        name.text.replace("~", f"/{found.get('node')}") if name.text.startswith("~") else f"/{name.text}"
        for group in found.findall(f"{kind}s[@{right}='ALLOW']")
        for name in group.findall(kind)
        if name.text
    }


def opened(names_and_types: list[tuple[str, list[str]]]) -> set[str]:
    return {name for name, _ in names_and_types if "/_action/" not in name}


def test_the_policy_node_may_do_what_it_does_and_no_more(ros: None) -> None:
    # A shadow opens less: it has no publisher of commands.
    overrides = [Parameter("robot_spec", value=str(SIM_ARM)), Parameter("command_enabled", value=True)]
    node = PolicyNode(lambda *_: SwingingPolicy(), parameter_overrides=overrides)
    try:
        assert node.trigger_configure().name == "SUCCESS"
        here, own = node.get_name(), "/vla/policy_node"
        published = opened(node.get_publisher_names_and_types_by_node(here, "/"))
        heard = opened(node.get_subscriber_names_and_types_by_node(here, "/"))
        served = opened(node.get_service_names_and_types_by_node(here, "/"))
        assert allowed(own, "topic", "publish") - OPTIONAL == published - OPTIONAL
        assert allowed(own, "topic", "subscribe") - OPTIONAL == heard - OPTIONAL
        assert allowed(own, "service", "reply") >= served
        assert not node.get_client_names_and_types_by_node(here, "/")
    finally:
        node.trigger_shutdown()
        node.destroy_node()


def test_only_the_policy_node_may_command_the_arm() -> None:
    commands = {"/arm_controller/target_pose", "/gripper_controller/commands"}
    assert commands <= allowed("/vla/policy_node", "topic", "publish")
    assert commands <= allowed("/vla/robot", "topic", "subscribe")
    for enclave in ("/vla/operator", "/vla/robot"):
        assert not commands & allowed(enclave, "topic", "publish")
