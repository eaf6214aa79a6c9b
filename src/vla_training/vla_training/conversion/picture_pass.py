# SPDX-License-Identifier: Apache-2.0
"""The second pass over a bag: decodes the pictures of the planned frames and streams the frames to a writer."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vla_core.errors import ObservationRefusedError
from vla_core.observer import decode_picture
from vla_core.robot_spec import RobotSpec
from vla_core.types import RgbImage
from vla_training.bags.message_types import MessageTypes, UndecodableMessageError
from vla_training.bags.raw_message import Advance, BagError, DamagedBagError
from vla_training.bags.reader import absolute_topic
from vla_training.bags.stored_messages import stored_messages
from vla_training.conversion.bag_labels import BagLabels
from vla_training.conversion.bag_scan import BagScan
from vla_training.conversion.config import ConversionConfig
from vla_training.conversion.episode_plan import EpisodePlan, Piece, plan_episodes
from vla_training.conversion.episode_writer import DemonstrationFrame, FramesBegin, FrameSink
from vla_training.conversion.work_folder import WorkFolder

Damaged = dict[str, dict[int, str]]
"""Camera to the numbers of messages whose pictures cannot be decoded, and why."""


@dataclass(frozen=True)
class _Step:
    """One frame that is to be written."""

    plan: EpisodePlan
    piece: Piece
    number: int

    @property
    def tick(self) -> int:
        return self.piece.first + self.number


def write_bag_episodes(
    scan: BagScan,
    labels: BagLabels,
    *,
    spec: RobotSpec,
    config: ConversionConfig,
    dataset: FrameSink,
    work: WorkFolder,
    advance: Advance,
) -> list[EpisodePlan]:
    """Return the plans of a bag when each episode that has frames is in the work folder.

    Episodes that are there are not written again; those that need a picture that cannot be decoded are planned
    again.

    Args:
        scan: What the first pass found.
        labels: What people wrote about the bag.
        spec: The robot.
        config: Every choice.
        dataset: Layout of the dataset.
        work: Where whole episodes go.
        advance: Told the number of bytes read.

    Raises:
        BagError: The bag lacks what the configuration asks for, or is another one than at the first pass.
    """
    damaged: Damaged = {}
    while True:
        plans = plan_episodes(scan, labels, spec, config, damaged)
        missing = [plan for plan in plans if plan.pieces and not work.has_episode(plan.key)]
        if not missing:
            return plans
        found = write_episodes(
            scan, missing, spec=spec, namespace=config.namespace, dataset=dataset, work=work, advance=advance
        )
        damaged = {camera: damaged.get(camera, {}) | numbers for camera, numbers in found.items()}


def write_episodes(
    scan: BagScan,
    plans: Sequence[EpisodePlan],
    *,
    spec: RobotSpec,
    namespace: str,
    dataset: FrameSink,
    work: WorkFolder,
    advance: Advance,
) -> Damaged:
    """Write planned episodes into the work folder; return the pictures that cannot be decoded.

    An episode that needs one of those is not written: plan it again without them.

    Args:
        scan: What the first pass found.
        plans: Episodes in the order of time.
        spec: The robot.
        namespace: Where its relative topics are looked up.
        dataset: Layout of the dataset.
        work: Where whole episodes go.
        advance: Told the number of bytes read.

    Raises:
        BagError: The bag is another one than at the first pass.
    """
    steps = [_Step(plan, piece, k) for plan in plans for piece in plan.pieces for k in range(len(piece))]
    sink = _EpisodeSink(scan, dataset, work)
    pictures = _Pictures(scan, steps, spec)
    cameras = {absolute_topic(camera.topic, namespace): name for name, camera in spec.cameras.items()}
    types, position = MessageTypes(), 0
    try:
        for raw in stored_messages(scan.bag, scan.topics, types, advance):
            if position == len(steps):
                break
            if raw.topic not in cameras:
                continue
            try:
                pictures.take(cameras[raw.topic], types.decode(raw))
            except UndecodableMessageError:
                continue
            while position < len(steps) and (images := pictures.of(steps[position])) is not None:
                sink.add(steps[position], images)
                position += 1
    except DamagedBagError:
        pass  # the first pass ended there, too
    finally:
        sink.abort()
    if position < len(steps):
        raise BagError(f"{scan.bag.folder}: the bag has changed while it was converted. Run the command again")
    return pictures.damaged


class _Pictures:
    """Decodes the pictures that steps need, each once, and keeps them as long as needed."""

    def __init__(self, scan: BagScan, steps: Sequence[_Step], spec: RobotSpec) -> None:
        self._numbers = scan.ticks.pictures
        self._spec = spec
        self._uses = {
            camera: Counter(int(numbers[step.tick]) for step in steps) for camera, numbers in self._numbers.items()
        }
        self._decoded: dict[str, dict[int, RgbImage | None]] = {camera: {} for camera in self._numbers}
        self._num_seen: Counter[str] = Counter()
        self.damaged: Damaged = {camera: {} for camera in self._numbers}

    def take(self, camera: str, message: Any) -> None:
        """Take the next message of a camera."""
        number = self._num_seen[camera]
        self._num_seen[camera] += 1
        if number not in self._uses[camera]:
            return
        try:
            self._decoded[camera][number] = decode_picture(self._spec, camera, message)
        except ObservationRefusedError as refusal:
            self._decoded[camera][number] = None
            self.damaged[camera][number] = str(refusal)

    def of(self, step: _Step) -> Mapping[str, RgbImage | None] | None:
        """Return a step's pictures (``None`` for damaged ones), and forget them; nothing while one is to come."""
        needed = {camera: int(numbers[step.tick]) for camera, numbers in self._numbers.items()}
        if any(number not in self._decoded[camera] for camera, number in needed.items()):
            return None
        images = {camera: self._decoded[camera][number] for camera, number in needed.items()}
        for camera, number in needed.items():
            self._uses[camera][number] -= 1
            if not self._uses[camera][number]:
                del self._decoded[camera][number]
        return images


