# SPDX-License-Identifier: Apache-2.0
"""The checkpoint: does it fit the robot, does it load, and is it fast enough on this machine? torch loads here."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vla_core.checkpoint_card import CheckpointCard
from vla_core.config import load_config
from vla_core.errors import VlaError
from vla_core.geometry import Pose
from vla_core.robot_spec import RobotSpec
from vla_core.types import Observation
from vla_policy_node.doctor.evidence import Evidence
from vla_policy_node.doctor.findings import Finding, Notes

if TYPE_CHECKING:
    from vla_core.checkpoint import Checkpoint
    from vla_core.policy import VlaPolicy

_NUM_TICKS = 10
_GIB = 2**30


def read_card(directory: Path) -> CheckpointCard | str:
    """Return the facts of a checkpoint, or why they cannot be read."""
    if not (directory / "model.yaml").is_file():
        return f"{directory}: no checkpoint there (model.yaml is missing)"
    try:
        return load_config(directory / "model.yaml", CheckpointCard)
    except VlaError as error:
        return str(error)


def check_policy(
    evidence: Evidence, directory: Path, card: CheckpointCard | str, device: str, instruction: str
) -> list[Finding]:
    """Return the findings about a checkpoint on this robot and machine.

    Args:
        evidence: What was seen of the robot.
        directory: The checkpoint.
        card: From ``read_card``.
        device: ``auto``, ``cpu`` or ``cuda``.
        instruction: Sentence of the dry inference.
    """
    notes = Notes("policy")
    if isinstance(card, str):
        notes.fail(
            "checkpoint", card, "name a checkpoint directory; vla_training.init_checkpoint makes an untrained one"
        )
        return notes.findings
    fits = _check_contract(notes, card, evidence.spec)
    loaded = _load(notes, directory, device)
    if loaded is None:
        return notes.findings
    if fits:
        _check_speed(notes, loaded, evidence, card, instruction)
    else:
        notes.skip("dry inference", "the checkpoint does not fit the robot", "correct that first")
    return notes.findings


def _check_contract(notes: Notes, card: CheckpointCard, spec: RobotSpec) -> bool:
    if card.is_trained:
        notes.ok("training", f"trained, on robot '{card.robot.name}'")
    else:
        notes.warn(
            "training",
            "UNTRAINED: random weights, its motion means nothing",
            "use it to try the machinery, not a task",
        )
    try:
        card.contract.check_fits(spec)
    except VlaError as error:
        sentence, _, advice = str(error).rpartition(". ")
        notes.fail("contract", sentence or advice, advice)
        return False
    notes.ok(
        "contract",
        f"cameras {', '.join(card.model.cameras)}; {1.0 / card.period_s:g} Hz, the robot takes commands at "
        f"{spec.command.rate_hz:g} Hz; frame '{card.action_space.frame}', chunks of {card.model.chunk_size}",
    )
    return True


def _load(notes: Notes, directory: Path, device: str) -> "Checkpoint | None":
    from vla_core.checkpoint import load_checkpoint
    from vla_core.model.device import device_named

    try:
        checkpoint = load_checkpoint(directory, device_named(device))
    except VlaError as error:
        notes.fail("loading", str(error), "correct what the sentence names")
        return None
    except RuntimeError as error:  # a device that is full, a driver that does not fit
        notes.fail("loading", f"{type(error).__name__}: {error}", "free the device's memory, or use --device cpu")
        return None
    _check_memory(notes, checkpoint)
    return checkpoint


def _check_memory(notes: Notes, checkpoint: "Checkpoint") -> None:
    import torch

    model = checkpoint.model
    takes = sum(each.numel() * each.element_size() for each in (*model.parameters(), *model.buffers()))
    number = sum(each.numel() for each in model.parameters())
    what = f"{number / 1e6:.1f} M weights, {takes / _GIB:.2f} GiB as {str(model.dtype).removeprefix('torch.')}"
    if model.device.type != "cuda":
        notes.ok("device", f"{model.device}, {torch.get_num_threads()} threads; {what}")
        return
    free, total = torch.cuda.mem_get_info(model.device)
    found = f"{torch.cuda.get_device_name(model.device)}: {free / _GIB:.1f} of {total / _GIB:.1f} GiB free; {what}"
    if free < 0.1 * total:
        notes.warn("device", found, "end other programs on the GPU: a tick needs room, too")
    else:
        notes.ok("device", found)


def _check_speed(
    notes: Notes, checkpoint: "Checkpoint", evidence: Evidence, card: CheckpointCard, instruction: str
) -> None:
    from vla_core.policy import VlaPolicy

    observations = evidence.observations or (_grey_observation(evidence.spec),)
    pictures = "pictures of the robot" if evidence.observations else "grey pictures (no observation could be made)"
    try:
        times_ms = time_ticks(VlaPolicy(checkpoint), observations, instruction)
    except (VlaError, RuntimeError) as error:
        notes.fail("dry inference", f"{type(error).__name__}: {error}", "correct what the sentence names")
        return
    middle_ms, most_ms = np.percentile(times_ms, (50, 95))
    period_ms = card.period_s * 1e3
    found = f"{middle_ms:.0f} ms (median), {most_ms:.0f} ms (p95) on {pictures}; the period is {period_ms:g} ms"
    if middle_ms > period_ms:
        notes.fail(
            "dry inference",
            found,
            "use a GPU, a smaller model, precision bfloat16, or schedule overlap_blend, which skips what is late",
        )
    elif most_ms > period_ms:
        notes.warn(
            "dry inference", found, "some ticks are dropped: end other programs, or use schedule overlap_blend"
        )
    else:
        notes.ok("dry inference", found)


def time_ticks(policy: "VlaPolicy", observations: Sequence[Observation], instruction: str) -> list[float]:
    """Return the wall times of ten ticks, milliseconds; nothing is commanded."""
    policy.warm_up()
    policy.reset()
    times_ms = []
    for number in range(_NUM_TICKS):
        began_s = time.perf_counter()
        policy.infer(observations[number % len(observations)], instruction)
        times_ms.append((time.perf_counter() - began_s) * 1e3)
    return times_ms


def _grey_observation(spec: RobotSpec) -> Observation:
    images = {
        name: np.full((camera.height_px, camera.width_px, 3), 127, np.uint8)
        for name, camera in spec.cameras.items()
    }
    return Observation(
        stamp_ns=0,
        images=images,
        pose_tcp_in_base=Pose.identity(),
        joint_positions_rad=np.zeros(len(spec.joints.names)),
        gripper_open=1.0,
        source_stamps_ns={},
    )
