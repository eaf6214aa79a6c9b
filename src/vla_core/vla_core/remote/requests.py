# SPDX-License-Identifier: Apache-2.0
"""What a client says: hello, infer, bye. Pictures travel as raw bytes, so that both sides see the same."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from vla_core.errors import CodecError
from vla_core.geometry import Pose
from vla_core.remote.fields import Fields
from vla_core.remote.protocol import (
    MAX_REQUEST_BYTES,
    MAX_VERSION_CHARS,
    PROTOCOL_VERSION,
    TOKEN_BYTES,
    pack,
    suite_version,
    unpack,
)
from vla_core.types import Observation, RgbImage

_MAX_CAMERAS = 16
_MAX_SIDE_PX = 8192
_MAX_JOINTS = 64
_MAX_STREAMS = 64
_MAX_INSTRUCTION_CHARS = 8192
_UNIT_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Hello:
    """A client asks for a session with an empty history.

    Attributes:
        protocol: Protocol version of the client.
        suite: Suite version of the client.
        client: (16 bytes) who it is; the same after a reconnection.
    """

    protocol: int
    suite: str
    client: bytes


@dataclass(frozen=True, eq=False)
class InferRequest:
    """One tick.

    Attributes:
        session: (16 bytes) from the welcome.
        number: Larger in each request of a session.
        reset: Whether the history is forgotten first.
        observation: What the policy sees.
        instruction: The sentence that it follows.
    """

    session: bytes
    number: int
    reset: bool
    observation: Observation
    instruction: str


@dataclass(frozen=True)
class Bye:
    """A client lets go of its session."""

    session: bytes


def encode_hello(client: bytes) -> bytes:
    """Return the first message of a client."""
    return pack("hello", {"protocol": PROTOCOL_VERSION, "suite": suite_version(), "client": client})


def encode_bye(session: bytes) -> bytes:
    """Return the last message of a client."""
    return pack("bye", {"session": session})


def encode_infer(request: InferRequest, cameras: tuple[str, ...]) -> bytes:
    """Return a tick as bytes; of the pictures only those of ``cameras``.

    Raises:
        CodecError: A camera is missing, or the message would be too large.
    """
    observation = request.observation
    missing = [name for name in cameras if name not in observation.images]
    if missing:
        raise CodecError(f"the observation lacks cameras {missing}; it has {sorted(observation.images)}")
    message = pack(
        "infer",
        {
            "session": request.session,
            "number": request.number,
            "reset": request.reset,
            "instruction": request.instruction,
            "observation": {
                "stamp_ns": int(observation.stamp_ns),
                "images": {name: _plain_image(observation.images[name]) for name in cameras},
                "position_m": [float(value) for value in observation.pose_tcp_in_base.position_m],
                "quat_xyzw": observation.pose_tcp_in_base.quat_xyzw.tolist(),
                "joint_positions_rad": [float(value) for value in observation.joint_positions_rad],
                "gripper_open": float(observation.gripper_open),
                "source_stamps_ns": {name: int(stamp) for name, stamp in observation.source_stamps_ns.items()},
            },
        },
    )
    if len(message) > MAX_REQUEST_BYTES:
        raise CodecError(f"the observation takes {len(message)} bytes, at most {MAX_REQUEST_BYTES} can be sent")
    return message


def decode_request(data: bytes) -> Hello | InferRequest | Bye:
    """Return what a client says.

    Raises:
        CodecError: The bytes are no request; the message names the field that does not fit.
    """
    kind, fields = unpack(data, max_bytes=MAX_REQUEST_BYTES)
    request: Hello | InferRequest | Bye
    if kind == "hello":
        request = Hello(
            protocol=fields.integer("protocol"),
            suite=fields.text("suite", MAX_VERSION_CHARS),
            client=fields.binary("client", TOKEN_BYTES),
        )
        if request.protocol != PROTOCOL_VERSION:
            return request  # another version may say more
    elif kind == "infer":
        request = InferRequest(
            session=fields.binary("session", TOKEN_BYTES),
            number=fields.integer("number", 0),
            reset=fields.flag("reset"),
            observation=_observation(fields.inner("observation")),
            instruction=fields.text("instruction", _MAX_INSTRUCTION_CHARS),
        )
    elif kind == "bye":
        request = Bye(fields.binary("session", TOKEN_BYTES))
    else:
        raise CodecError(f"message: unknown kind '{kind}'; allowed: hello, infer, bye")
    fields.end()
    return request


def _plain_image(image: RgbImage) -> dict[str, Any]:
    height_px, width_px, _ = image.shape
    pixels = np.ascontiguousarray(image, dtype=np.uint8).reshape(-1).data
    return {"height_px": height_px, "width_px": width_px, "rgb8": pixels}


def _observation(fields: Fields) -> Observation:
    images, stamps = fields.inner("images"), fields.inner("source_stamps_ns")
    observation = Observation(
        stamp_ns=fields.integer("stamp_ns"),
        images={name: _image(images.inner(name)) for name in images.names(_MAX_CAMERAS)},
        pose_tcp_in_base=_pose(fields),
        joint_positions_rad=np.array(fields.numbers("joint_positions_rad", fewest=0, most=_MAX_JOINTS)),
        gripper_open=fields.number("gripper_open"),
        source_stamps_ns={name: stamps.integer(name) for name in stamps.names(_MAX_STREAMS)},
    )
    fields.end()
    return observation


def _image(fields: Fields) -> RgbImage:
    height_px, width_px = fields.integer("height_px", 1, _MAX_SIDE_PX), fields.integer("width_px", 1, _MAX_SIDE_PX)
    pixels = fields.binary("rgb8", height_px * width_px * 3)
    fields.end()
    return np.frombuffer(pixels, np.uint8).reshape(height_px, width_px, 3)


def _pose(fields: Fields) -> Pose:
    position_m = np.array(fields.numbers("position_m", fewest=3, most=3))
    quat_xyzw = fields.numbers("quat_xyzw", fewest=4, most=4)
    length = math.hypot(*quat_xyzw)
    if not abs(length - 1.0) < _UNIT_TOLERANCE:
        raise CodecError(f"{fields.where}: quat_xyzw has length {length:.6g}; it must be 1")
    # Normalising again could change the last bit, and with it what the policy answers.
    return Pose(position_m, Rotation(np.array(quat_xyzw), normalize=False))
