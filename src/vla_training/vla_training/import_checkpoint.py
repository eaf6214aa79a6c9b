# SPDX-License-Identifier: Apache-2.0
"""Turn a RoboVLMs checkpoint and its configuration into one of our checkpoint directories.

Of the backbone only configuration, tokenizer and processor are needed: the checkpoint holds its weights. Nothing
of the checkpoint is run, and nothing is written before everything has been checked.
"""

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from vla_core.checkpoint import Checkpoint, load_tokenizer, save_checkpoint
from vla_core.checkpoint_card import CheckpointCard, PictureSize, RobotSnapshot
from vla_core.errors import CheckpointError, VlaError
from vla_core.model.build import build_model_without_weights
from vla_core.model.vla import VlaModel
from vla_core.model.weights import assign_weights, shapes_of, stored_tensors
from vla_core.robot_spec import RobotSpec
from vla_training.robovlms.config import Translation, translate_robovlms_config
from vla_training.robovlms.foreign_weights import read_foreign_weights
from vla_training.robovlms.json_file import Config, read_robovlms_config
from vla_training.robovlms.key_report import KeyReport, MissingTensorsError, match_keys, renamed_tensors

# CALVIN's own cameras.
_CALVIN_PICTURES = {
    "static": PictureSize(width_px=200, height_px=200),
    "wrist": PictureSize(width_px=84, height_px=84),
}


def import_checkpoint(
    weights: Path,
    config: Path,
    backbone: Path,
    out: Path,
    *,
    robot: RobotSpec | None = None,
    rate_hz: float = 30.0,
    overwrite: bool = False,
) -> KeyReport:
    """Write a RoboVLMs checkpoint as a checkpoint directory; return what became of every tensor.

    Args:
        weights: ``.pt``, ``.ckpt`` or ``.safetensors`` file.
        config: RoboVLMs' JSON configuration of the training run.
        backbone: Folder with the backbone's configuration, tokenizer and processor; weights are not read.
        out: Directory of the checkpoint.
        robot: Robot that it will run on; ``None`` remembers CALVIN's.
        rate_hz: Rate of the ticks in training (CALVIN: 30).
        overwrite: Replace a checkpoint that is there.

    Raises:
        CheckpointError: The file cannot be used; the sentence says why. Nothing has been written.
    """
    if not 0 < rate_hz < math.inf:
        raise VlaError(f"rate_hz must be above 0 and finite, found {rate_hz:g}")
    settings = read_robovlms_config(config)
    translation = translate_robovlms_config(settings, backbone, where=str(config))
    card = _card(translation, robot, rate_hz)
    model, report = _model(weights, translation, backbone)
    training = {
        "is_trained": True,
        "imported_from": "RoboVLMs",
        "file": weights.name,
        "configuration": config.name,
        "backbone": backbone.resolve().name,
        "notes": list(report.notes),
        "settings": _without_paths(settings),
    }
    checkpoint = Checkpoint(
        model=model,
        card=card,
        tokenizer=load_tokenizer(model, backbone),
        backbone_dir=backbone,
        training=training,
    )
    save_checkpoint(checkpoint, out, overwrite=overwrite)
    return report


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    options = _parser().parse_args(arguments)
    try:
        _require_place_for(options.report)
        report = import_checkpoint(
            options.weights,
            options.config,
            options.backbone,
            options.out,
            robot=None if options.robot is None else RobotSpec.load(options.robot),
            rate_hz=options.rate_hz,
            overwrite=options.overwrite,
        )
    except MissingTensorsError as error:
        print(error.report.table())
        _write_report(options.report, error.report)
        print(f"import_checkpoint: {error}", file=sys.stderr)
        return 1
    except (ValueError, OSError) as error:
        print(f"import_checkpoint: {error}", file=sys.stderr)
        return 1
    print(f"{options.weights.name} written to {options.out}\n{report.table()}")
    _write_report(options.report, report)
    return 0


def _model(path: Path, translation: Translation, backbone: Path) -> tuple[VlaModel, KeyReport]:
    config = translation.model
    model = build_model_without_weights(config, backbone)
    weights = read_foreign_weights(path)
    where = str(path)
    report = match_keys(
        weights, shapes_of(stored_tensors(model)), config.backbone, where=where, notes=translation.notes
    )
    tensors = renamed_tensors(
        report,
        weights.tensors,
        config.backbone,
        config.precision,
        embed_dim=model.backbone.embed_dim,
        where=where,
    )
    return assign_weights(model, tensors).eval(), report


def _card(translation: Translation, robot: RobotSpec | None, rate_hz: float) -> CheckpointCard:
    known = (
        RobotSnapshot(name="calvin", cameras=dict(_CALVIN_PICTURES)) if robot is None else RobotSnapshot.of(robot)
    )
    lacking = [name for name in translation.model.cameras if name not in known.cameras]
    if lacking:
        raise CheckpointError(
            f"robot '{known.name}' has no camera '{lacking[0]}', which the checkpoint was trained with; it has "
            f"{sorted(known.cameras)}. Give another robot spec"
        )
    card = CheckpointCard(
        model=translation.model,
        action_space=translation.action_space,
        period_s=1.0 / rate_hz,
        is_trained=True,
        robot=RobotSnapshot(
            name=known.name, cameras={name: known.cameras[name] for name in translation.model.cameras}
        ),
    )
    if robot is not None:
        card.contract.check_fits(robot)
    return card


def _without_paths(settings: Config) -> dict[str, Any]:
    """Return settings without what names a place on the machine that made them."""
    return {
        key: value for key, value in ((key, _plain(value)) for key, value in settings.items()) if value != _PATH
    }


_PATH = "<path>"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return _without_paths(value)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, str):
        is_path = PurePosixPath(value).is_absolute() or PureWindowsPath(value).drive or value.startswith("~")
        return _PATH if is_path else value
    return value


def _require_place_for(report: Path | None) -> None:
    """Refuse a report that cannot be written before the import takes its time."""
    if report is not None and (report.is_dir() or not report.parent.is_dir()):
        raise VlaError(f"{report}: the report cannot be written there. Give a file in a directory that exists")


def _write_report(path: Path | None, report: KeyReport) -> None:
    if path is not None:
        path.write_text(json.dumps(report.to_plain(), indent=2) + "\n", encoding="utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="import_checkpoint", description=(__doc__ or "").split("\n", maxsplit=1)[0]
    )
    # The function's signature is the one home of the defaults.
    parser.set_defaults(**(import_checkpoint.__kwdefaults__ or {}))
    parser.add_argument("weights", type=Path, metavar="CKPT", help=".pt, .ckpt or .safetensors file")
    parser.add_argument(
        "--config", type=Path, required=True, metavar="CONFIG.json", help="RoboVLMs' configuration of the run"
    )
    parser.add_argument(
        "--backbone", type=Path, required=True, metavar="DIR", help="its configuration and tokenizer; no weights"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="checkpoint directory to write")
    parser.add_argument("--robot", type=Path, metavar="SPEC.yaml", help="robot it will run on (default: CALVIN's)")
    parser.add_argument("--rate-hz", type=float, help="rate of the ticks in training (default: %(default)g)")
    parser.add_argument("--report", type=Path, metavar="FILE.json", help="write what became of every tensor there")
    parser.add_argument("--overwrite", action="store_true", help="replace a checkpoint that is there")
    return parser


if __name__ == "__main__":
    sys.exit(main())
