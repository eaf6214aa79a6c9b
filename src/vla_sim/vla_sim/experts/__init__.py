# SPDX-License-Identifier: Apache-2.0
"""Experts by state feedback: the task state in, the seven numbers of a policy action out.

A skill looks at the present alone, so it can say from any state what should be done there: in the middle of
somebody else's attempt as well as after a slip. ``feedback`` turns skills into experts; ``approach`` and
``grasps`` are what skills share; ``blocks`` and ``fixtures`` are the skills. Entrance: ``catalogue.make_expert``.
"""
