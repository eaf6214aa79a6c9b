# SPDX-License-Identifier: Apache-2.0
"""One thread that owns the policy: the executor never waits for the model.

The mailbox holds one request, the newest. A request of a new episode makes the policy forget its history first.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from vla_core.policy_contract import Policy
from vla_core.types import ActionChunk, Observation
from vla_core.units import NS_PER_MS


@dataclass(frozen=True, eq=False)
class InferenceRequest:
    """One observation to be turned into a chunk.

    Attributes:
        observation: What the policy sees.
        instruction: The sentence that it follows.
        episode: Number that changes whenever history must be forgotten.
        requested_ns: ``time.monotonic_ns`` at which the observation was asked for.
        observed_ns: ``time.monotonic_ns`` at which the observation was complete.
    """

    observation: Observation
    instruction: str
    episode: int
    requested_ns: int
    observed_ns: int


@dataclass(frozen=True, eq=False)
class InferenceResult:
    """What came of a request.

    Attributes:
        request: The request.
        outcome: The chunk; or an ``InstructionError``, when the policy cannot use the sentence; or whatever else
            the policy raised.
        began_ns: ``time.monotonic_ns`` at which the policy began.
        ended_ns: ``time.monotonic_ns`` at which it ended.
    """

    request: InferenceRequest
    outcome: ActionChunk | Exception
    began_ns: int
    ended_ns: int

    @property
    def inference_ms(self) -> float:
        """Wall time that the policy took, milliseconds."""
        return (self.ended_ns - self.began_ns) / NS_PER_MS


class InferenceThread:
    """Runs a policy in a thread of its own.

    Attributes:
        num_skipped: Requests that were replaced by a newer one before the policy could begin.

    Args:
        policy: The policy; from now on only this thread touches it.
        on_result: Called in the thread after each result; it must only wake somebody up.
    """

    def __init__(self, policy: Policy, on_result: Callable[[], None]) -> None:
        self._policy = policy
        self._on_result = on_result
        self._wake = threading.Condition()
        self._request: InferenceRequest | None = None
        self._stopping = False
        self._episode: int | None = None
        self._results: deque[InferenceResult] = deque(maxlen=16)
        self.num_skipped = 0
        self._thread = threading.Thread(target=self._run, name="inference", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether the thread still runs."""
        return self._thread.is_alive()

    def submit(self, request: InferenceRequest) -> None:
        """Hand over a request; one that the policy has not begun is replaced."""
        with self._wake:
            if self._request is not None:
                self.num_skipped += 1
            self._request = request
            self._wake.notify()

    def take_results(self) -> list[InferenceResult]:
        """Return the results since the last call, oldest first."""
        results = []
        while self._results:
            results.append(self._results.popleft())
        return results

    def stop(self, timeout_s: float = 5.0) -> None:
        """End the thread after the inference in progress."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            while (request := self._next_request()) is not None:
                self._results.append(self._infer(request))
                self._on_result()
        finally:
            self._on_result()

    def _next_request(self) -> InferenceRequest | None:
        with self._wake:
            self._wake.wait_for(lambda: self._stopping or self._request is not None)
            request, self._request = self._request, None
            return None if self._stopping else request

    def _infer(self, request: InferenceRequest) -> InferenceResult:
        began_ns = time.monotonic_ns()
        outcome: ActionChunk | Exception
        try:
            if request.episode != self._episode:
                self._policy.reset()
                self._episode = request.episode
            outcome = self._policy.infer(request.observation, request.instruction)
        except Exception as error:
            outcome = error
        return InferenceResult(request, outcome, began_ns, time.monotonic_ns())
