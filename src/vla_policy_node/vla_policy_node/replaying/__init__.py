# SPDX-License-Identifier: Apache-2.0
"""Open-loop replay: a recorded bag through the real policy node in shadow mode, compared with what was recorded.

``recorded_bag`` reads, ``shadow_robot`` makes the robot spec and the process, ``bag_player`` plays and listens,
``comparison`` counts, ``replay_report`` shows.
"""
