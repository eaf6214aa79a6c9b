# SPDX-License-Identifier: Apache-2.0
"""ROS-free core of the VLA suite, in layers; a file imports only from its own layer and those before it.

* words: ``errors``, ``config``, ``geometry``, ``types``, ``latency``, ``instruction``
* numbers: ``actions``, ``images``
* robot: ``robot_spec``, ``codecs``, ``timeline``, ``observer``, ``guard``, ``twist``, ``chunk_schedule``,
  ``policy_clock``
* control: ``policy_contract``, ``controller``, ``supervisor``
* model (torch): ``model``
* policy (torch): ``checkpoint_card`` (without torch), ``checkpoint``, ``policy``

``tests/test_import_boundaries.py`` holds the same list and enforces it.
"""
