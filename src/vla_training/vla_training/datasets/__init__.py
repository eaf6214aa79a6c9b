# SPDX-License-Identifier: Apache-2.0
"""Dataset folders to batches of windows: CALVIN layout, packed layout, mixtures, augmentation, statistics."""
