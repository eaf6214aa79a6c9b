# SPDX-License-Identifier: Apache-2.0
"""CALVIN's long-horizon protocol: sequences, rollouts in its simulator, report."""
