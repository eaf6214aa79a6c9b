# SPDX-License-Identifier: Apache-2.0
"""The simulated tabletop as a benchmark: tasks, chains of five, sentence against what happened."""
