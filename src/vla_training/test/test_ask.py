# SPDX-License-Identifier: Apache-2.0
"""The command ``ask``: an answer on stdout, a line about the checkpoint on stderr, sentences for what is wrong."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vla_training.ask import main, read_picture
from vla_training.init_checkpoint import main as init_main

torch.set_num_threads(1)
SPEC_PATH = Path(__file__).parents[3] / "config" / "robots" / "sim_arm.yaml"
ORIENTATION = 0x0112


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("ask") / "c"
    assert init_main(["--robot", str(SPEC_PATH), "--out", str(out)]) == 0
    return out


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)


@pytest.fixture
def picture(tmp_path: Path, pixels: np.ndarray) -> Path:
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    return tmp_path / "picture.png"


def run(checkpoint: Path, picture: Path, text: str = "what is this?", *more: str) -> int:
    options = {"--checkpoint": str(checkpoint), "--image": str(picture), "--text": text, "--device": "cpu"}
    return main([*(part for option in options.items() for part in option), *more])


def test_prints_the_answer_alone_and_one_line_about_the_checkpoint(
    checkpoint: Path, picture: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(checkpoint, picture, "what is this?", "--max-new-words", "3") == 0
    printed = capfd.readouterr()
    assert len(printed.out.splitlines()) == 1 and printed.out.strip()
    about = "ask: backbone kosmos2, picture 84 x 84 px, UNTRAINED checkpoint: what answers is 'tiny'"
    assert printed.err == f"{about}\n"
    assert run(checkpoint, picture, "what is this?", "--max-new-words", "9") == 0
    assert capfd.readouterr().out.startswith(printed.out.strip())


@pytest.mark.parametrize("mode", ["RGBA", "L", "P", "1"])
def test_other_kinds_of_png_are_read_as_rgb(
    checkpoint: Path, pixels: np.ndarray, tmp_path: Path, mode: str
) -> None:
    path = tmp_path / "picture.png"
    converted = Image.fromarray(pixels).convert(mode)
    converted.save(path)
    assert np.array_equal(read_picture(path), np.asarray(converted.convert("RGB")))
    assert run(checkpoint, path) == 0


def test_a_jpeg_is_turned_upright(pixels: np.ndarray, tmp_path: Path) -> None:
    upright, turned = Image.fromarray(pixels).resize((90, 60)), Image.Exif()
    turned[ORIENTATION] = 6  # turn by 90 degrees clockwise to see it upright
    upright.rotate(90, expand=True).save(tmp_path / "turned.jpg", exif=turned, quality=95, subsampling=0)
    found = read_picture(tmp_path / "turned.jpg").astype(int)
    assert found.shape == (60, 90, 3)
    assert np.abs(found - np.asarray(upright)).mean() < 8


@pytest.mark.parametrize(
    ("problem", "sentence"),
    [
        ("no file", "no such file; give a picture"),
        ("no picture", "not a picture that Pillow can read"),
        ("damaged picture", "cannot be read as a picture"),
        ("folder", "cannot be read as a picture"),
        ("no checkpoint", "no such directory. Give a checkpoint directory"),
        ("no text", "the question is empty"),
        ("no words", "max_new_words must be at least 1, found 0"),
        ("no GPU", "torch finds no GPU"),
    ],
)
def test_what_cannot_be_asked_is_a_sentence(
    checkpoint: Path, picture: Path, capsys: pytest.CaptureFixture[str], problem: str, sentence: str
) -> None:
    text, more = "what is this?", []
    if problem == "no file":
        picture = picture.parent / "nothing.png"
    elif problem == "no picture":
        picture.write_text("words")
    elif problem == "damaged picture":
        picture.write_bytes(picture.read_bytes()[:3000])
    elif problem == "folder":
        picture = picture.parent
    elif problem == "no checkpoint":
        checkpoint = picture.parent / "nothing"
    elif problem == "no text":
        text = " "
    elif problem == "no words":
        more = ["--max-new-words", "0"]
    else:
        if torch.cuda.is_available():
            pytest.skip("there is a GPU")
        more = ["--device", "cuda"]
    assert run(checkpoint, picture, text, *more) == 1
    printed = capsys.readouterr()
    assert sentence in printed.err and printed.out == ""
