# SPDX-License-Identifier: Apache-2.0
import io
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from messages import header, image, joint_state, pose_stamped
from PIL import Image
from pose_strategies import assert_pose_close, poses

from vla_core.codecs import IMAGE_DECODERS
from vla_core.codecs.image import decode_compressed_image, decode_image, same_picture
from vla_core.codecs.joint_state import decode_joint_positions
from vla_core.codecs.pose_stamped import decode_pose, encode_pose
from vla_core.codecs.stamp import split_stamp_ns, stamp_ns_of
from vla_core.errors import CodecError
from vla_core.geometry import Pose

RGB = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
ALPHA = np.full((5, 7, 1), 9, dtype=np.uint8)

SAMPLES: dict[str, tuple[np.ndarray, np.ndarray]] = {
    "rgb8": (RGB, RGB),
    "bgr8": (RGB[:, :, ::-1], RGB),
    "rgba8": (np.concatenate([RGB, ALPHA], axis=2), RGB),
    "bgra8": (np.concatenate([RGB[:, :, ::-1], ALPHA], axis=2), RGB),
    "mono8": (RGB[:, :, :1], np.repeat(RGB[:, :, :1], 3, axis=2)),
}


@pytest.mark.parametrize("encoding", SAMPLES)
@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize("is_bigendian", [0, 1])
@pytest.mark.parametrize("container", [bytes, bytearray, lambda data: np.frombuffer(data, np.uint8)])
def test_every_encoding_gives_rgb(encoding: str, padding: int, is_bigendian: int, container: Any) -> None:
    pixels, expected = SAMPLES[encoding]
    message = image(pixels, encoding, padding=padding, is_bigendian=is_bigendian)
    message.data = container(message.data)
    decoded = decode_image(message)
    np.testing.assert_array_equal(decoded, expected)
    assert decoded.dtype == np.uint8
    assert decoded.flags.c_contiguous


def test_padding_that_the_last_row_lacks_is_accepted() -> None:
    message = image(RGB, "rgb8", padding=3)
    message.data = message.data[:-3]
    np.testing.assert_array_equal(decode_image(message), RGB)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"encoding": "16UC1"}, ["'16UC1'", "rgb8", "mono8"]),
        ({"encoding": ""}, ["''", "rgb8"]),
        ({"step": 20}, ["step is 20", "need 21"]),
        ({"step": 22}, ["105 bytes", "height 5 x step 22"]),
        ({"step": 2**32 - 1}, ["105 bytes"]),
        ({"height": 6}, ["105 bytes", "126"]),
        ({"height": 0}, ["size 7x0"]),
        ({"width": 0}, ["size 0x5"]),
        ({"width": 2**31}, ["size"]),
        ({"data": b""}, ["0 bytes"]),
    ],
)
def test_a_lying_image_is_refused_with_a_sentence(fields: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(CodecError) as caught:
        decode_image(image(RGB, "rgb8", **fields))
    assert all(word in str(caught.value) for word in words), str(caught.value)


def compressed(kind: str, data: bytes | None = None) -> Any:
    buffer = io.BytesIO()
    Image.fromarray(RGB.repeat(8, axis=0).repeat(8, axis=1)).save(buffer, format=kind)
    return SimpleNamespace(header=header(0), format=kind.lower(), data=buffer.getvalue() if data is None else data)


def test_png_is_exact_and_jpeg_is_near() -> None:
    expected = RGB.repeat(8, axis=0).repeat(8, axis=1)
    np.testing.assert_array_equal(decode_compressed_image(compressed("PNG")), expected)
    decoded = decode_compressed_image(compressed("JPEG"))
    assert decoded.shape == expected.shape
    assert np.abs(decoded.astype(int) - expected).mean() < 12


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@given(cut=st.integers(0, 400), seed=st.integers(0, 2**16))
def test_damaged_compressed_images_are_refused_or_decoded_never_a_crash(kind: str, cut: int, seed: int) -> None:
    data = bytearray(compressed(kind).data)
    rng = np.random.default_rng(seed)
    for at in rng.integers(0, len(data), 4):
        data[at] = rng.integers(0, 256)
    try:
        decoded = decode_compressed_image(compressed(kind, bytes(data[: len(data) - cut])))
        assert decoded.ndim == 3
    except CodecError as error:
        assert str(error).startswith("compressed image")


def test_bytes_that_are_no_picture_are_refused() -> None:
    with pytest.raises(CodecError, match="neither JPEG nor PNG"):
        decode_compressed_image(compressed("PNG", b"GIF89a" + bytes(50)))


def test_a_decoder_without_a_sample_fails_this_test() -> None:
    assert set(IMAGE_DECODERS) == {"sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"}


def test_same_picture_tells_one_changed_byte() -> None:
    pixels = np.zeros((100, 100, 3), np.uint8)
    other = pixels.copy()
    other[-1, -1, -1] = 1
    assert same_picture(image(pixels, "rgb8"), image(pixels, "rgb8"))
    assert not same_picture(image(pixels, "rgb8"), image(other, "rgb8"))


@given(st.permutations(["a", "b", "c", "d"]))
def test_joints_are_found_by_name_in_any_order(names: list[str]) -> None:
    message = joint_state(names, [float(ord(name)) for name in names])
    np.testing.assert_array_equal(decode_joint_positions(message, ["c", "a"]), [99.0, 97.0])


@pytest.mark.parametrize(
    ("names", "positions", "words"),
    [
        (["a"], [0.0], "joint 'b' is absent"),
        (["a", "b"], [0.0], "2 names but 1 positions"),
        (["a", "b"], [0.0, float("nan")], "'b' is nan"),
    ],
)
def test_a_wrong_joint_state_is_refused(names: list[str], positions: list[float], words: str) -> None:
    with pytest.raises(CodecError, match=words):
        decode_joint_positions(joint_state(names, positions), ["a", "b"])


@given(poses())
def test_poses_survive_the_round_trip(pose: Pose) -> None:
    message = pose_stamped(Pose.identity(), "base")
    encode_pose(pose, message.pose)
    assert_pose_close(decode_pose(message, "/base"), pose)


def test_a_pose_in_another_frame_is_refused() -> None:
    with pytest.raises(CodecError, match="frame_id is 'world', the robot spec says 'base'"):
        decode_pose(pose_stamped(Pose.identity(), "world"), "base")


@pytest.mark.parametrize(("field", "value"), [("x", float("inf")), ("w", 0.0), ("w", float("nan"))])
def test_a_pose_that_is_no_pose_is_refused(field: str, value: float) -> None:
    message = pose_stamped(Pose.identity(), "base")
    setattr(message.pose.position if field == "x" else message.pose.orientation, field, value)
    with pytest.raises(CodecError, match="pose: "):
        decode_pose(message, "base")


@given(st.integers(0, 2**60))
def test_stamps_survive_the_round_trip(stamp_ns: int) -> None:
    sec, nanosec = split_stamp_ns(stamp_ns)
    stamp = SimpleNamespace(sec=sec, nanosec=nanosec)
    assert stamp_ns_of(SimpleNamespace(header=SimpleNamespace(stamp=stamp))) == stamp_ns
    assert 0 <= nanosec < 10**9
