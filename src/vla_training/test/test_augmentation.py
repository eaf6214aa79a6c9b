# SPDX-License-Identifier: Apache-2.0
"""What is drawn at random for a picture, and what it must not change."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vla_training.datasets.augmentation import Augmentation, AugmentationConfig, shift
from vla_training.datasets.colour import colour_matrix, recolour

CAMERAS = ("static", "wrist")


def test_augmentation_depends_on_the_samples_number_alone() -> None:
    pictures = torch.rand(3, 2, 2, 3, 16, 16)
    augmentation = Augmentation(
        AugmentationConfig(shift_px={"static": 3, "wrist": 2}, brightness=0.3, hue=0.1, contrast=0.2), seed=5
    )

    def augmented(rows: torch.Tensor, numbers: list[int]) -> torch.Tensor:
        return augmentation.recoloured(augmentation.shifted(rows, CAMERAS, numbers), numbers)

    together = augmented(pictures, [7, 8, 9])
    alone = torch.cat([augmented(pictures[i : i + 1], [7 + i]) for i in range(3)])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-6)
    assert not torch.equal(together[0], augmented(pictures[:1], [10])[0])


def test_a_window_is_shifted_as_one_unless_robovlms_way_is_asked_for() -> None:
    still = torch.rand(1, 1, 1, 3, 16, 16).expand(1, 6, 1, 3, 16, 16).clone()
    together = Augmentation(AugmentationConfig(shift_px={"static": 4}), seed=1).shifted(still, ("static",), [3])
    assert torch.equal(together[0, 0], together[0, 5])
    apart = Augmentation(AugmentationConfig(shift_px={"static": 4}, per_tick=True), seed=1).shifted(
        still, ("static",), [3]
    )
    assert not all(torch.equal(apart[0, 0], apart[0, tick]) for tick in range(6))


@given(st.integers(-5, 5), st.integers(-5, 5))
@settings(max_examples=30, deadline=None)
def test_a_shift_is_a_crop_of_the_padded_picture(right: int, down: int) -> None:
    picture = torch.rand(1, 1, 1, 3, 12, 12)
    padded = torch.nn.functional.pad(picture[0, 0], (5, 5, 5, 5), mode="replicate")
    expected = padded[..., 5 + down : 17 + down, 5 + right : 17 + right]
    assert torch.equal(shift(picture, torch.tensor([right, down]).view(1, 1, 1, 2))[0, 0], expected)


def test_colours_that_are_not_changed_stay_and_grey_has_no_hue() -> None:
    pictures = torch.rand(2, 1, 1, 3, 8, 8)
    one, zero = torch.ones(2), torch.zeros(2)
    same = recolour(pictures, colour_matrix(one, one, zero), one)
    torch.testing.assert_close(same, pictures, rtol=0, atol=1e-6)
    grey = torch.rand(2, 1, 1, 1, 8, 8).expand(2, 1, 1, 3, 8, 8).contiguous()
    turned = recolour(grey, colour_matrix(one, one, zero + 0.3), one)
    torch.testing.assert_close(turned, grey, rtol=0, atol=1e-5)
    pale = recolour(pictures, colour_matrix(one, zero, zero), one)
    assert (pale.amax(3) - pale.amin(3)).max() < 1e-5
