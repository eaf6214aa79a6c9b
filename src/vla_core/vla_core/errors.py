# SPDX-License-Identifier: Apache-2.0
"""Errors that a user can fix.

Every message is a sentence that says where, what was found, what is allowed and what to do. Internal
invariants use ``assert`` instead.
"""

from enum import Enum


class RefusalKind(Enum):
    """Why a stream cannot give a sample at a tick."""

    MISSING = "missing"
    STALE = "stale"
    FROZEN = "frozen"
    INVALID = "invalid"


class VlaError(ValueError):
    """Base of every error that a user of the suite can fix."""


class ConfigError(VlaError):
    """A configuration file is wrong; the message names file, key, value and what is allowed."""


class CodecError(VlaError):
    """A message cannot be decoded; the message names the field that does not fit."""


class ObservationRefusedError(VlaError):
    """No observation can be made at this tick: a stream is missing, old or frozen.

    Attributes:
        stream: Name of the stream, for example ``static`` or ``tcp_pose``.
        kind: What is wrong with it.
    """

    def __init__(self, stream: str, kind: RefusalKind, message: str) -> None:
        super().__init__(message)
        self.stream = stream
        self.kind = kind


class CheckpointError(VlaError):
    """A checkpoint directory is incomplete or does not fit the robot."""


class PolicyUnreachableError(VlaError):
    """A policy in another process gives no usable answer; its history is lost, and a later tick may succeed."""


class InstructionError(VlaError):
    """A sentence cannot be used as an instruction."""
