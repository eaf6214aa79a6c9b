# SPDX-License-Identifier: Apache-2.0
"""Reads the little that the audit needs out of serialised messages, without decoding them.

CDR aligns numbers to their size, counted from the end of the four bytes of encapsulation; what lies between is
undefined, so that equal pictures need not be equal bytes.
"""

import struct

from vla_core.units import NS_PER_S

_BODY = 4
_FRAME_ID = 12


def header_stamp_ns(data: bytes) -> int:
    """Return the stamp of a message that begins with a ``std_msgs/msg/Header``, nanoseconds."""
    seconds, nanoseconds = struct.unpack_from(f"{_order(data)}iI", data, _BODY)
    return int(seconds) * NS_PER_S + int(nanoseconds)


def picture_bytes(data: bytes, message_type: str) -> bytes:
    """Return the pixels or the compressed picture of a serialised image message."""
    order = _order(data)
    at = _after_string(data, _FRAME_ID, order)
    if message_type == "sensor_msgs/msg/Image":
        at = _after_string(data, _aligned(at) + 8, order)  # height, width, encoding
        at = _aligned(at + 1) + 4  # is_bigendian, step
    else:
        at = _after_string(data, _aligned(at), order)  # format
    at = _aligned(at)
    (length,) = struct.unpack_from(f"{order}I", data, at)
    return data[at + 4 : at + 4 + length]


def _order(data: bytes) -> str:
    return "<" if data[1] & 1 else ">"


def _aligned(at: int) -> int:
    return at + (_BODY - at) % 4


def _after_string(data: bytes, at: int, order: str) -> int:
    (length,) = struct.unpack_from(f"{order}I", data, at)
    return at + 4 + int(length)
