# SPDX-License-Identifier: Apache-2.0
"""A simulated 7-joint arm over a tabletop, and scripted experts for it.

``scene`` (model and addresses) -> ``kinematics`` -> ``arm_drive`` -> ``tabletop`` (physics) -> ``cameras``.
``sim_node`` runs ``sim_robot``, the node: it speaks standard ROS messages and knows no policy, like a robot.
``task_state`` and ``tasks`` say what there is to do. ``experts`` do it in the seven numbers of a policy's action;
``episode`` carries these out without ROS.
"""
