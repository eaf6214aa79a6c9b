# SPDX-License-Identifier: Apache-2.0
"""Factors between the units of time: stamps are whole nanoseconds, settings are seconds or milliseconds."""

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000
