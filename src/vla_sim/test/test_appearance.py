# SPDX-License-Identifier: Apache-2.0
"""Looks drawn from a seed: what changes, what does not, and that nothing of it is left afterwards."""

import numpy as np
import pytest
from numpy.typing import NDArray

from vla_core.errors import VlaError
from vla_core.geometry import angle_rad, distance_m
from vla_core.robot_spec import RobotSpec
from vla_sim.appearance import PLAIN, RANDOMISED, SHIFT_M, TURN_RAD, draw_appearance
from vla_sim.cameras import Cameras, camera_intrinsics, spec_sizes_px
from vla_sim.lesson import Lesson
from vla_sim.tabletop import Tabletop

Pictures = dict[str, NDArray[np.uint8]]


def difference(one: Pictures, other: Pictures, camera: str = "static") -> float:
    return float(np.abs(one[camera].astype(int) - other[camera]).mean())


def test_equal_seeds_give_equal_looks_and_others_others(spec: RobotSpec, tabletop: Tabletop) -> None:
    seen: list[Pictures] = []
    with Cameras(spec_sizes_px(spec)) as cameras:
        for seed in (4, 5, 4):
            cameras.reset(0, draw_appearance(seed, RANDOMISED))
            seen.append(cameras.render(tabletop.snapshot))
    assert all(np.array_equal(seen[0][name], seen[2][name]) for name in spec.cameras)
    assert difference(seen[0], seen[1]) > 5.0


@pytest.mark.parametrize("what", RANDOMISED)
def test_each_look_shows_in_both_cameras_and_leaves_nothing_behind(
    spec: RobotSpec, tabletop: Tabletop, what: str
) -> None:
    with Cameras(spec_sizes_px(spec), seed=2) as cameras:
        plain = cameras.render(tabletop.snapshot)
        cameras.reset(2, draw_appearance(7, (what,)))
        changed = cameras.render(tabletop.snapshot)
        cameras.reset(2)
        again = cameras.render(tabletop.snapshot)
    for name in spec.cameras:
        # The same sensor noise lies on all three.
        assert difference(plain, changed, name) > 1.0
        assert np.array_equal(plain[name], again[name])


def test_what_is_drawn_for_one_thing_does_not_depend_on_the_others() -> None:
    both, alone = draw_appearance(3, ("light", "table")), draw_appearance(3, ("table",))
    assert both.light is not None
    assert alone.light is None
    assert both.table is not None
    assert alone.table is not None
    assert both.table.material == alone.table.material
    assert np.array_equal(both.table.rgb, alone.table.rgb)
    nothing = draw_appearance(3, ())
    assert (nothing.light, nothing.cameras, nothing.table) == (PLAIN.light, PLAIN.cameras, PLAIN.table)


def test_cameras_stay_near_their_places_and_know_where_they_are(spec: RobotSpec, tabletop: Tabletop) -> None:
    sizes_px = {"static": (400, 300), "wrist": (400, 300)}
    tabletop.reset(5, "close_drawer")
    with Cameras(sizes_px) as cameras:
        cameras.render(tabletop.snapshot)
        places = {name: cameras.pose_in_base(name) for name in sizes_px}
        moved_m = []
        for seed in range(20):
            cameras.reset(0, draw_appearance(seed, ("camera",)))
            picture = cameras.render(tabletop.snapshot)["static"].astype(int)
            for name, place in places.items():
                moved_m.append(distance_m(place, cameras.pose_in_base(name)))
                assert moved_m[-1] <= np.sqrt(3.0) * SHIFT_M + 1e-9
                assert angle_rad(place, cameras.pose_in_base(name)) <= np.sqrt(3.0) * TURN_RAD + 1e-9
            pixel = camera_intrinsics(sizes_px)["static"].project(
                cameras.pose_in_base("static"), tabletop.state().blocks["blue_block"].position_m
            )
            rows, columns = np.nonzero(picture[..., 2] - picture[..., 0] > 80)
            assert np.allclose([columns.mean(), rows.mean()], pixel, atol=6.0)
    assert np.std(moved_m) > 0.001


def test_physics_never_sees_the_looks(spec: RobotSpec) -> None:
    ends = []
    for randomise in ((), RANDOMISED):
        lesson = Lesson(spec, randomise)
        ticks = list(lesson.demonstrate("turn_on_light", 1))
        lesson.close()
        ends.append([tick.observation.pose_tcp_in_base.position_m.tolist() for tick in ticks])
    assert ends[0] == ends[1]


def test_an_unknown_look_is_one_sentence(spec: RobotSpec) -> None:
    with pytest.raises(VlaError, match="'lihgt' cannot be drawn from the seed; allowed: light, camera, table"):
        draw_appearance(0, ("lihgt",))
    with pytest.raises(VlaError, match="allowed: light, camera, table"):
        Lesson(spec, ("lamp",))
