# SPDX-License-Identifier: Apache-2.0
"""Choose how MuJoCo renders without a screen.

MuJoCo reads ``MUJOCO_GL`` once, when it is imported, and a backend that does not work may abort the process:
each candidate is therefore tried in a process of its own.
"""

import importlib
import os
import subprocess
import sys

from vla_core.errors import VlaError

BACKENDS = ("egl", "osmesa")
ALLOWED = (*BACKENDS, "glfw")
PROBE_TIMEOUT_S = 60.0
_PROBE = """
import mujoco
model = mujoco.MjModel.from_xml_string('<mujoco/>')
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
with mujoco.Renderer(model, 16, 16) as renderer:
    renderer.update_scene(data)
    renderer.render()
print('rendered', flush=True)
"""


class RenderingError(VlaError):
    """The cameras cannot be rendered: no backend works here, or the one asked for does not exist."""


def chosen_backend() -> str | None:
    """Return what ``MUJOCO_GL`` says, or ``None`` if it is not set.

    Ask before the first import of MuJoCo, which ends in a traceback for a value that it does not know.

    Raises:
        RenderingError: It is none of the allowed values.
    """
    chosen = os.environ.get("MUJOCO_GL", "").strip().lower()
    if chosen and chosen not in ALLOWED:
        raise RenderingError(
            f"environment variable MUJOCO_GL is '{chosen}'; it can be {', '.join(ALLOWED)}. Unset it to have one "
            "chosen that works here, or set it to one of these"
        )
    return chosen or None


def select_rendering_backend() -> str:
    """Return the rendering backend in use, after setting ``MUJOCO_GL`` if nobody has.

    A value of ``MUJOCO_GL`` that is already set is respected and not tried out.

    Raises:
        RenderingError: ``MUJOCO_GL`` is wrong, or no backend works; the message tells what to do.
    """
    chosen = chosen_backend()
    if chosen:
        return chosen
    for backend in BACKENDS:
        if _renders(backend):
            os.environ["MUJOCO_GL"] = backend
            _tell_imported_mujoco()
            return backend
    raise RenderingError(
        f"MuJoCo cannot render on this machine: MUJOCO_GL is not set, and none of {', '.join(BACKENDS)} works. "
        "Install one with 'apt-get install -y libosmesa6' or 'apt-get install -y libegl1 libgl1'"
    )


def _renders(backend: str) -> bool:
    environment = os.environ | {"MUJOCO_GL": backend}
    command = [sys.executable, "-c", _PROBE]
    try:
        probe = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=PROBE_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return False
    # The exit status is no witness: OSMesa may complain while the interpreter shuts down.
    return "rendered" in probe.stdout


def _tell_imported_mujoco() -> None:
    name = "mujoco.rendering.classic.gl_context"
    if name in sys.modules:
        importlib.reload(sys.modules[name])
