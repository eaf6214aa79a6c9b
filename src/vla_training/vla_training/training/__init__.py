# SPDX-License-Identifier: Apache-2.0
"""A training config to a checkpoint: what is trained, the loop, resuming, the sweep."""
