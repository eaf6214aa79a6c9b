# SPDX-License-Identifier: Apache-2.0
"""The whole loop on one machine: simulated robot, policy node, sentences, film and table (``make demo``).

Like ``tests/`` this lies above the packages: it may import all of them, and nothing imports it.
"""
