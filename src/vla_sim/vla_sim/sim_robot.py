# SPDX-License-Identifier: Apache-2.0
"""The node ``sim_robot``: the simulated robot behind the topics of a robot spec.

Publishes the spec's camera images (and ``camera_info`` beside each), TCP pose, joint states, ``task_state`` and
``/diagnostics``; follows every command topic of the spec. ``~/reset`` takes the parameters ``seed`` and ``task``;
the parameters ``fault.*`` break streams until ``~/clear_faults``.

Three threads: the executor (commands, services, parameters), physics with the state publishers, and the cameras.
"""

import threading
from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from rclpy.parameter import Parameter
from std_srvs.srv import Trigger

from vla_core.errors import VlaError
from vla_core.robot_spec import RobotSpec
from vla_sim.appearance import Appearance, draw_appearance
from vla_sim.camera_thread import CameraThread
from vla_sim.faults import FAULT_KINDS, FaultyLink
from vla_sim.rendering_backend import select_rendering_backend
from vla_sim.scene.model import ARM_JOINTS
from vla_sim.sim_commands import CommandSubscriptions
from vla_sim.sim_diagnostics import SimDiagnostics
from vla_sim.sim_parameters import declare_parameters, refuse_wrong_parameters
from vla_sim.sim_publishers import StatePublishers
from vla_sim.tabletop import Tabletop
from vla_sim.world import World


class SimRobot(Node):
    """The simulated robot as a node; the module says what it offers."""

    def __init__(self, **node_options: Any) -> None:
        super().__init__("sim_robot", **node_options)
        declare_parameters(self)
        self.add_on_set_parameters_callback(refuse_wrong_parameters)
        spec = self._load_spec()
        backend = select_rendering_backend()
        tabletop = Tabletop(self._value("seed"), self._value("task") or None)
        self._world = World(tabletop, lambda: self.get_clock().now().nanoseconds)
        self._states = StatePublishers(self, spec, self._world.period_s)
        self._cameras = CameraThread(self, spec, self._world, with_window=self._value("view"))
        self._cameras.dress(self._appearance())
        self._commands = CommandSubscriptions(self, spec, self._world)
        self.add_post_set_parameters_callback(self._apply_faults)
        self._apply_faults()
        self.create_service(Trigger, "~/reset", self._on_reset)
        self.create_service(Trigger, "~/clear_faults", self._on_clear_faults)
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(self._world.run, self._states.on_step), name="physics"),
            threading.Thread(target=self._run, args=(self._cameras.run,), name="cameras"),
        ]
        for thread in self._threads:
            thread.start()
        self._diagnostics = SimDiagnostics(self, self._world, self._cameras.publishers)
        self.get_logger().info(f"simulated robot '{spec.name}' is running; cameras render with {backend}")

    def destroy_node(self) -> None:
        """Stop the threads, then the node."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        super().destroy_node()

    def _run(self, body: Callable[..., None], *args: object) -> None:
        """Run a thread's body; a robot that has lost its physics or its eyes stops altogether."""
        try:
            body(self._stop, *args)
        except Exception as error:
            if self.context.ok():
                self.get_logger().fatal(f"{threading.current_thread().name} failed, the node stops: {error!r}")
                self.context.try_shutdown()

    def _appearance(self) -> Appearance:
        return draw_appearance(self._value("seed"), tuple(self._value("randomise")))

    def _load_spec(self) -> RobotSpec:
        path = self._value("robot_spec")
        if not path:
            raise VlaError(
                "parameter 'robot_spec' is not set; give the path of a robot spec, for example "
                "--ros-args -p robot_spec:=config/robots/sim_arm.yaml"
            )
        spec = RobotSpec.load(path)
        if spec.joints.names != ARM_JOINTS:
            raise VlaError(
                f"{path}: joints.names is {list(spec.joints.names)}; the simulated arm has {list(ARM_JOINTS)}. "
                "Use config/robots/sim_arm.yaml or a copy of it"
            )
        return spec

    def _on_reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        seed, task = self._value("seed"), self._value("task")
        self._cameras.dress(self._appearance())
        self._world.reset(seed, task or None)
        response.success = True
        response.message = f"scene reset with seed {seed}" + (f" for task '{task}'" if task else "")
        return response

    def _on_clear_faults(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        had = [stream for stream in FAULT_KINDS if self._value(f"fault.{stream}") != "none"]
        self.set_parameters([Parameter(f"fault.{stream}", value="none") for stream in FAULT_KINDS])
        response.success = True
        response.message = f"faults cleared: {', '.join(had)}" if had else "there were no faults"
        return response

    def _apply_faults(self, parameters: list[Parameter] | None = None) -> None:
        links: dict[str, FaultyLink[Any]] = {
            **self._cameras.publishers.links,
            "tcp_pose": self._states.pose_link,
            "joints": self._states.joints_link,
        }
        for stream, link in links.items():
            link.set_fault(self._value(f"fault.{stream}"), self._value("fault.delay_ms"))

    def _value(self, name: str) -> Any:
        return self.get_parameter(name).value
