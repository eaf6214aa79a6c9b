# SPDX-License-Identifier: Apache-2.0
"""Checkpoints and configurations of RoboVLMs in our words."""
