# SPDX-License-Identifier: Apache-2.0
"""Pack a dataset for fast training: all pictures of a camera in one file, mapped into memory.

The result is read wherever a dataset in CALVIN's layout is, and gives equal samples.
"""

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from vla_core.errors import VlaError
from vla_training.datasets.calvin_folder import CalvinFolder
from vla_training.datasets.dataset_card import DATASET_FILE
from vla_training.datasets.dataset_error import DatasetError
from vla_training.datasets.packing import pack_split
from vla_training.datasets.splits import SPLITS, has_frames


def pack_dataset(dataset: Path, out: Path, *, size_px: int | None = None) -> list[Path]:
    """Pack every split of a dataset; return their folders. An interrupted packing goes on where it was.

    Args:
        dataset: Folder that holds ``training`` and ``validation`` in CALVIN's layout.
        out: Folder of the packed dataset.
        size_px: Side of square pictures, resized as the model would; ``None`` keeps them as they are.

    Raises:
        DatasetError: There is no split, or one cannot be read.
    """
    splits = [name for name in SPLITS if has_frames(dataset, name)]
    if not splits:
        raise DatasetError(
            f"{dataset}: holds neither 'training' nor 'validation' with frames; give the folder of a dataset"
        )
    if size_px is not None and size_px < 1:
        raise DatasetError(f"size_px must be at least 1, found {size_px}")
    out.mkdir(parents=True, exist_ok=True)
    card, copy = dataset / DATASET_FILE, out / DATASET_FILE
    if copy.exists() and not (card.exists() and card.read_bytes() == copy.read_bytes()):
        raise DatasetError(f"{out}: holds another dataset than {dataset}. Give another --out")
    if card.exists():
        shutil.copyfile(card, copy)
    return [pack_split(CalvinFolder(dataset / name), out / name, size_px=size_px) for name in splits]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(prog="pack_dataset", description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("dataset", type=Path, help="folder that holds 'training' and 'validation'")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the packed dataset")
    parser.add_argument(
        "--size-px",
        type=int,
        help="resize pictures to this side now (the backbone's, 224 for Kosmos-2): larger "
        "files, less work in training",
    )
    options = parser.parse_args(arguments)
    try:
        folders = pack_dataset(options.dataset, options.out, size_px=options.size_px)
    except (VlaError, OSError) as error:
        print(f"pack_dataset: {error}", file=sys.stderr)
        return 1
    print(f"packed {', '.join(map(str, folders))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
