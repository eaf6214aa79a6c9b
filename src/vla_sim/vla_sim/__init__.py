# SPDX-License-Identifier: Apache-2.0
"""A simulated 7-joint arm over a tabletop. It speaks standard ROS messages and knows no policy.

``scene`` (model and addresses) -> ``kinematics`` -> ``arm_drive`` -> ``tabletop`` (physics) -> ``cameras``;
``task_state``, ``tasks`` and ``experts`` say what there is to do and how; ``episode`` runs it without ROS,
``sim_node`` with ROS.
"""
