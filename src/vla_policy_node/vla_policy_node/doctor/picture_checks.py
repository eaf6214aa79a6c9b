# SPDX-License-Identifier: Apache-2.0
"""What the cameras show: decodable, of the right size, not frozen, and not black, white, grey or blurred."""

import numpy as np

from vla_core.checkpoint_card import CheckpointCard
from vla_core.codecs import IMAGE_DECODERS
from vla_core.errors import CodecError
from vla_core.robot_spec import CameraSpec
from vla_core.types import RgbImage
from vla_policy_node.doctor.evidence import Evidence, StreamRecord
from vla_policy_node.doctor.findings import Finding, Notes
from vla_policy_node.doctor.stream_checks import subject_of

_DARK, _BRIGHT = 20.0, 240.0
_ONE_COLOUR = 4.0
_BLURRED = 1.5


def check_pictures(evidence: Evidence, record: StreamRecord, card: CheckpointCard | None) -> list[Finding]:
    """Return the findings about the pictures of a camera.

    Args:
        evidence: What was seen.
        record: The camera's stream.
        card: Of the checkpoint, for the pictures that it was trained with; ``None`` without one.
    """
    if not record.messages:
        return []
    notes = Notes(subject_of(evidence, record.stream))
    camera = evidence.spec.cameras[record.stream]
    try:
        picture: RgbImage = IMAGE_DECODERS[camera.type](record.messages[-1])
    except CodecError as error:
        notes.fail(
            "pictures", str(error), "set the driver to an encoding of docs/robot_spec.md, or name another topic"
        )
        return notes.findings
    _check_size(notes, camera, picture)
    if card is not None:
        _check_training_size(notes, record.stream, picture, card)
    _check_frozen(notes, camera, record)
    _check_content(notes, picture)
    return notes.findings


def sharpness(picture: RgbImage) -> float:
    """Return the standard deviation of the Laplacian of the grey picture, in grey levels: low is blurred."""
    grey = picture.astype(np.float32).mean(axis=2)
    inner = grey[1:-1, 1:-1]
    laplacian = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4.0 * inner
    return float(laplacian.std()) if laplacian.size else 0.0


def _check_size(notes: Notes, camera: CameraSpec, picture: RgbImage) -> None:
    height, width = picture.shape[:2]
    wanted = f"{camera.width_px}x{camera.height_px}"
    if (width, height) != (camera.width_px, camera.height_px):
        notes.fail(
            "size",
            f"{width}x{height} pixels, the robot spec says {wanted}",
            f"set width_px and height_px to {width} and {height}, or the driver to {wanted}",
        )
    else:
        notes.ok("size", f"{width}x{height} pixels, as the robot spec says")


def _check_training_size(notes: Notes, stream: str, picture: RgbImage, card: CheckpointCard) -> None:
    if stream not in card.model.cameras:
        notes.skip("training size", "the checkpoint does not look through this camera")
        return
    trained, (height, width) = card.robot.cameras[stream], picture.shape[:2]
    found = f"{width}x{height}; the checkpoint was trained with {trained.width_px}x{trained.height_px}"
    aspect = trained.width_px / trained.height_px
    if abs(width / height - aspect) > 0.01 * aspect:
        notes.fail(
            "training size", f"other aspect ratio: {found}", "crop in the driver, or use another checkpoint"
        )
    elif width < min(trained.width_px, card.model.image.size_px):
        notes.warn("training size", f"coarser: {found}", "raise the camera's resolution to that of the training")
    else:
        notes.ok("training size", found)


def _check_frozen(notes: Notes, camera: CameraSpec, record: StreamRecord) -> None:
    if record.num_messages < 2:
        return
    repeated_ms, limit_ms = record.longest_repeat_ms, camera.frozen_after_ms
    if limit_ms is None:
        notes.skip("frozen", f"frozen_after_ms is null; the same picture came for {repeated_ms:.0f} ms")
    elif repeated_ms >= limit_ms:
        notes.fail(
            "frozen",
            f"the same picture for {repeated_ms:.0f} ms under fresh stamps; frozen_after_ms is {limit_ms:g}",
            "restart the driver and look at its cable; a source without noise needs frozen_after_ms: null",
        )
    else:
        notes.ok("frozen", f"no; the same picture for {repeated_ms:.0f} ms at most")


def _check_content(notes: Notes, picture: RgbImage) -> None:
    brightness = float(picture.mean())
    contrast = float(picture.astype(np.float32).std(axis=(0, 1)).max())
    found = f"brightness {brightness:.0f} of 255, contrast {contrast:.0f}, sharpness {sharpness(picture):.1f}"
    if brightness < _DARK:
        notes.warn(
            "content", f"almost black: {found}", "take the cap off the lens, switch on the light, expose longer"
        )
    elif brightness > _BRIGHT:
        notes.warn("content", f"almost white: {found}", "expose shorter")
    elif contrast < _ONE_COLOUR:
        notes.warn("content", f"one colour: {found}", "look at what the camera sees: is something in front of it?")
    elif sharpness(picture) < _BLURRED:
        notes.warn("content", f"blurred: {found}", "focus the lens, and clean it")
    else:
        notes.ok("content", found)
