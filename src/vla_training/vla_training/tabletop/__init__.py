# SPDX-License-Identifier: Apache-2.0
"""Lessons on the simulated tabletop as a dataset, without ROS: in bulk, and with a pupil (DAgger)."""
