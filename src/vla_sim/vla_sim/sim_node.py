# SPDX-License-Identifier: Apache-2.0
"""The process of the simulated robot: starts the node of ``sim_robot`` and ends it in order."""

import signal
import sys

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.utilities import try_shutdown

from vla_core.errors import VlaError
from vla_sim.rendering_backend import chosen_backend


def main(args: list[str] | None = None) -> int:
    """Run the node until it is interrupted; return the exit status."""
    rclpy.init(args=args)
    node: Node | None = None
    try:
        chosen_backend()  # before the first import of MuJoCo, which fails with a traceback if it is wrong
        from vla_sim.sim_robot import SimRobot

        node = SimRobot()
        rclpy.spin(node)
    except VlaError as error:
        print(f"sim_robot cannot start: {error}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        # Ctrl-C under ros2 launch comes twice: from the terminal and from launch.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if node is not None:
            node.destroy_node()
        try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
