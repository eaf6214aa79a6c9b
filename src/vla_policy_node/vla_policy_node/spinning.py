# SPDX-License-Identifier: Apache-2.0
"""A node that is spun until somebody asks the process to end, and that may still finish what it does."""

import signal
import sys
import threading
from collections.abc import Callable
from typing import TypeVar

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from vla_core.errors import VlaError

N = TypeVar("N", bound=Node)
_LOOK_FOR_SIGNALS_S = 0.1


def spin_until_asked_to_end(
    make_node: Callable[[], N], args: list[str] | None = None, finish: Callable[[N], None] | None = None
) -> int:
    """Spin a node until SIGINT or SIGTERM; return the exit code.

    Args:
        make_node: Makes the node; a ``VlaError`` or ``OSError`` of it is printed as a sentence.
        args: Arguments of ROS; ``None`` for those of the process.
        finish: Called with the node before it is destroyed.
    """
    # rclpy's own handlers would end the context before the node can finish.
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    asked = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: asked.set())
    executor = SingleThreadedExecutor()
    try:
        node = make_node()
        executor.add_node(node)
        try:
            while rclpy.ok() and not asked.is_set():
                executor.spin_once(timeout_sec=_LOOK_FOR_SIGNALS_S)
        finally:
            if finish is not None:
                finish(node)
            node.destroy_node()
    except (VlaError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        executor.shutdown()
        rclpy.try_shutdown()
    return 0
