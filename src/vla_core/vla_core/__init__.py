# SPDX-License-Identifier: Apache-2.0
"""ROS-free core of the VLA suite, in layers; a file imports only from its own layer and those before it.

* words: ``errors``, ``config``, ``types``
* numbers: ``geometry``, ``images``, ``actions``
* robot: ``robot_spec``, ``codecs``, ``timeline``, ``observer``, ``guard``, ``chunk_schedule``, ``controller``
* model (torch): ``model``
* policy: ``checkpoint``, ``policy``
"""
