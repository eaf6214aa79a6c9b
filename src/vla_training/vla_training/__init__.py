# SPDX-License-Identifier: Apache-2.0
"""Demonstrations to datasets to checkpoints, without ROS: reads bags with ``rosbags`` and never imports rclpy.

``bag_reader`` and ``bag_observations`` turn a bag into the observations that the live node would have made;
``init_checkpoint`` makes a checkpoint that has not been trained.
"""
