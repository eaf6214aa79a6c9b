# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vla_core.images import CLIP_MEAN, CLIP_STD, ImageSpec, preprocess_image

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("camera", ["static", "gripper"])
def test_equals_the_original_preprocessing_to_the_bit(camera: str) -> None:
    case = np.load(GOLDEN / "f_image_preprocess.npz")
    found = preprocess_image(case[f"{camera}_in"], ImageSpec(size_px=56))
    np.testing.assert_array_equal(found, case[f"{camera}_56"])


@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 40), st.integers(0, 255))
@settings(max_examples=25, deadline=None)
def test_a_plain_picture_of_any_shape_becomes_its_normalised_level(
    height: int, width: int, size_px: int, level: int
) -> None:
    found = preprocess_image(np.full((height, width, 3), level, dtype=np.uint8), ImageSpec(size_px=size_px))
    assert found.shape == (3, size_px, size_px) and found.dtype == np.float32
    expected = (level / 255.0 - np.asarray(CLIP_MEAN)) / np.asarray(CLIP_STD)
    np.testing.assert_allclose(found, np.broadcast_to(expected[:, None, None], found.shape), atol=1e-6)


def test_a_view_of_a_larger_picture_gives_what_its_copy_gives() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    view = picture[::2, 10:50, ::-1]
    spec = ImageSpec(size_px=28)
    np.testing.assert_array_equal(preprocess_image(view, spec), preprocess_image(view.copy(), spec))


@pytest.mark.parametrize(
    "picture",
    [
        np.zeros((4, 4, 3), dtype=np.float32),
        np.zeros((4, 4), dtype=np.uint8),
        np.zeros((4, 4, 4), dtype=np.uint8),
        np.zeros((0, 4, 3), dtype=np.uint8),
    ],
)
def test_refuses_what_is_not_an_rgb_picture(picture: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"must be \(height, width, 3\) uint8 RGB"):
        preprocess_image(picture, ImageSpec(size_px=8))


def test_refuses_a_spec_that_divides_by_zero() -> None:
    with pytest.raises(ValueError, match="std must be above 0"):
        ImageSpec(size_px=8, std=(0.2, 0.0, 0.2))
