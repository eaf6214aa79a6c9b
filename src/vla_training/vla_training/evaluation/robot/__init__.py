# SPDX-License-Identifier: Apache-2.0
"""A logbook of trials on the real arm: keys, report."""
