# SPDX-License-Identifier: Apache-2.0
"""The demo's processes: each with its own log, and a reason when one ends too early."""

import signal
import subprocess
import sys
from pathlib import Path


class DemoError(RuntimeError):
    """Something on the way is missing; the message says what."""


class Process:
    """One node in a process of its own.

    Args:
        name: Name in messages and of the log file.
        module: Python module that is run.
        log_dir: Where the log goes.
        parameters: ROS parameters.
    """

    def __init__(self, name: str, module: str, log_dir: Path, parameters: dict[str, object]) -> None:
        words = [word for key, value in parameters.items() for word in ("-p", f"{key}:={_as_text(value)}")]
        self.name = name
        self._log_path = log_dir / f"{name}.log"
        with self._log_path.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, "--ros-args", *words], stdout=log, stderr=subprocess.STDOUT
            )

    def check(self) -> None:
        """Raise when the process has ended.

        Raises:
            DemoError: It has; the message holds the end of its log.
        """
        code = self._process.poll()
        if code is not None:
            end = "\n".join(self._log_path.read_text().splitlines()[-12:])
            raise DemoError(f"the process '{self.name}' ended with code {code}; the end of its log:\n{end}")

    def stop(self) -> None:
        """Interrupt the process and wait for its end."""
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _as_text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
