# SPDX-License-Identifier: Apache-2.0
"""A policy that counts, a server in a thread, and a proxy that spoils what passes."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from vla_core.actions.action_space import ActionSpace
from vla_core.errors import InstructionError
from vla_core.geometry import Pose
from vla_core.policy_contract import Policy, PolicyContract
from vla_core.remote.keys import ServerKeys, load_client_keys, load_server_keys, make_keys
from vla_core.remote.policy_client import RemotePolicy
from vla_core.remote.policy_server import PolicyServer
from vla_core.types import ActionChunk, Observation

LOOPBACK = "tcp://127.0.0.1:*"
CONTRACT = PolicyContract(
    cameras=("static", "wrist"),
    image_aspects=(1.0, 1.0),
    period_s=0.1,
    chunk_size=2,
    window_size=4,
    action_space=ActionSpace(frame="base"),
    is_trained=True,
)


class CountingPolicy:
    """Its actions hold how many ticks its history has; ``misbehave`` is called before each tick."""

    def __init__(self, contract: PolicyContract = CONTRACT) -> None:
        self.contract = contract
        self.num_ticks = 0
        self.num_resets = 0
        self.seen: list[Observation] = []
        self.misbehave: Callable[[], None] = lambda: None

    def reset(self) -> None:
        self.num_ticks = 0
        self.num_resets += 1

    def infer(self, observation: Observation, instruction: str) -> ActionChunk:
        if instruction == "unusable":
            raise InstructionError("instruction: this one cannot be used")
        self.misbehave()
        self.num_ticks += 1
        self.seen.append(observation)
        actions = np.full((self.contract.chunk_size, 7), self.num_ticks, np.float32)
        return ActionChunk(observation.stamp_ns, self.contract.period_s, actions)


def observation(stamp_ns: int = 1, size_px: int = 20) -> Observation:
    generator = np.random.default_rng(stamp_ns)
    pictures = generator.integers(0, 256, (2, size_px, size_px, 3), dtype=np.uint8)
    return Observation(
        stamp_ns=stamp_ns,
        images=dict(zip(("static", "wrist"), pictures, strict=True)),
        pose_tcp_in_base=Pose.from_quat(generator.normal(size=3), _unit(generator.normal(size=4))),
        joint_positions_rad=generator.normal(size=7),
        gripper_open=float(generator.random()),
        source_stamps_ns={"static": stamp_ns, "joints": stamp_ns - 1},
    )


def _unit(values: np.ndarray) -> np.ndarray:
    return values / np.linalg.norm(values)


def history_of(chunk: ActionChunk) -> int:
    """Return how many ticks the history of a ``CountingPolicy`` had."""
    return int(chunk.actions[0, 0])


def wait_until(condition: Callable[[], bool], what: str, timeout_s: float = 10.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, f"waited {timeout_s} s for {what}"
        time.sleep(0.005)


@contextlib.contextmanager
def serving(policy: Policy, keys: ServerKeys | None = None, bind: str = LOOPBACK) -> Iterator[str]:
    """Serve a policy from a thread; give the address."""
    is_over = threading.Event()
    with PolicyServer(policy, bind, keys) as server:
        thread = threading.Thread(target=server.run, args=(is_over.is_set,), daemon=True)
        thread.start()
        try:
            yield server.address
        finally:
            is_over.set()
            thread.join(10.0)
            assert not thread.is_alive()


@contextlib.contextmanager
def asking(
    address: str, timeout_s: float = 10.0, keys: Path | None = None, **more: bytes
) -> Iterator[RemotePolicy]:
    """Connect to a server."""
    client = RemotePolicy(address, None if keys is None else load_client_keys(keys), timeout_s, **more)
    try:
        yield client
    finally:
        client.close()


def lose_patience(client: RemotePolicy, timeout_s: float) -> None:
    """From now on wait less (or more) than at the handshake, which a busy machine may make slow."""
    client._timeout_s = timeout_s


def server_keys(folder: Path) -> ServerKeys:
    make_keys(folder)
    return load_server_keys(folder / "server")


class SpoilingProxy:
    """Passes bytes between clients and a server; each direction through a function that may change them.

    Attributes:
        address: Where clients connect.
        spoil_request: Called with what a client sent; what it returns goes on, empty bytes are lost.
        spoil_answer: The same for what the server sent.
    """

    def __init__(self, server: str) -> None:
        self._target = ("127.0.0.1", int(server.rpartition(":")[2]))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self.spoil_request: Callable[[bytes], bytes] = bytes
        self.spoil_answer: Callable[[bytes], bytes] = bytes
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Close what is open, as a router that is restarted."""
        sockets, self._sockets = self._sockets, []
        for each in sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
            except OSError:
                return
            self._sockets += [client, server]
            threading.Thread(target=self._pass, args=(client, server, "spoil_request"), daemon=True).start()
            threading.Thread(target=self._pass, args=(server, client, "spoil_answer"), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, spoil: str) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(getattr(self, spoil)(data))
        for each in (source, sink):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def spoiling(server: str) -> Iterator[SpoilingProxy]:
    proxy = SpoilingProxy(server)
    try:
        yield proxy
    finally:
        proxy.close()
