# SPDX-License-Identifier: Apache-2.0
"""Every choice about the model that a checkpoint must remember. No torch here."""

from dataclasses import dataclass, field
from typing import Literal

from vla_core.images import ImageSpec
from vla_core.robot_spec import CameraName

BackboneKind = Literal["kosmos2", "paligemma", "llava", "llava_onevision", "idefics", "qwen2_5_vl", "smolvlm"]
Structure = Literal["policy_head_continuous", "interleaved_continuous", "one_step_continuous", "one_step_discrete"]
HeadKind = Literal["lstm", "fc", "gpt"]
Readout = Literal["lrn", "all", "text", "pictures"]
Precision = Literal["float32", "bfloat16", "float16"]
Compat = Literal["robovlms"]

# Beyond any model that fits a machine: a slip of the pen should end in a sentence, not in a full memory.
_LARGEST = 65_536

INSTRUCTION_SLOT = "{instruction}"


@dataclass(frozen=True, kw_only=True)
class PromptConfig:
    """The text around an instruction, and where pictures and [LRN] go in it.

    Attributes:
        text: What the language model reads; ``{instruction}`` stands for the sentence.
        special_tokens: Whether the tokenizer adds its own first and last tokens (BOS, EOS) to the text.
        tokens_before_pictures: Tokens of the text in front of the pictures (Kosmos-2: BOS).
        tokens_after_lrn: Tokens of the text behind [LRN] (Kosmos-2: EOS). [LRN] does not see them.
    """

    text: str
    special_tokens: bool = True
    tokens_before_pictures: int = 1
    tokens_after_lrn: int = 1

    def __post_init__(self) -> None:
        if self.text.count(INSTRUCTION_SLOT) != 1:
            raise ValueError(f"text must hold {INSTRUCTION_SLOT} once, found {self.text!r}")
        _require_at_least(0, self, "tokens_before_pictures", "tokens_after_lrn")


@dataclass(frozen=True, kw_only=True)
class HeadConfig:
    """Kind and sizes of the network that turns [LRN] embeddings into actions.

    Attributes:
        kind: ``lstm``, ``gpt`` (a causal transformer) or ``fc`` (each tick for itself).
        hidden_size: Width per token that the head reads.
        num_layers: Layers of the LSTM or the transformer.
        num_attention_heads: Of the transformer.
        dropout: In the LSTM between layers, in the transformer everywhere; in training only.
        mlp_sizes: Widths of the hidden layers of the arm and the gripper network.
    """

    kind: HeadKind = "lstm"
    hidden_size: int = 1024
    num_layers: int = 4
    num_attention_heads: int = 8
    dropout: float = 0.0
    mlp_sizes: tuple[int, ...] = (1024, 512, 256)

    def __post_init__(self) -> None:
        _require_at_least(1, self, "hidden_size", "num_layers", "num_attention_heads")
        if any(size < 1 for size in self.mlp_sizes):
            raise ValueError(f"mlp_sizes must be at least 1 each, found {list(self.mlp_sizes)}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be at least 0 and below 1, found {self.dropout:g}")


@dataclass(frozen=True, kw_only=True)
class ActionTokenConfig:
    """How the discrete structure writes an action number as one token.

    Attributes:
        num_bins: Edges between ``low`` and ``high``, so that there is one bin less; the original's word and count.
        low: Smallest number.
        high: Largest number.
        end_token_id: One above the id of the first bin's token; the bins take the ids below it, downwards.
    """

    num_bins: int = 256
    low: float = -1.0
    high: float = 1.0
    end_token_id: int

    def __post_init__(self) -> None:
        _require_at_least(2, self, "num_bins")
        if not self.low < self.high:
            raise ValueError(f"low {self.low:g} is not below high {self.high:g}")
        if self.end_token_id < self.num_bins:
            raise ValueError(f"end_token_id must be at least num_bins, found {self.end_token_id}")


