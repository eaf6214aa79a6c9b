# SPDX-License-Identifier: Apache-2.0
"""What the doctor says of a checkpoint: does it fit, does it load, is it fast enough?"""

import importlib.util
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from closed_loop import SIM_ARM
from test_doctor_checks import one, seen

from vla_core.robot_spec import RobotSpec
from vla_policy_node.doctor.findings import State
from vla_policy_node.doctor.policy_checks import check_policy, read_card

pytestmark = pytest.mark.ros
SPEC = RobotSpec.load(SIM_ARM)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained checkpoint for the simulated arm."""
    if importlib.util.find_spec("vla_training") is None:
        pytest.skip("vla_training, which makes checkpoints, is not installed")
    folder = tmp_path_factory.mktemp("checkpoint") / "untrained"
    command = [sys.executable, "-m", "vla_training.init_checkpoint", "--robot", str(SIM_ARM), "--out", str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    return folder


def test_an_untrained_checkpoint_that_fits_is_timed_and_said_to_be_untrained(checkpoint: Path) -> None:
    findings = check_policy(seen(), checkpoint, read_card(checkpoint), "cpu", "open the drawer")
    assert one(findings, "training").state is State.WARN
    assert one(findings, "contract").state is State.OK
    assert "M weights" in one(findings, "device").found
    timed = one(findings, "dry inference")
    assert "grey pictures" in timed.found
    assert "period is 100 ms" in timed.found


def test_a_robot_that_does_not_fit_is_told_both_values_and_nothing_is_timed(checkpoint: Path) -> None:
    wide = {name: replace(camera, width_px=400) for name, camera in SPEC.cameras.items()}
    findings = check_policy(seen(replace(SPEC, cameras=wide)), checkpoint, read_card(checkpoint), "cpu", "open")
    contract = one(findings, "contract")
    assert contract.state is State.FAIL
    assert "aspect 1.000" in contract.found
    assert "400x" in contract.found
    assert one(findings, "dry inference").state is State.SKIP


def test_damaged_weights_are_told_in_a_sentence(checkpoint: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in checkpoint.iterdir():
        if file.name != "model.safetensors":
            (broken / file.name).symlink_to(file)
    (broken / "model.safetensors").write_bytes(b"not weights")
    findings = check_policy(seen(), broken, read_card(broken), "cpu", "open the drawer")
    assert one(findings, "loading").state is State.FAIL
    assert "model.safetensors" in one(findings, "loading").found


def test_a_folder_without_a_checkpoint_is_named(tmp_path: Path) -> None:
    (found,) = check_policy(seen(), tmp_path, read_card(tmp_path), "cpu", "open the drawer")
    assert found.state is State.FAIL
    assert str(tmp_path) in found.found
