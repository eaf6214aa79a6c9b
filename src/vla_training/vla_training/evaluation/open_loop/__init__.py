# SPDX-License-Identifier: Apache-2.0
"""Recorded episodes through a policy, tick by tick, and how far its actions are from the recorded ones."""
