# SPDX-License-Identifier: Apache-2.0
"""A policy in another process or on another machine: ZeroMQ, msgpack, CURVE keys; never pickle.

``policy_client`` is a ``Policy`` over the wire, ``policy_server`` is what answers it; ``serve`` and ``keys`` are
the commands. ``protocol``, ``fields``, ``requests`` and ``replies`` say what is sent, ``connection`` and
``encryption`` how. The protocol is told in ``docs/remote_inference.md``.
"""
