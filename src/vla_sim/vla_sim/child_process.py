# SPDX-License-Identifier: Apache-2.0
"""A node in a process of its own that never outlives this one, however this one ends."""

import ctypes
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from vla_core.errors import VlaError

_PR_SET_PDEATHSIG = 1
_PATIENCE_S = 10.0


class ChildProcess:
    """One node. Start it in the main thread: Linux ends it with the thread that started it.

    Args:
        name: Name in messages and of the log file.
        module: Python module that is run.
        log_dir: Where the log goes.
        parameters: ROS parameters.
    """

    def __init__(self, name: str, module: str, log_dir: Path, parameters: Mapping[str, object]) -> None:
        words = [word for key, value in parameters.items() for word in ("-p", f"{key}:={_as_text(value)}")]
        self._name, self._log_path = name, log_dir / f"{name}.log"
        with self._log_path.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, "--ros-args", *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=_end_with_parent,  # noqa: PLW1509 - it only makes two system calls
            )

    def check(self) -> None:
        """Raise when the process has ended.

        Raises:
            VlaError: It has; the message holds the end of its log.
        """
        code = self._process.poll()
        if code is not None:
            end = "\n".join(self._log_path.read_text(errors="replace").splitlines()[-12:])
            raise VlaError(f"the process '{self._name}' ended with code {code}; the end of its log:\n{end}")

    def stop(self) -> None:
        """Interrupt the process and wait for its end."""
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _end_with_parent() -> None:
    # A killed parent can stop nobody; the kernel does it. A shell may have had interrupts ignored.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _as_text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
