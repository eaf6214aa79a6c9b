# SPDX-License-Identifier: Apache-2.0
"""The ROS side of the suite: subscribe, tick, publish. Maths and thresholds are in ``vla_core``.

``policy_node`` is the lifecycle node, ``running_policy`` what exists between configure and cleanup: ``inputs`` and
``outputs`` are its topics, ``inference_thread`` runs the model, ``control_loop`` joins them, ``reporting`` tells
what happened, ``execute_instruction`` serves the action. ``recording/`` is another node: the episode recorder.
"""
