# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from vla_core.robot_spec import RobotSpec
from vla_sim.camera_model import PinholeCamera
from vla_sim.cameras import Cameras, camera_intrinsics, spec_sizes_px
from vla_sim.rendering_backend import ALLOWED, RenderingError, chosen_backend, select_rendering_backend
from vla_sim.tabletop import Tabletop

BLOCK_RGB = {"red_block": (0.85, 0.08, 0.08), "blue_block": (0.08, 0.22, 0.9), "pink_block": (0.98, 0.5, 0.78)}


def hue_distance(picture: np.ndarray, rgb: tuple[float, float, float]) -> np.ndarray:
    brightness = np.linalg.norm(picture, axis=-1)
    unit = picture / np.maximum(brightness, 1.0)[..., None]
    distance = np.linalg.norm(unit - np.array(rgb) / np.linalg.norm(rgb), axis=-1)
    # In the dark the noise has any hue.
    return np.where(brightness > 60.0, distance, np.inf)


def test_equal_seeds_give_equal_pictures_to_the_bit(spec: RobotSpec, tabletop: Tabletop) -> None:
    pictures = []
    for _ in range(2):
        with Cameras(spec_sizes_px(spec), seed=3) as cameras:
            tabletop.reset(1)
            cameras.render(tabletop.snapshot)
            pictures.append(cameras.render(tabletop.snapshot))
    for name, camera in spec.cameras.items():
        assert pictures[0][name].shape == (camera.height_px, camera.width_px, 3)
        assert pictures[0][name].dtype == np.uint8
        assert np.array_equal(pictures[0][name], pictures[1][name])


def test_two_pictures_of_a_still_scene_differ_by_about_a_grey_level(spec: RobotSpec, tabletop: Tabletop) -> None:
    with Cameras(spec_sizes_px(spec)) as cameras:
        last = cameras.render(tabletop.snapshot)
        for _ in range(30):
            now = cameras.render(tabletop.snapshot)
            for name in now:
                assert not np.array_equal(now[name], last[name])
                assert np.abs(now[name].astype(int) - last[name]).mean() < 3.0
            last = now


@pytest.mark.parametrize("block", BLOCK_RGB)
@pytest.mark.parametrize("camera", ["static", "wrist"])
def test_the_camera_model_projects_a_block_onto_its_colour(tabletop: Tabletop, camera: str, block: str) -> None:
    size = {camera: (400, 300)}
    tabletop.reset(5, "close_drawer")
    with Cameras(size) as cameras:
        picture = cameras.render(tabletop.snapshot)[camera]
        pixel = camera_intrinsics(size)[camera].project(
            cameras.pose_in_base(camera), tabletop.state().blocks[block].position_m
        )
    rows, columns = np.nonzero(hue_distance(picture, BLOCK_RGB[block]) < 0.2)
    assert len(rows) > 40
    # The faces that the camera sees are nearer to it than the block's middle.
    assert np.allclose([columns.mean(), rows.mean()], pixel, atol=6.0)


def test_the_middle_of_the_view_is_the_middle_of_the_picture() -> None:
    camera = PinholeCamera.from_field_of_view(200, 100, 90.0)
    assert camera.focal_px == pytest.approx(50.0)
    assert camera.matrix[0, 2] == pytest.approx(99.5)
    assert camera.matrix[1, 2] == pytest.approx(49.5)


def test_the_light_shows(spec: RobotSpec, tabletop: Tabletop) -> None:
    yellow_px = {}
    with Cameras({"static": (200, 200)}) as cameras:
        for task in ("turn_on_light", "turn_off_light"):
            tabletop.reset(0, task)
            picture = cameras.render(tabletop.snapshot)["static"].astype(int)
            is_yellow = (picture[..., 0] > 200) & (picture[..., 1] > 190) & (picture[..., 2] < 90)
            yellow_px[task] = int(np.count_nonzero(is_yellow))
    assert yellow_px["turn_on_light"] == 0
    assert yellow_px["turn_off_light"] > 20


def test_a_backend_that_is_set_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    assert select_rendering_backend() == "osmesa"


def test_a_backend_that_does_not_exist_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "foo")
    with pytest.raises(RenderingError, match=r"MUJOCO_GL is 'foo'; it can be egl, osmesa, glfw\. Unset it"):
        chosen_backend()
    for name in ALLOWED:
        monkeypatch.setenv("MUJOCO_GL", name)
        assert chosen_backend() == name


def test_without_a_backend_the_error_holds_the_apt_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.setattr("vla_sim.rendering_backend.BACKENDS", ("none_such",))
    with pytest.raises(RenderingError, match="apt-get install -y libosmesa6"):
        select_rendering_backend()
