# SPDX-License-Identifier: Apache-2.0
"""Looks at datasets: whether their numbers and pictures are what a person thinks they are."""
