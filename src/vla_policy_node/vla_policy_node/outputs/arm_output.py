# SPDX-License-Identifier: Apache-2.0
"""What every command interface of an arm can do."""

from typing import Any, Protocol

from rclpy.time import Time

from vla_core.geometry import Pose
from vla_core.joint_following import JointProblem
from vla_core.observer import Proprioception
from vla_core.types import PosePath


class ArmOutput(Protocol):
    """One command interface of an arm.

    Attributes:
        message_type: ROS type of its messages.
        queue_depth: Depth of the publisher's queue; 1 where only the newest message counts.
    """

    message_type: Any
    queue_depth: int

    def move(
        self, target: Pose, measured: Proprioception | None, now: Time, ahead: PosePath | None
    ) -> tuple[Any, JointProblem | None]:
        """Return the message that leads to ``target``, and why the joints cannot do it, if they cannot.

        Args:
            target: Guarded pose of the TCP in the base frame.
            measured: What is measured now; ``None`` when that cannot be trusted.
            now: Time of the command.
            ahead: The path that follows, when it differs from the one before.

        Returns:
            The message, ``None`` when an earlier one has said it or there is nowhere to start, and the problem.
        """

    def stand_still(self, held: Pose, now: Time) -> Any:
        """Return the message that makes the arm stand still at ``held``; ``None`` when it does so anyway."""

    def release(self) -> None:
        """Forget what was sent: the next motion starts from where the arm is then."""
