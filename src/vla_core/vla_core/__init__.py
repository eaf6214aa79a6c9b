# SPDX-License-Identifier: Apache-2.0
"""ROS-free core of the VLA suite, in layers: words, numbers, robot, control, model, policy.

A file imports only from its own layer and from those before it; torch begins with the model.
``docs/architecture.md`` says which file is in which layer, and ``tests/test_import_boundaries.py`` enforces it.
"""
