# SPDX-License-Identifier: Apache-2.0
"""Numbers and pictures to pages that people look at."""
