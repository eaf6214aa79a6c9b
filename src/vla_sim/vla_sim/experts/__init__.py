# SPDX-License-Identifier: Apache-2.0
"""Scripted experts: the task state in, the seven numbers of a policy action out.

``phases`` runs a list of phases by state feedback; ``grasps`` says how to take hold of things; ``scripts`` lists
the phases of each task. Entrance: ``scripts.make_expert``.
"""
