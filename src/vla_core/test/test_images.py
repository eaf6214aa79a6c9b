# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vla_core.images import CLIP_MEAN, CLIP_STD, ImageSpec, Resample
from vla_core.model.pictures import preprocess
from vla_core.model.resize import resize

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("camera", ["static", "gripper"])
def test_equals_the_original_preprocessing_to_the_bit(camera: str) -> None:
    case = np.load(GOLDEN / "f_image_preprocess.npz")
    found = preprocess([case[f"{camera}_in"]], ImageSpec(size_px=56))[0].numpy()
    np.testing.assert_array_equal(found, case[f"{camera}_56"])


PILLOW = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "lanczos": Image.Resampling.LANCZOS,
}


def pillow(picture: np.ndarray, size_px: int, resample: Resample) -> np.ndarray:
    """Resize with Pillow, rows first: recent versions choose the order by cost, older ones did not."""
    narrow = Image.fromarray(picture).resize((size_px, picture.shape[0]), PILLOW[resample])
    return np.asarray(narrow.resize((size_px, size_px), PILLOW[resample]))


def resized(picture: np.ndarray, size_px: int, resample: Resample) -> np.ndarray:
    return resize(torch.from_numpy(picture).permute(2, 0, 1), size_px, resample).permute(1, 2, 0).numpy()


@given(
    st.tuples(st.integers(1, 160), st.integers(1, 160), st.integers(1, 120)),
    st.sampled_from(list(PILLOW)),
    st.booleans(),
    st.integers(0, 2**31),
)
@settings(max_examples=80)
def test_resizing_is_pillows_to_the_bit(
    sizes: tuple[int, int, int], resample: Resample, hard_edges: bool, seed: int
) -> None:
    height, width, size_px = sizes
    picture = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    picture = np.where(picture > 127, 255, 0).astype(np.uint8) if hard_edges else picture
    np.testing.assert_array_equal(resized(picture, size_px, resample), pillow(picture, size_px, resample))


@pytest.mark.parametrize("shape", [(480, 640), (720, 1280), (1080, 1920), (2000, 2200)])
def test_a_cameras_picture_is_what_pillow_makes_of_it_in_one_call(shape: tuple[int, int]) -> None:
    picture = np.random.default_rng(1).integers(0, 256, (*shape, 3), dtype=np.uint8)
    expected = np.asarray(Image.fromarray(picture).resize((56, 56), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(resized(picture, 56, "bicubic"), expected)


@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 40), st.integers(0, 255))
@settings(max_examples=25)
def test_a_plain_picture_of_any_shape_becomes_its_normalised_level(
    height: int, width: int, size_px: int, level: int
) -> None:
    picture = np.full((height, width, 3), level, dtype=np.uint8)
    found = preprocess([picture], ImageSpec(size_px=size_px))[0].numpy()
    assert found.shape == (3, size_px, size_px) and found.dtype == np.float32
    expected = (level / 255.0 - np.asarray(CLIP_MEAN)) / np.asarray(CLIP_STD)
    np.testing.assert_allclose(found, np.broadcast_to(expected[:, None, None], found.shape), atol=1e-6)


def test_a_view_of_a_larger_picture_gives_what_its_copy_gives() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    picture.setflags(write=False)  # as pictures from a codec are
    view = picture[::2, 10:50, ::-1]
    spec = ImageSpec(size_px=28)
    assert torch.equal(preprocess([view], spec), preprocess([view.copy()], spec))


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
        preprocess([picture], ImageSpec(size_px=8))


def test_refuses_a_spec_that_divides_by_zero() -> None:
    with pytest.raises(ValueError, match="std must be above 0"):
        ImageSpec(size_px=8, std=(0.2, 0.0, 0.2))
