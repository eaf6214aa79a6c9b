# SPDX-License-Identifier: Apache-2.0
"""What of the containers can be checked without Docker: lint, and that everything they name exists."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
DOCKER = ROOT / "docker"
DOCKERFILES = sorted(DOCKER.glob("*.Dockerfile"))
COMPOSE_FILES = sorted(DOCKER.glob("*.yaml"))
SERVICES: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"]
VARIABLE = re.compile(r"\$\{([A-Z_]+):-([^}]*)\}")
# Written by the user, not by the repository: mounted, or made before.
MADE_LATER = {"checkpoints", "datasets", "runs", "keys/server"}


def with_defaults(text: str) -> str:
    return VARIABLE.sub(lambda found: found.group(2), text)


def on_host(path_in_image: str) -> Path:
    return ROOT / path_in_image.removeprefix("/suite/")


def ignored() -> set[str]:
    return {line.strip("/") for line in (ROOT / ".dockerignore").read_text().split()}


@pytest.mark.skipif(shutil.which("hadolint") is None, reason="hadolint is not installed")
@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
def test_dockerfiles_are_free_of_lint(dockerfile: Path) -> None:
    result = subprocess.run(["hadolint", str(dockerfile)], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
def test_everything_that_is_copied_exists_and_is_not_ignored(dockerfile: Path) -> None:
    copies = re.findall(r"^COPY (?!--)(.+) \S+$", dockerfile.read_text(), re.MULTILINE)
    sources = [source for line in copies for source in line.split()]
    assert sources
    for source in sources:
        assert (ROOT / source).exists(), source
        assert Path(source).parts[:1] == () or Path(source).parts[0] not in ignored(), source


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
def test_files_that_a_dockerfile_names_are_there(dockerfile: Path) -> None:
    named = re.findall(r"(?:/suite/)?((?:requirements|scripts|docker)/[\w./-]+)", dockerfile.read_text())
    assert named
    assert not [name for name in named if not (ROOT / name).exists()]


def test_what_git_ignores_does_not_get_into_an_image() -> None:
    built = {line.strip("/") for line in (ROOT / ".gitignore").read_text().split()}
    assert not {name for name in built if name not in ignored() and f"**/{name}" not in ignored()}


def test_the_entrypoint_can_be_run() -> None:
    entrypoint = DOCKER / "entrypoint.sh"
    assert os.access(entrypoint, os.X_OK)
    assert subprocess.run(["bash", "-n", str(entrypoint)], check=False).returncode == 0


@pytest.mark.parametrize("compose", COMPOSE_FILES, ids=lambda path: path.name)
def test_a_compose_file_speaks_of_the_services_that_there_are(compose: Path) -> None:
    assert set(yaml.safe_load(compose.read_text())["services"]) <= set(SERVICES)


def test_simulator_and_policy_start_together_and_the_rest_only_on_request() -> None:
    assert {name: service.get("profiles") for name, service in SERVICES.items()} == {
        "policy": None,
        "sim": ["sim"],
        "train": ["train"],
        "policy_server": ["serve"],
    }


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_built_from_these_sources_and_never_comes_back_by_itself(name: str) -> None:
    service = SERVICES[name]
    assert (DOCKER / service["build"]["context"]).resolve() == ROOT
    assert (ROOT / service["build"]["dockerfile"]).is_file()
    assert service["restart"] == "no", "an arm must not begin to move because a container came back"
    for volume in service["volumes"]:
        folder = (DOCKER / volume.split(":")[0]).resolve().relative_to(ROOT)
        assert str(folder) in MADE_LATER or (ROOT / folder).is_dir(), volume


@pytest.mark.parametrize("name", SERVICES)
def test_the_command_of_a_service_exists(name: str) -> None:
    words = [with_defaults(str(word)) for word in SERVICES[name]["command"]]
    if words[:2] == ["ros2", "launch"]:
        launch_file = (ROOT / "launch" / words[3]).read_text()
        for argument in words[4:]:
            assert f'"{argument.split(":=")[0]}",' in launch_file, argument
    elif words[:2] == ["ros2", "run"]:
        assert f'"{words[3]} = {words[2]}.' in (ROOT / "src" / words[2] / "setup.py").read_text()
    else:
        assert words[:2] == ["python", "-m"]
        options = {word for word in words[3:] if word.startswith("--")}
        shown = subprocess.run(
            [sys.executable, "-m", words[2], "--help"], capture_output=True, text=True, check=True
        )
        assert not [option for option in options if option not in shown.stdout]
    for word in words:
        path = word.split(":=")[-1]
        if path.startswith("/suite/config/"):
            assert on_host(path).is_file(), path


def test_every_variable_is_in_the_readme_with_its_default() -> None:
    readme = (DOCKER / "README.md").read_text()
    for variable, default in VARIABLE.findall((DOCKER / "compose.yaml").read_text()):
        row = re.search(rf"^\|[^|]*`{variable}`[^|]*\| `?([^`|]+?)`? \|", readme, re.MULTILINE)
        assert row, f"docker/README.md has no row of {variable}"
        assert row.group(1).strip() == default, variable


def test_commands_are_off_until_somebody_asks() -> None:
    assert "command_enabled:=${COMMAND_ENABLED:-false}" in SERVICES["policy"]["command"]
    assert "SERVE_ON:-127.0.0.1" in SERVICES["policy_server"]["ports"][0]
