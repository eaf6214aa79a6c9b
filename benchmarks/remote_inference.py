# SPDX-License-Identifier: Apache-2.0
"""What a policy server costs per tick on loopback, against the same policy called in this process.

Usage: python benchmarks/remote_inference.py [--ticks 200]

Two 640x480 pictures go one way, a chunk of actions comes back. The policy does nothing, so that only the way is
timed. Calls of the rows take turns, tick by tick, so that a busy machine slows all of them. The servers are
processes of their own.
"""

import argparse
import contextlib
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from machine import machine

from vla_core.actions.action_space import ActionSpace
from vla_core.geometry import Pose
from vla_core.policy_contract import Policy, PolicyContract
from vla_core.remote.keys import load_client_keys, load_server_keys, make_keys
from vla_core.remote.policy_client import RemotePolicy
from vla_core.remote.policy_server import PolicyServer
from vla_core.types import ActionChunk, Observation

WIDTH_PX, HEIGHT_PX = 640, 480
WARM_UP = 10
CAMERAS = ("static", "wrist")


class StillPolicy:
    """Answers at once, and with nothing."""

    contract = PolicyContract(
        cameras=CAMERAS,
        image_aspects=(WIDTH_PX / HEIGHT_PX,) * 2,
        period_s=0.1,
        chunk_size=10,
        window_size=1,
        action_space=ActionSpace(frame="base"),
        is_trained=False,
    )

    def reset(self) -> None:
        """Forget nothing: there is no history."""

    def infer(self, observation: Observation, instruction: str) -> ActionChunk:
        """Return ten actions that ask for no motion."""
        return ActionChunk(observation.stamp_ns, self.contract.period_s, np.zeros((10, 7), np.float32))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--ticks", type=int, default=200, help="timed calls of each row")
    ticks = parser.parse_args().ticks
    print(f"{machine()}; two {WIDTH_PX}x{HEIGHT_PX} pictures per tick, {ticks} ticks")
    with tempfile.TemporaryDirectory() as folder:
        make_keys(Path(folder))
        with server(Path(folder) / "server") as encrypted, server(None) as plain:
            rows: dict[str, Policy] = {
                "in this process": StillPolicy(),
                "plain text": RemotePolicy(plain, None, 10.0),
                "CURVE": RemotePolicy(encrypted, load_client_keys(Path(folder) / "client"), 10.0),
            }
            times_ms = measure(rows, ticks)
    print(f"{'milliseconds':18}{'median':>9}{'p95':>9}{'highest':>9}")
    for name, values in times_ms.items():
        median, p95 = statistics.median(values), float(np.percentile(values, 95))
        print(f"{name:18}{median:9.3f}{p95:9.3f}{max(values):9.3f}")


def measure(rows: dict[str, Policy], ticks: int) -> dict[str, list[float]]:
    """Return the milliseconds of each call of each row."""
    times_ms: dict[str, list[float]] = {name: [] for name in rows}
    noise = np.random.default_rng(0).integers(0, 256, (2, HEIGHT_PX, WIDTH_PX, 3), dtype=np.uint8)
    for tick in range(WARM_UP + ticks):
        seen = observation(tick, dict(zip(CAMERAS, noise, strict=True)))
        for name, policy in rows.items():
            began_ns = time.perf_counter_ns()
            policy.infer(seen, "lift the red block")
            if tick >= WARM_UP:
                times_ms[name].append((time.perf_counter_ns() - began_ns) / 1e6)
    return times_ms


def observation(tick: int, pictures: dict[str, np.ndarray]) -> Observation:
    return Observation(
        stamp_ns=tick,
        images=pictures,
        pose_tcp_in_base=Pose.identity(),
        joint_positions_rad=np.zeros(7),
        gripper_open=1.0,
        source_stamps_ns=dict.fromkeys((*CAMERAS, "tcp_pose", "joints"), tick),
    )


@contextlib.contextmanager
def server(keys: Path | None) -> Iterator[str]:
    """Run a server in a process of its own; give its address."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    child = context.Process(target=serve, args=(keys, theirs), daemon=True)
    child.start()
    try:
        yield ours.recv()
    finally:
        child.terminate()
        child.join(10.0)


def serve(keys: Path | None, pipe: Connection) -> None:
    known = None if keys is None else load_server_keys(keys)
    with PolicyServer(StillPolicy(), "tcp://127.0.0.1:*", known) as running:
        pipe.send(running.address)
        running.run()


if __name__ == "__main__":
    main()