class _EpisodeSink:
    """Writes frames that come in order; an episode with a damaged picture is dropped."""

    def __init__(self, scan: BagScan, dataset: FrameSink, work: WorkFolder) -> None:
        self._scan, self._work = scan, work
        self._writer = dataset.writer()
        self._plan: EpisodePlan | None = None
        self._is_spoilt = False
        self._facts: list[Mapping[str, Any]] = []

    def add(self, step: _Step, pictures: Mapping[str, RgbImage | None]) -> None:
        if step.plan is not self._plan:
            self._plan, self._is_spoilt, self._facts = step.plan, False, []
            self._folder = self._work.draft(step.plan.key)
        images = {camera: picture for camera, picture in pictures.items() if picture is not None}
        if self._is_spoilt or len(images) < len(pictures):
            if not self._is_spoilt:
                self._writer.abort()
            self._is_spoilt = True
            return
        if step.number == 0:
            folder = self._folder / step.piece.key
            folder.mkdir()
            self._writer.begin(folder, FramesBegin(key=step.piece.key, num_frames=len(step.piece)))
        self._writer.add(_frame(self._scan, step, images))
        if step.number == len(step.piece) - 1:
            self._facts.append(self._writer.finish())
            if step.piece is step.plan.pieces[-1]:
                self._work.keep(step.plan.key, self._folder, _episode_facts(step.plan, self._facts))

    def abort(self) -> None:
        self._writer.abort()


def _frame(scan: BagScan, step: _Step, images: Mapping[str, RgbImage]) -> DemonstrationFrame:
    piece, k = step.piece, step.number
    return DemonstrationFrame(
        observation=scan.ticks.observation(step.tick, images),
        pose_target_in_base=piece.targets[k],
        action=piece.actions[k],
        gripper_before=float(piece.gripper_before[k]),
        instruction=piece.sentences[k],
        is_last=k == len(piece) - 1,
    )


def _episode_facts(plan: EpisodePlan, facts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    pieces = [
        {
            "key": piece.key,
            "num_frames": len(piece),
            "stretches": [[own.first, own.last, own.instruction] for own in piece.stretches],
            "facts": dict(own_facts),
        }
        for piece, own_facts in zip(plan.pieces, facts, strict=True)
    ]
    return {"report": plan.report, "pieces": pieces}
