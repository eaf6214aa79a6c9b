# SPDX-License-Identifier: Apache-2.0
"""The preflight: looks at a running robot and says what would go wrong, before anything moves.

``robot_watch`` looks and returns ``evidence``; files of checks turn evidence into ``findings``; ``table`` shows
them. ``frame_test`` is the frame test as a whole; ``gripper_trial`` opens and closes the gripper.
"""
