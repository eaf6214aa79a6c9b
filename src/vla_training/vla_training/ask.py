# SPDX-License-Identifier: Apache-2.0
"""Ask the backbone in a checkpoint about a picture: are weights, picture size and colour order right?

The head and ``[LRN]`` take no part in it; the answer is that of the native model.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from vla_core.checkpoint import Checkpoint, load_checkpoint
from vla_core.errors import VlaError
from vla_core.model.answer import Answerer
from vla_core.model.device import device_named
from vla_core.model.pictures import preprocess
from vla_core.types import RgbImage


def ask(checkpoint: Checkpoint, picture: RgbImage, question: str, *, max_new_words: int = 40) -> str:
    """Return what the backbone of a checkpoint answers to a question about a picture.

    Args:
        checkpoint: From ``load_checkpoint``.
        picture: (H, W, 3) uint8 RGB.
        question: Plain text.
        max_new_words: Most tokens of the answer.

    Raises:
        VlaError: The question cannot be used.
    """
    if max_new_words < 1:
        raise VlaError(f"max_new_words must be at least 1, found {max_new_words}")
    answerer = Answerer.load(checkpoint.model.backbone, checkpoint.backbone_dir)
    return answerer(question, _pixels(checkpoint, picture), max_new_words=max_new_words)


def read_picture(path: Path) -> RgbImage:
    """Return the picture in a file as (H, W, 3) uint8 RGB, upright as its EXIF data says.

    Raises:
        VlaError: The file is missing or holds no picture.
    """
    try:
        with Image.open(path) as picture:
            return np.array(ImageOps.exif_transpose(picture).convert("RGB"))
    except FileNotFoundError:
        raise VlaError(f"{path}: no such file; give a picture") from None
    except UnidentifiedImageError:
        raise VlaError(f"{path}: not a picture that Pillow can read; give a JPEG or PNG") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise VlaError(f"{path}: cannot be read as a picture: {error}") from error


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    options = _parser().parse_args(arguments)
    try:
        picture = read_picture(options.image)
        checkpoint = load_checkpoint(options.checkpoint, device_named(options.device))
        print(_about(checkpoint), file=sys.stderr)
        print(ask(checkpoint, picture, options.text, max_new_words=options.max_new_words))
    except ValueError as error:
        print(f"ask: {error}", file=sys.stderr)
        return 1
    return 0


def _pixels(checkpoint: Checkpoint, picture: RgbImage) -> Tensor:
    model = checkpoint.model
    return preprocess([picture], model.config.image, device=model.device, dtype=model.dtype)[0]


def _about(checkpoint: Checkpoint) -> str:
    config = checkpoint.card.model
    about = f"ask: backbone {config.backbone}, picture {config.image.size_px} x {config.image.size_px} px"
    if checkpoint.card.is_trained:
        return about
    return f"{about}, UNTRAINED checkpoint: what answers is '{checkpoint.training.get('backbone', 'unknown')}'"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ask", description=(__doc__ or "").split("\n", maxsplit=1)[0])
    # The function's signature is the one home of the default.
    parser.set_defaults(**(ask.__kwdefaults__ or {}))
    parser.add_argument("--checkpoint", type=Path, required=True, metavar="DIR", help="checkpoint directory")
    parser.add_argument("--image", type=Path, required=True, metavar="FILE", help="a picture, JPEG or PNG")
    parser.add_argument("--text", required=True, help="the question; PaliGemma wants a task: 'answer en ...'")
    parser.add_argument("--max-new-words", type=int, help="most tokens of the answer (default: %(default)s)")
    parser.add_argument("--device", choices=("cpu", "cuda", "auto"), default="auto", help="default: %(default)s")
    return parser


if __name__ == "__main__":
    sys.exit(main())
