# SPDX-License-Identifier: Apache-2.0
import sys
from pathlib import Path

from hypothesis import settings

# How long an example takes says nothing on shared cores.
settings.register_profile("shared_cores", deadline=None)
settings.load_profile("shared_cores")

# Strategies and samples that several test files share lie beside them.
sys.path.insert(0, str(Path(__file__).parent))
