# SPDX-License-Identifier: Apache-2.0
"""Episodes of a dataset split through a policy: one episode per annotation."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from vla_core.actions.gripper import open_from_calvin
from vla_core.geometry import FloatArray, Pose
from vla_core.policy_contract import PolicyContract
from vla_core.types import Observation
from vla_core.units import NS_PER_S
from vla_training.conversion.work_folder import WorkFolder
from vla_training.datasets.dataset_card import GRIPPER_WIDTH_OPEN_M
from vla_training.datasets.dataset_error import DatasetError
from vla_training.datasets.frame_store import Annotation, FrameStore
from vla_training.datasets.policy_actions import policy_actions
from vla_training.evaluation.open_loop.episode import EpisodeOutcome, PolicyStream
from vla_training.evaluation.run_journal import digest_of

OUTCOME_FILE = "outcome.npz"


def evaluate_split(
    stream: PolicyStream, contract: PolicyContract, store: FrameStore, name: str, work: WorkFolder
) -> Iterator[EpisodeOutcome]:
    """Yield what came of each annotation; those that are in the work folder are not streamed again.

    Args:
        stream: Runs the policy.
        contract: What the policy promises and needs.
        store: The split.
        name: Of the dataset, for the episodes' keys.
        work: Where whole episodes are kept.

    Raises:
        DatasetError: The split does not fit the policy, or cannot be read.
    """
    require_fits(contract, store)
    episodes = _SplitEpisodes(store, contract)
    for number, annotation in enumerate(store.annotations):
        shown = f"{annotation.start} {annotation.end} {annotation.instruction}"
        key = f"{name}_{number:05d}_{digest_of(shown)[:6]}"
        path = work.episode(key) / OUTCOME_FILE
        if not work.has_episode(key):
            draft = work.draft(key)
            episodes.stream(stream, annotation, key).save(draft / OUTCOME_FILE)
            work.keep(key, draft, {"instruction": annotation.instruction})
        yield EpisodeOutcome.load(path)


def require_fits(contract: PolicyContract, store: FrameStore) -> None:
    """Check that a split shows what the policy was trained with.

    Raises:
        DatasetError: Rate, cameras or shapes of pictures differ; the sentence holds both values.
    """
    card = store.card
    if abs(card.period_s / contract.period_s - 1.0) > 0.01:
        raise DatasetError(
            f"{store.folder}: its frames are {1 / card.period_s:.4g} Hz, the checkpoint was trained at "
            f"{1 / contract.period_s:.4g} Hz. Convert the bags with --rate-hz {1 / contract.period_s:.4g}, or "
            "give the bags themselves"
        )
    for name, aspect in zip(contract.cameras, contract.image_aspects, strict=True):
        size = card.robot.cameras.get(name)
        if size is None:
            raise DatasetError(
                f"{store.folder}: no camera '{name}', which the checkpoint was trained with; it has "
                f"{sorted(card.robot.cameras)}"
            )
        if abs(size.width_px / size.height_px / aspect - 1.0) > 0.01:
            raise DatasetError(
                f"{store.folder}: camera '{name}' has pictures of {size.width_px}x{size.height_px}, the "
                f"checkpoint was trained with aspect {aspect:.3f}"
            )
    if not any(a.end > a.start for a in store.annotations):
        raise DatasetError(f"{store.folder}: it holds no episode. Choose another --split or dataset")


class _SplitEpisodes:
    """The frames of a split as observations."""

    def __init__(self, store: FrameStore, contract: PolicyContract) -> None:
        self._store, self._contract = store, contract
        self._actions = policy_actions(store.numbers, store.card.action_space, contract.action_space)

    def stream(self, stream: PolicyStream, annotation: Annotation, key: str) -> EpisodeOutcome:
        """Stream the frames that have an action: the annotation's end shows only where the last one has led."""
        ids = np.arange(annotation.start, max(annotation.end, annotation.start + 1))
        rows = self._store.numbers.rows(ids)
        robot_obs = self._store.numbers.robot_obs[rows]
        stream.begin()
        for tick, (frame, numbers) in enumerate(zip(ids.tolist(), robot_obs, strict=True)):
            stream.tick(self._observation(frame, numbers, tick), annotation.instruction)
        return stream.finish(
            key,
            recorded=self._actions[rows],
            is_valid=ids < annotation.end,
            poses=robot_obs[:, :6],
            gripper_before=gripper_before(robot_obs),
        )

    def _observation(self, frame: int, robot_obs: FloatArray, tick: int) -> Observation:
        pictures: dict[str, NDArray[np.uint8]] = {
            name: self._store.pictures(name, [frame])[0] for name in self._contract.cameras
        }
        return Observation(
            stamp_ns=round(tick * self._contract.period_s * NS_PER_S),
            images=pictures,
            pose_tcp_in_base=Pose.from_euler(robot_obs[:3], robot_obs[3:6]),
            joint_positions_rad=robot_obs[7:14],
            gripper_open=float(np.clip(robot_obs[6] / GRIPPER_WIDTH_OPEN_M, 0.0, 1.0)),
            source_stamps_ns={},
        )


def gripper_before(robot_obs: FloatArray) -> FloatArray:
    """Return (T,) what the gripper had been asked for until each frame, 0 or 1, from ``robot_obs`` (T, 15)."""
    return open_from_calvin(np.where(robot_obs[:, 14] > 0, 1.0, -1.0))
