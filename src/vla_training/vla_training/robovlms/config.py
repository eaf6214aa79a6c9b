# SPDX-License-Identifier: Apache-2.0
"""RoboVLMs' JSON configuration into ours.

What only concerns training or paths is not read, and unknown keys are left alone, as in the original. A value that
changes what the weights mean, and that we cannot reproduce, is refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from vla_core.actions.action_space import ActionSpace
from vla_core.actions.normalization import ARM_DIM, NormalizationSpec, StandardizationSpec
from vla_core.errors import CheckpointError, VlaError
from vla_core.images import ImageSpec
from vla_core.model.backbone import backbone_class
from vla_core.model.config import (
    ActionTokenConfig,
    BackboneKind,
    HeadConfig,
    HeadKind,
    LossConfig,
    ModelConfig,
    Precision,
    Readout,
    ResamplerConfig,
    Structure,
)
from vla_core.robot_spec import CameraName
from vla_training.robovlms.json_file import Config, integer, number, per_dimension, section
from vla_training.robovlms.prompt import RobovlmsTokenizer

_BACKBONES: dict[str, tuple[BackboneKind, str]] = {
    "kosmos": ("kosmos2", "robokosmos"),
    "paligemma": ("paligemma", "robopaligemma"),
}
_HEADS: dict[str, HeadKind] = {"LSTMDecoder": "lstm", "FCDecoder": "fc", "GPTDecoder": "gpt"}
_READOUTS: dict[str, Readout] = {"all": "all", "text": "text", "vision": "pictures"}
_PRECISIONS: dict[str, Precision] = {"bf16": "bfloat16", "fp16": "float16"}


@dataclass(frozen=True, kw_only=True)
class Translation:
    """A configuration in our words.

    Attributes:
        model: Every choice about the model.
        action_space: Meaning of the actions.
        notes: What is not carried over as it was, one sentence each.
    """

    model: ModelConfig
    action_space: ActionSpace
    notes: tuple[str, ...]


def translate_robovlms_config(config: Config, backbone_dir: Path, *, where: str) -> Translation:
    """Return a configuration in our words.

    Args:
        config: From ``read_robovlms_config``.
        backbone_dir: Folder with the backbone's configuration, tokenizer and processor.
        where: File name that begins each error sentence.

    Raises:
        CheckpointError: A value is missing, contradicts another, or is not supported.
    """
    try:
        return _Translator(config, backbone_dir).translate()
    except CheckpointError as error:
        raise (
            error if str(error).startswith(str(backbone_dir)) else CheckpointError(f"{where}: {error}")
        ) from error
    except VlaError:
        raise
    except ValueError as error:
        raise CheckpointError(f"{where}: {error}") from error


class _Translator:
    def __init__(self, config: Config, backbone_dir: Path) -> None:
        self.config = config
        self.head: Config = section(config, "act_head")
        self.backbone_dir = backbone_dir
        self.notes: list[str] = []

    def translate(self) -> Translation:
        self._refuse_what_does_not_run()
        backbone = self._backbone()
        structure = self._structure()
        is_discrete = structure == "one_step_discrete"
        chunk_size = integer(self.config, "fwd_pred_next_n")
        tokenizer = RobovlmsTokenizer(self.backbone_dir, self.config)
        prompt = (
            tokenizer.discrete_prompt(chunk_size + 1)
            if is_discrete
            else tokenizer.continuous_prompt(self.config["model"])
        )
        model = ModelConfig(
            window_size=self._window_size(structure),
            chunk_size=chunk_size,
            image=self._image(backbone),
            prompt=prompt,
            backbone=backbone,
            structure=structure,
            cameras=self._cameras(),
            readout=self._readout(),
            num_lrn_tokens=integer(self.head, "latent", 1),
            head=HeadConfig() if is_discrete else self._head(),
            action_tokens=self._action_tokens(tokenizer) if is_discrete else None,
            resampler=ResamplerConfig() if self.config.get("use_vision_resampler") else None,
            loss=LossConfig(gripper_weight=number(self.config, "arm_gripper_loss_ratio", 0.01)),
            precision=self._precision(),
            compat="robovlms",
        )
        return Translation(model=model, action_space=self._action_space(), notes=tuple(self.notes))

    def _refuse_what_does_not_run(self) -> None:
        setup = section(self.config, "train_setup") if self.config.get("train_setup") else {}
        if self.config.get("fwd_head") is not None:
            raise CheckpointError(
                "fwd_head is set, but prediction of future pictures is not supported: the original has no code "
                "for it. Only checkpoints with 'fwd_head': null can be imported"
            )
        if setup.get("lora_enable"):
            raise CheckpointError(
                "train_setup.lora_enable is true; the adapters are not supported. Merge them into the weights "
                "(peft: merge_and_unload), then import"
            )
        if self.head.get("fill_zero"):
            raise CheckpointError("act_head.fill_zero true (a hidden action token) is not supported, only false")
        if integer(self.head, "action_dim", ARM_DIM + 1) != ARM_DIM + 1:
            raise CheckpointError(f"act_head.action_dim must be 7, found {self.head['action_dim']!r}")
        if self.config.get("use_clip_norm"):
            self.notes.append("use_clip_norm concerns training alone; loss.language_weight is 0 in the import")

    def _backbone(self) -> BackboneKind:
        model, name = str(self.config.get("model")), str(self.config.get("robovlm_name", ""))
        if model not in _BACKBONES:
            raise CheckpointError(
                f"model is {model!r}; only {' and '.join(map(repr, _BACKBONES))} checkpoints can be imported"
            )
        kind, class_name = _BACKBONES[model]
        if name and name.lower() != class_name:
            raise CheckpointError(
                f"model is {model!r}, but robovlm_name is {name!r}; they must name the same model"
            )
        reader: Any = backbone_class(kind)
        reader.read_config(self.backbone_dir)
        return kind

    def _structure(self) -> Structure:
        head, space = str(self.head.get("type")), self.head.get("action_space", "continuous")
        history = self.head.get("history_type", "post")
        if (head == "DiscreteDecoder") != (space == "discrete"):
            raise CheckpointError(
                f"act_head.type is {head!r} and act_head.action_space is {space!r}; 'DiscreteDecoder' and "
                "'discrete' go together"
            )
        if space == "discrete":
            return "one_step_discrete"
        if head not in _HEADS:
            raise CheckpointError(f"act_head.type must be one of {[*_HEADS, 'DiscreteDecoder']}, found {head!r}")
        if history == "pre":
            return "interleaved_continuous"
        if history != "post":
            raise CheckpointError(
                f"act_head.history_type must be 'post' or 'pre', found {history!r}: it is not supported"
            )
        is_one_step = integer(self.config, "window_size") == 1 and head == "FCDecoder"
        return "one_step_continuous" if is_one_step else "policy_head_continuous"

    def _window_size(self, structure: Structure) -> int:
        window = integer(self.config, "window_size")
        if structure != "one_step_discrete" or window == 1:
            return window
        self.notes.append(f"window_size {window} becomes 1: the discrete decoder acts on the newest tick alone")
        return 1

    def _image(self, backbone: BackboneKind) -> ImageSpec:
        if backbone == "kosmos2":
            return ImageSpec(size_px=integer(self.config, "image_size", 224))
        # The original's image processor is PaliGemma's own; 'image_size' is not read.
        return backbone_class(backbone).image_spec(self.backbone_dir)

    def _cameras(self) -> tuple[CameraName, ...]:
        if not self.config.get("use_hand_rgb"):
            return ("static",)
        dataset = self.config.get("train_dataset")
        kind = dataset.get("type") if isinstance(dataset, Mapping) else None
        if kind == "OpenVLADataset":
            self.notes.append("use_hand_rgb has no effect: OpenVLADataset gave no wrist pictures in training")
            return ("static",)
        return ("wrist", "static")

    def _readout(self) -> Readout:
        space, pooling = self.head.get("action_space", "continuous"), self.head.get("down_sample", "none")
        if pooling not in ("none", "pooling"):
            raise CheckpointError(f"act_head.down_sample must be 'none' or 'pooling', found {pooling!r}")
        if space != "down_sample":
            if space not in ("continuous", "discrete"):
                allowed = "'continuous', 'down_sample' or 'discrete'"
                raise CheckpointError(f"act_head.action_space must be {allowed}, found {space!r}")
            return "lrn"
        if pooling != "pooling":
            raise CheckpointError("act_head.action_space 'down_sample' needs act_head.down_sample 'pooling'")
        source = self.head.get("token_source", "all")
        if source not in _READOUTS:
            raise CheckpointError(f"act_head.token_source must be one of {list(_READOUTS)}, found {source!r}")
        return _READOUTS[source]

    def _head(self) -> HeadConfig:
        kind = _HEADS[self.head["type"]]
        if kind == "lstm":
            return HeadConfig(
                kind=kind,
                hidden_size=integer(self.head, "hidden_size", 1024),
                num_layers=integer(self.head, "num_layers", 4),
                dropout=number(self.head, "policy_rnn_dropout_p", 0.0),
            )
        if kind == "gpt":
            size = integer(self.head, "hidden_size", 1024)
            return HeadConfig(kind=kind, hidden_size=size, num_layers=8, num_attention_heads=8, dropout=0.1)
        return HeadConfig(kind=kind, hidden_size=integer(self.head, "hidden_size"))

    def _action_tokens(self, tokenizer: RobovlmsTokenizer) -> ActionTokenConfig:
        return ActionTokenConfig(
            num_bins=integer(self.head, "n_bin", 256),
            low=number(self.head, "min_action", -1.0),
            high=number(self.head, "max_action", 1.0),
            end_token_id=tokenizer.end_of_action_tokens,
        )

    def _precision(self) -> Precision:
        trainer = self.config.get("trainer")
        asked = trainer.get("precision") if isinstance(trainer, Mapping) else None
        return _PRECISIONS.get(str(asked), "float32")  # the original evaluates everything else in float32

    def _action_space(self) -> ActionSpace:
        config = self.config
        normalization = standardization = mu_law = None
        if config.get("norm_action"):
            low, high = number(config, "norm_min"), number(config, "norm_max")
            normalization = NormalizationSpec(low=(low,) * ARM_DIM, high=(high,) * ARM_DIM)
            if high <= 0.5 or low + high > 1:
                always = "opens" if low + high > 1 else "closes"
                self.notes.append(
                    f"with norm_min {low:g} and norm_max {high:g} the original always {always} the gripper; here "
                    "it follows the network"
                )
        if config.get("regular_action"):
            mean, std = (per_dimension(config, key, default) for key, default in (("x_mean", 0), ("x_std", 1)))
            standardization = StandardizationSpec(mean=mean, std=std)
            self.notes.append("regular_action is undone here; the original's evaluation forgets to")
        if config.get("use_mu_law"):
            mu_law = number(config, "mu_val", 255.0)
        return ActionSpace(
            frame=self._frame(), normalization=normalization, standardization=standardization, mu_law=mu_law
        )

    def _frame(self) -> Literal["robovlms_tcp", "base"]:
        if not self.config.get("tcp_rel"):
            return "base"
        if self.head.get("action_space") != "discrete":
            return "robovlms_tcp"
        self.notes.append("tcp_rel has no effect: the discrete decoder was trained on actions in the base frame")
        return "base"
