# SPDX-License-Identifier: Apache-2.0
"""The public CALVIN simulator (``calvin_env``, mees/calvin): imported by this file alone, and only when asked."""

import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from vla_core.config import read_yaml
from vla_core.errors import VlaError
from vla_core.instruction import clean_instruction
from vla_training.evaluation.calvin.rollout import CalvinWorld

Renderer = Literal["egl", "tiny"]

HOW_TO_INSTALL = (
    "CALVIN's simulator is not installed (no module 'calvin_env'). Get it: git clone --recurse-submodules "
    "https://github.com/mees/calvin, then pip install -e calvin/calvin_env/tacto -e calvin/calvin_env; "
    "calvin_models and its package pyhash, which does not build on Python 3.11, are not needed. See "
    "docs/evaluation.md"
)
_SENTENCES_FILE = "new_playtable_validation.yaml"
_TASKS_FILE = "new_playtable_tasks.yaml"
_RENDERING_FILE = Path("validation") / ".hydra" / "merged_config.yaml"
_BELOW = (
    Path(),
    Path("conf") / "tasks",
    Path("calvin_env") / "conf" / "tasks",
    Path("calvin_models") / "conf" / "annotations",
    Path("calvin_models") / "conf" / "callbacks" / "rollout" / "tasks",
)


@dataclass(frozen=True)
class CalvinSimulator:
    """Makes the world of one process.

    Attributes:
        folders: Checkout of mees/calvin, or a dataset, or both.
        renderer: ``egl`` needs a driver; published numbers are its. ``tiny`` runs everywhere; its pictures differ.
    """

    folders: tuple[Path, ...]
    renderer: Renderer = "egl"

    def check(self) -> None:
        """Look whether everything is there, without starting anything.

        Raises:
            VlaError: The simulator is not installed, or a file is missing.
        """
        if importlib.util.find_spec("calvin_env") is None:
            raise VlaError(HOW_TO_INSTALL)
        find_file(self.folders, _SENTENCES_FILE)

    def __call__(self) -> CalvinWorld:
        """Return a new world."""
        self.check()
        return CalvinWorld(
            _environment(self.folders, self.renderer), _oracle(self.folders), read_sentences(self.folders)
        )


def read_sentences(folders: Sequence[Path]) -> dict[str, str]:
    """Return subtask to its sentence for evaluation: the first one of CALVIN's validation file.

    Raises:
        VlaError: The file is not there, or no such file.
    """
    path = find_file(folders, _SENTENCES_FILE)
    data = read_yaml(path)
    try:
        return {str(subtask): clean_instruction(sentences[0]) for subtask, sentences in data.items()}
    except (AttributeError, TypeError, LookupError) as error:
        raise VlaError(f"{path}: expected subtask to sentences, found something else ({error!r})") from error


def find_file(folders: Sequence[Path], name: str) -> Path:
    """Return where a file of CALVIN's lies in a checkout or a folder.

    Raises:
        VlaError: It is in none of them.
    """
    for path in _candidates(folders, name):
        if path.is_file():
            return path
    raise VlaError(
        f"'{name}' is not in {', '.join(map(str, folders))}. Give a checkout of https://github.com/mees/calvin"
    )


def _candidates(folders: Sequence[Path], name: str) -> Iterator[Path]:
    yield from (folder / below / name for folder in folders for below in _BELOW)


def _environment(folders: Sequence[Path], renderer: Renderer) -> Any:
    """Return CALVIN's environment with both cameras, set up as a dataset says, or with scene D for evaluation."""
    import calvin_env
    import hydra  # type: ignore[import-not-found, unused-ignore]
    from hydra.core.global_hydra import GlobalHydra  # type: ignore[import-not-found, unused-ignore]
    from omegaconf import OmegaConf  # type: ignore[import-not-found, unused-ignore]

    settings = next((path for folder in folders if (path := folder / _RENDERING_FILE).is_file()), None)
    GlobalHydra.instance().clear()
    conf = Path(calvin_env.__file__).resolve().parents[1] / "conf"
    with hydra.initialize_config_dir(str(conf), version_base="1.1"):
        if settings is not None:
            config = OmegaConf.load(settings)
        else:
            overrides = ["scene=calvin_scene_D_eval", "cameras=static_and_gripper"]
            config = hydra.compose("config_data_collection", overrides=overrides)
        config.cameras = {name: config.cameras[name] for name in ("static", "gripper")}
        config.env.use_egl = renderer == "egl"
        try:
            return hydra.utils.instantiate(config.env, show_gui=False, use_vr=False, use_scene_info=True)
        except (SystemExit, Exception) as error:  # what a simulator does when it cannot start is its own affair
            raise VlaError(
                f"CALVIN's simulator does not start with --renderer {renderer} ({type(error).__name__}: {error}). "
                "Where there is no graphics driver, use --renderer tiny; calvin_env must be a git clone"
            ) from error


def _oracle(folders: Sequence[Path]) -> Any:
    import calvin_env
    import hydra
    from omegaconf import OmegaConf

    package = Path(calvin_env.__file__).resolve().parents[1]
    return hydra.utils.instantiate(OmegaConf.load(find_file([*folders, package], _TASKS_FILE)))
