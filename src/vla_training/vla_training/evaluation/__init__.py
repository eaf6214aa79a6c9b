# SPDX-License-Identifier: Apache-2.0
"""How good a checkpoint is: open loop, in simulators, on the robot."""
