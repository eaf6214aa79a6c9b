# SPDX-License-Identifier: Apache-2.0
import sys
from pathlib import Path

# Samples that several test files share lie beside them.
sys.path.insert(0, str(Path(__file__).parent))
