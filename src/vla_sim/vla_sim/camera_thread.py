# SPDX-License-Identifier: Apache-2.0
"""Renders the cameras at their rate, beside physics, and publishes the pictures."""

import threading
import time

from rclpy.node import Node

from vla_core.errors import VlaError
from vla_core.robot_spec import RobotSpec
from vla_sim.appearance import PLAIN, Appearance
from vla_sim.cameras import Cameras, camera_intrinsics, spec_sizes_px
from vla_sim.sim_publishers import CameraPublishers
from vla_sim.viewer import Viewer
from vla_sim.world import World, sleep_until_next, steps_per_sample


class CameraThread:
    """The cameras of a robot. ``run`` is the body of its thread, in which all rendering happens.

    Attributes:
        publishers: Publishers of pictures and camera infos.

    Args:
        node: Node to publish with.
        spec: The robot.
        world: What the cameras see.
        with_window: Whether to open a window on the scene too.
    """

    def __init__(self, node: Node, spec: RobotSpec, world: World, *, with_window: bool) -> None:
        self._node, self._world, self._with_window = node, world, with_window
        self._wanted = PLAIN
        self._sizes_px = spec_sizes_px(spec)
        self._period_s = 1.0 / max(camera.rate_hz for camera in spec.cameras.values())
        self._every = {
            name: steps_per_sample(self._period_s, camera.rate_hz, f"cameras.{name}")
            for name, camera in spec.cameras.items()
        }
        self.publishers = CameraPublishers(node, spec, camera_intrinsics(self._sizes_px))

    def dress(self, appearance: Appearance) -> None:
        """Let the scene look so in the pictures that follow. Any thread may ask."""
        self._wanted = appearance

    def run(self, stop: threading.Event) -> None:
        """Render and publish until told to stop."""
        viewer = self._open_viewer()
        with Cameras(self._sizes_px) as cameras:
            due_s, tick = time.monotonic(), 0
            worn = PLAIN
            while not stop.is_set():
                if self._wanted is not worn:
                    worn = self._wanted
                    cameras.dress(worn)
                snapshot, stamp_ns = self._world.snapshot()
                names = [name for name, every in self._every.items() if tick % every == 0]
                for name, picture in cameras.render(snapshot, names).items():
                    self.publishers.links[name].offer(picture, stamp_ns)
                if viewer is not None:
                    viewer.show(snapshot)
                due_s, tick = sleep_until_next(due_s, self._period_s), tick + 1
        if viewer is not None:
            viewer.close()

    def _open_viewer(self) -> Viewer | None:
        if not self._with_window:
            return None
        try:
            return Viewer()
        except VlaError as error:
            self._node.get_logger().warning(str(error))
            return None
