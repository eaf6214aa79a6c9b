# SPDX-License-Identifier: Apache-2.0
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vla_core.config import build, load_config, to_plain
from vla_core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Camera:
    rate_hz: float
    size_hw: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Robot:
    name: str
    frame: Literal["base", "tcp"]
    cameras: dict[str, Camera]
    delay_ms: float | None = None
    joints: tuple[str, ...] = ()
    is_real: bool = True

    def __post_init__(self) -> None:
        if self.name == "contradiction":
            raise ValueError("name and frame contradict each other")


GOOD = {"name": "arm", "frame": "tcp", "cameras": {"static": {"rate_hz": 30, "size_hw": [200, 200]}}}


def error_of(change: dict[str, object]) -> str:
    with pytest.raises(ConfigError) as caught:
        build(Robot, GOOD | change, where="robot.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"frme": "tcp"}, ["robot.yaml", "'frme'", "Did you mean 'frame'"]),
        ({"zzz": 1}, ["'zzz'", "Allowed keys", "cameras"]),
        ({"frame": "bse"}, ["robot.yaml: frame", "'base', 'tcp'", "'bse'", "Did you mean 'base'"]),
        ({"name": 3}, ["robot.yaml: name", "str", "3"]),
        ({"is_real": 1}, ["is_real", "bool", "1"]),
        ({"delay_ms": True}, ["delay_ms", "number", "True"]),
        ({"delay_ms": float("nan")}, ["delay_ms", "finite", "nan"]),
        ({"cameras": {"static": {"rate_hz": 30, "size_hw": [1]}}}, ["cameras.static.size_hw", "2 values", "1"]),
        ({"cameras": {"static": {"rate_hz": 30, "size_hw": [1, "x"]}}}, ["size_hw[1]", "int", "'x'"]),
        ({"cameras": {"static": {"rate_hs": 30, "size_hw": [1, 1]}}}, ["cameras.static", "'rate_hz'"]),
        ({"cameras": [1]}, ["cameras", "[1]"]),
        ({"name": "contradiction"}, ["robot.yaml", "contradict"]),
    ],
)
def test_errors_name_file_key_value_and_what_is_allowed(change: dict[str, object], words: list[str]) -> None:
    message = error_of(change)
    assert all(word in message for word in words), message


def test_a_missing_key_is_named_with_its_type() -> None:
    with pytest.raises(ConfigError, match=r"missing key 'frame'.*base.*tcp"):
        build(Robot, {key: value for key, value in GOOD.items() if key != "frame"})


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "robot.yaml"
    path.write_text(text)
    return path


def test_files_round_trip(tmp_path: Path) -> None:
    robot = build(Robot, GOOD | {"joints": ["a", "b"]})
    assert load_config(write(tmp_path, yaml.safe_dump(to_plain(robot))), Robot) == robot


def test_yaml_numbers_without_a_dot_are_numbers(tmp_path: Path) -> None:
    text = yaml.safe_dump(GOOD) + "delay_ms: 1e-4\n"
    assert load_config(write(tmp_path, text), Robot).delay_ms == 1e-4


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name: a\nname: b\n", "appears twice"),
        ("name: [", "not valid YAML"),
        ("- 1\n", "expected a mapping"),
        ("\x00", "not valid YAML"),
        ("? [a]\n: 1\n", "unknown key|not valid"),
        ("name: 2001-99-99\n", "not valid YAML"),
        ("name: " + "9" * 5000 + "\n", "not valid YAML"),
        ("name: " + "[" * 10_000, "not valid YAML"),
    ],
)
def test_a_broken_file_is_an_error_that_names_it(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=rf"robot\.yaml.*({words})"):
        load_config(write(tmp_path, text), Robot)


def test_an_absent_file_and_bytes_that_are_no_text_are_errors(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load_config(tmp_path / "absent.yaml", Robot)
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00a")
    with pytest.raises(ConfigError, match="UTF-8"):
        load_config(tmp_path / "bytes.yaml", Robot)


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from([*GOOD, "joints", "delay_ms", "extra"]), plain))
def test_any_plain_data_is_built_or_refused_with_a_sentence(data: dict[str, object]) -> None:
    try:
        assert isinstance(build(Robot, data), Robot)
    except ConfigError as error:
        assert str(error).startswith("config")
