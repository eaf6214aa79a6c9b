# SPDX-License-Identifier: Apache-2.0
import signal
import sys
from pathlib import Path

# Samples that several test files share lie beside them; the tiny backbones are those of vla_core's tests.
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2] / "vla_core" / "test")]

# A shell starts what runs in its background with interrupts ignored, and processes hand that on: what the tests
# interrupt would not notice.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
