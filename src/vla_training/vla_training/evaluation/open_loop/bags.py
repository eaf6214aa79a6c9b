# SPDX-License-Identifier: Apache-2.0
"""Episodes of bags through a policy, without a dataset on the disk.

Episodes are planned and pictures decoded exactly as ``bag_to_dataset`` does it, at the checkpoint's rate and in
its frame; instead of writing a frame, the policy is shown it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vla_core.actions.action_space import ActionSpace
from vla_core.policy_contract import PolicyContract
from vla_core.robot_spec import RobotSpec
from vla_training.bags.bag_folder import Bag
from vla_training.bags.raw_message import Advance, BagError
from vla_training.conversion.bag_labels import BagLabels
from vla_training.conversion.bag_scan import scan_bag
from vla_training.conversion.calvin_format import calvin_frame
from vla_training.conversion.config import ConversionConfig
from vla_training.conversion.episode_writer import (
    DemonstrationFrame,
    EpisodeWriter,
    FramesBegin,
)
from vla_training.conversion.picture_pass import write_bag_episodes
from vla_training.conversion.work_folder import WorkFolder
from vla_training.datasets.frame_store import FrameNumbers
from vla_training.datasets.policy_actions import policy_actions
from vla_training.evaluation.open_loop.dataset import OUTCOME_FILE, gripper_before
from vla_training.evaluation.open_loop.episode import EpisodeOutcome, PolicyStream


@dataclass(frozen=True, eq=False, kw_only=True)
class BagEvaluation:
    """Streams bags through a policy.

    Attributes:
        stream: Runs the policy.
        contract: What the policy promises and needs.
        spec: The robot, with the delays in force.
        config: How frames are made, at the policy's rate and in its frame.
        work: Where whole episodes are kept.
        skipped: Gets a sentence for each episode that is left out.
    """

    stream: PolicyStream
    contract: PolicyContract
    spec: RobotSpec
    config: ConversionConfig
    work: WorkFolder
    skipped: list[str]

    def evaluate(self, bag: Bag, labels: BagLabels, advance: Advance) -> Iterator[EpisodeOutcome]:
        """Yield what came of each episode of a bag; those that are in the work folder are not streamed again.

        Args:
            bag: The bag.
            labels: What people wrote about it.
            advance: Told the number of bytes read.
        """
        try:
            scan = scan_bag(bag, self.spec, self.config, advance)
            policy = _PolicyInstead(self.stream, self.config.action_space, self.contract.action_space)
            plans = write_bag_episodes(
                scan,
                labels,
                spec=self.spec,
                config=self.config,
                dataset=policy,
                work=self.work,
                advance=advance,
            )
        except BagError as error:
            self.skipped.append(f"{bag.name}: skipped: {error}")
            return
        if scan.damage is not None:
            self.skipped.append(f"{bag.name}: damaged: {scan.damage}")
        for plan in plans:
            if not plan.pieces:
                self.skipped.append(f"{bag.name}: {plan.key}: {plan.report['skipped']}")
            for piece in plan.pieces:
                yield EpisodeOutcome.load(self.work.episode(plan.key) / piece.key / OUTCOME_FILE)


class _PolicyInstead:
    """Shows frames to a policy instead of keeping them."""

    def __init__(self, stream: PolicyStream, recorded: ActionSpace, space: ActionSpace) -> None:
        self._stream, self._recorded, self._space = stream, recorded, space

    def writer(self) -> EpisodeWriter:
        """Return what is given the frames."""
        return _PolicyWriter(self._stream, self._recorded, self._space)


class _PolicyWriter:
    """Shows the frames of one episode at a time to the policy; keeps what came of it."""

    def __init__(self, stream: PolicyStream, recorded: ActionSpace, space: ActionSpace) -> None:
        self._stream, self._recorded, self._space = stream, recorded, space

    def begin(self, folder: Path, episode: FramesBegin) -> None:
        """Start an episode."""
        self._folder, self._key = folder, episode.key
        self._rows: list[tuple[Any, Any, bool]] = []
        self._stream.begin()

    def add(self, frame: DemonstrationFrame) -> None:
        """Show a frame; the last one only ends the motion before it, and asks for nothing."""
        if frame.is_last:
            return
        numbers = calvin_frame(frame)
        self._rows.append((numbers["robot_obs"], numbers["rel_actions"], True))
        self._stream.tick(frame.observation, frame.instruction)

    def finish(self) -> Mapping[str, Any]:
        """Write what came of the episode into its folder."""
        robot_obs = np.array([row[0] for row in self._rows]).reshape(-1, 15)
        rel_actions = np.array([row[1] for row in self._rows]).reshape(-1, 7)
        numbers = FrameNumbers(np.arange(len(robot_obs)), robot_obs, rel_actions)
        outcome = self._stream.finish(
            self._key,
            recorded=policy_actions(numbers, self._recorded, self._space),
            is_valid=np.ones(len(robot_obs), dtype=np.bool_),
            poses=robot_obs[:, :6],
            gripper_before=gripper_before(robot_obs),
        )
        outcome.save(self._folder / OUTCOME_FILE)
        return {"ticks": len(outcome)}

    def abort(self) -> None:
        """Nothing is held."""
