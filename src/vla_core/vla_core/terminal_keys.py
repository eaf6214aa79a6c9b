# SPDX-License-Identifier: Apache-2.0
"""Single keys and typed lines from the terminal that a program was started in."""

import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def single_keys() -> Iterator[None]:
    """Let the terminal hand over each key at once, without showing it; as before at the end."""
    before = termios.tcgetattr(sys.stdin)
    tty.setcbreak(sys.stdin)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def typed_line(question: str) -> str:
    """Return a line that a person types, without outer white space; the terminal is meanwhile as it usually is."""
    quiet = termios.tcgetattr(sys.stdin)
    usual = termios.tcgetattr(sys.stdin)
    usual[3] |= termios.ECHO | termios.ICANON
    termios.tcsetattr(sys.stdin, termios.TCSADRAIN, usual)
    try:
        return input(question).strip()
    except EOFError:
        return ""
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, quiet)
