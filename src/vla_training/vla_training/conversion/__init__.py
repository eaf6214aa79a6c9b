# SPDX-License-Identifier: Apache-2.0
"""Bags to dataset folders: which episodes and ticks, which actions, and who writes them."""
