# SPDX-License-Identifier: Apache-2.0
"""The episode recorder: one folder per demonstration, in rosbag2's layout.

``episode_recorder`` is the node and ``record_keyboard`` its remote control; ``recorder_parameters``,
``topic_taps`` and ``recorder_reporting`` are its knobs, inputs and outputs. Without ROS: ``episode_shelf`` holds
all episodes, ``episode_recording`` one that is being recorded, written by ``mcap_storage`` or ``sqlite3_storage``
and judged by ``capture_audit``.
"""
