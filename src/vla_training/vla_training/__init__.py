# SPDX-License-Identifier: Apache-2.0
"""Demonstrations to datasets to checkpoints to numbers, without ROS.

The files here are the commands (``python -m vla_training.<command>``). The rooms: ``bags`` (rosbag2 to
observations), ``conversion`` (bags to dataset folders), ``datasets`` (folders to batches of windows),
``training``, ``evaluation``, ``reports`` (pages and pictures), ``robovlms`` (its checkpoints and configurations).
"""
