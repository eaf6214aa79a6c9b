# SPDX-License-Identifier: Apache-2.0
"""Where commands go: one file per interface of an arm or a gripper, and ``CommandOutput`` that joins them."""

from vla_policy_node.outputs.command_output import CommandOutput, make_gripper_output

__all__ = ["CommandOutput", "make_gripper_output"]
