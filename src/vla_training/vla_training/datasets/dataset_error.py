# SPDX-License-Identifier: Apache-2.0
"""The error of everything that reads or writes dataset folders."""

from vla_core.errors import VlaError


class DatasetError(VlaError):
    """A dataset folder is incomplete, damaged or contradicts what is asked of it."""
