# SPDX-License-Identifier: Apache-2.0
"""Policy actions and what they mean on the robot.

``action_space`` is the entrance: normalised action <-> target pose. It rests on ``frames`` (the physical tool
frame and CALVIN's base frame), ``robovlms_frame`` (RoboVLMs' own transform), and ``normalization``. ``gripper`` is
the seventh number.
"""
