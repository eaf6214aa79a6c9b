# SPDX-License-Identifier: Apache-2.0
"""SimplerEnv: its conventions of actions, batched rollouts, report."""