@dataclass(frozen=True, kw_only=True)
class ResamplerConfig:
    """A Perceiver that turns the tokens of a picture into fewer (Flamingo, Alayrac et al. 2022).

    Attributes:
        num_latents: Tokens that a picture becomes.
        depth: Layers.
        num_heads: Attention heads.
        head_dim: Width of each.
    """

    num_latents: int = 64
    depth: int = 6
    num_heads: int = 8
    head_dim: int = 64

    def __post_init__(self) -> None:
        _require_at_least(1, self, "num_latents", "depth", "num_heads", "head_dim")


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """What training minimises.

    Attributes:
        arm: ``huber`` (delta 1: what RoboVLMs' code does) or ``mse`` (what its paper says).
        gripper_weight: Weight of the gripper's cross-entropy beside the arm's loss.
        tick_weights: Weight of each tick of the window, oldest first; ``null`` weighs all the same.
        language_weight: Weight of the language regulariser (RoboVLMs: ``clip_norm_ratio`` 0.05), which pulls the
            [LRN] embedding towards a text encoder's embedding of the sentence; 0 leaves it out.
    """

    arm: Literal["huber", "mse"] = "huber"
    gripper_weight: float = 0.01
    tick_weights: tuple[float, ...] | None = None
    language_weight: float = 0.0

    def __post_init__(self) -> None:
        for key in ("gripper_weight", "language_weight"):
            if getattr(self, key) < 0:
                raise ValueError(f"{key} must not be below 0, found {getattr(self, key):g}")
        if self.tick_weights is not None and (
            min(self.tick_weights, default=0) < 0 or sum(self.tick_weights) <= 0
        ):
            raise ValueError(f"tick_weights must not be below 0 nor all 0, found {list(self.tick_weights)}")


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The model, without its weights.

    Attributes:
        window_size: Ticks of history that the model sees.
        chunk_size: Actions per prediction.
        image: Size and normalisation of the pictures, the same for each camera.
        prompt: The text around an instruction.
        backbone: The vision-language model.
        structure: ``policy_head_continuous`` reads each tick for itself and joins them in the head;
            ``interleaved_continuous`` reads the whole window as one sequence; the ``one_step`` structures see one
            tick, and the discrete one writes actions as tokens.
        cameras: Order of the pictures in the sequence. RoboVLMs inserts static, then wrist in front of it.
        readout: Hidden states that the head reads: those of [LRN], or of all, text or picture tokens, max-pooled
            to ``num_lrn_tokens``; then there is no [LRN] in the sequence.
        num_lrn_tokens: Copies of the [LRN] token in the sequence (RoboVLMs: ``latent``).
        head: The network behind [LRN].
        action_tokens: Of the discrete structure; ``null`` in the others.
        resampler: Fewer tokens per picture; ``null`` leaves them as the backbone makes them.
        use_state: Whether the measured TCP pose and gripper are a token in front of [LRN].
        use_action_history: Whether the interleaved structure reads the action of each earlier tick as a token.
        loss: What training minimises.
        precision: Type that the weights are run in.
        compat: ``robovlms`` reproduces what docs/robovlms_compat.md lists; ``null`` does the right thing.
    """

    window_size: int
    chunk_size: int
    image: ImageSpec
    prompt: PromptConfig
    backbone: BackboneKind = "kosmos2"
    structure: Structure = "policy_head_continuous"
    cameras: tuple[CameraName, ...] = ("wrist", "static")
    readout: Readout = "lrn"
    num_lrn_tokens: int = 1
    head: HeadConfig = field(default_factory=HeadConfig)
    action_tokens: ActionTokenConfig | None = None
    resampler: ResamplerConfig | None = None
    use_state: bool = False
    use_action_history: bool = False
    loss: LossConfig = field(default_factory=LossConfig)
    precision: Precision = "float32"
    compat: Compat | None = None

    def __post_init__(self) -> None:
        _require_at_least(1, self, "window_size", "chunk_size", "num_lrn_tokens")
        if not self.cameras or len(set(self.cameras)) != len(self.cameras):
            raise ValueError(f"cameras must name each camera once, found {list(self.cameras)}")
        if self.structure.startswith("one_step") and self.window_size != 1:
            raise ValueError(f"structure {self.structure} sees one tick, but window_size is {self.window_size}")
        if self.structure == "interleaved_continuous" and self.head.kind != "fc":
            raise ValueError(
                f"structure {self.structure} joins the ticks in the language model and needs head.kind fc, "
                f"found {self.head.kind}"
            )
        if (self.structure == "one_step_discrete") != (self.action_tokens is not None):
            raise ValueError("action_tokens belongs to structure one_step_discrete, and to that alone")
        if self.structure == "one_step_discrete" and self.readout != "lrn":
            raise ValueError(f"structure {self.structure} has no head, so readout must stay lrn")
        if self.structure == "one_step_discrete" and self.loss.language_weight > 0:
            raise ValueError(f"structure {self.structure} has no features, so loss.language_weight must stay 0")
        if self.use_action_history and self.structure != "interleaved_continuous":
            raise ValueError("use_action_history belongs to structure interleaved_continuous")
        weights = self.loss.tick_weights
        if weights is not None and len(weights) != self.window_size:
            raise ValueError(f"loss.tick_weights has {len(weights)} weights, window_size is {self.window_size}")


def _require_at_least(least: int, config: object, *keys: str) -> None:
    for key in keys:
        value = getattr(config, key)
        if value < least:
            raise ValueError(f"{key} must be at least {least}, found {value}")
        if value > _LARGEST:
            raise ValueError(f"{key} must be at most {_LARGEST}, found {value}")
