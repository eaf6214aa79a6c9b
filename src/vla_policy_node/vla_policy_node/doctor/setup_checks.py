# SPDX-License-Identifier: Apache-2.0
"""What does not come from the robot: clocks, what is installed, and limits that look dangerous."""

import importlib.util
import os
import time

from vla_core.robot_spec import RobotSpec
from vla_core.units import NS_PER_S
from vla_policy_node.doctor.arm_checks import needs_kinematics
from vla_policy_node.doctor.evidence import Evidence
from vla_policy_node.doctor.findings import Finding, Notes

_FIRST_SPEED_M_S, _FIRST_SPEED_RAD_S = 0.25, 1.0
_HUMAN_ARM_M_S2 = 20.0
_WIDE_M = 2.0
_LOW_M = 0.0


def check_clocks(evidence: Evidence) -> list[Finding]:
    """Return the findings about the clock that ages are measured with."""
    notes = Notes("clock")
    publishers = ", ".join(evidence.clock_publishers)
    if not evidence.use_sim_time and not publishers:
        notes.ok("ROS clock", "the system's")
    elif not evidence.use_sim_time:
        notes.warn(
            "ROS clock",
            f"the system's, while {publishers} publishes /clock",
            "end the simulation, or set use_sim_time",
        )
    elif not publishers or not evidence.clock_ns:
        notes.fail(
            "ROS clock", "use_sim_time is set and /clock stands still", "switch use_sim_time off on a robot"
        )
    else:
        apart_s = abs(time.time_ns() - evidence.clock_ns) / NS_PER_S
        notes.warn(
            "ROS clock",
            f"simulated by {publishers}, {apart_s:.0f} s from the system's",
            "keep use_sim_time off on a robot: a clock that stands still hides old streams",
        )
    return notes.findings


def check_network(evidence: Evidence) -> list[Finding]:
    """Return the findings about this program and the robot hearing each other at all."""
    notes = Notes("network")
    domain, reach = os.environ.get("ROS_DOMAIN_ID", "0"), os.environ.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "SUBNET")
    found = f"ROS_DOMAIN_ID {domain}, discovery {reach}"
    if any(record.view.publishers for record in evidence.streams.values()):
        notes.ok("discovery", found)
    else:
        notes.fail(
            "discovery",
            f"none of the robot's streams is there; {found}",
            "start the robot's drivers, use their ROS_DOMAIN_ID; for a robot on another machine set "
            "ROS_AUTOMATIC_DISCOVERY_RANGE=SUBNET before 'source scripts/env.bash'",
        )
    return notes.findings


def check_packages(evidence: Evidence) -> list[Finding]:
    """Return the findings about packages that this robot spec needs."""
    notes = Notes("packages")
    spec = evidence.spec
    needs_ik = needs_kinematics(spec)
    wanted = {"mink": needs_ik, "mujoco": needs_ik, "tf2_ros": spec.tcp_pose.source == "tf"}
    wanted["control_msgs"] = spec.gripper.action is not None
    needed = [name for name, is_needed in wanted.items() if is_needed]
    absent = [name for name in needed if importlib.util.find_spec(name) is None]
    if absent:
        notes.fail("installed", f"missing: {', '.join(absent)}", "run 'make setup', or rosdep install on a robot")
    else:
        notes.ok(
            "installed", f"all that this robot spec needs ({', '.join(needed) or 'nothing beside the suite'})"
        )
    return notes.findings


def check_limits(spec: RobotSpec) -> list[Finding]:
    """Return the findings about limits that look dangerous on a first run."""
    notes = Notes("limits")
    limits = spec.limits
    low = "set 0.05 m/s and 0.2 rad/s for the first motion (docs/safety.md), raise them in small steps"
    if limits.max_speed_m_s > _FIRST_SPEED_M_S or limits.max_speed_rad_s > _FIRST_SPEED_RAD_S:
        notes.warn("speed", f"{limits.max_speed_m_s:g} m/s and {limits.max_speed_rad_s:g} rad/s", low)
    else:
        notes.ok("speed", f"{limits.max_speed_m_s:g} m/s and {limits.max_speed_rad_s:g} rad/s")
    if limits.max_acceleration_m_s2 > _HUMAN_ARM_M_S2:
        notes.warn(
            "acceleration",
            f"{limits.max_acceleration_m_s2:g} m/s^2",
            "set what the arm's data sheet allows at its tool",
        )
    _check_workspace(notes, spec)
    if limits.soft_start_s == 0.0:
        notes.warn("soft start", "none: motion begins at full speed", "set limits.soft_start_s to 1.0")
    if limits.reaction("step") != "stop" and limits.max_step_m > 0.05:
        notes.warn("step", f"one action may move {limits.max_step_m:g} m", "set limits.max_step_m to 0.03 or less")
    return notes.findings


def _check_workspace(notes: Notes, spec: RobotSpec) -> None:
    low, high = spec.limits.workspace_min_m, spec.limits.workspace_max_m
    sides = [top - bottom for bottom, top in zip(low, high, strict=True)]
    size = " x ".join(f"{side:.2f}" for side in sides) + " m"
    if max(sides) > _WIDE_M:
        notes.warn(
            "workspace", f"{size}: larger than an arm reaches", "measure the box with the arm, and narrow it"
        )
    elif low[2] < _LOW_M:
        notes.warn(
            "workspace",
            f"{size}, down to z = {low[2]:.3f} m: below the base",
            "is the table there? keep workspace_min_m z above it by what the gripper may hold",
        )
    else:
        notes.ok("workspace", f"{size}, from z = {low[2]:.3f} m")
