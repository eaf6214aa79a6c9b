# SPDX-License-Identifier: Apache-2.0
"""Open-loop evaluation: recorded episodes through a policy, from datasets and bags, resumable per episode."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from vla_core.config import build, read_yaml, to_plain
from vla_core.errors import ConfigError, VlaError
from vla_core.policy import VlaPolicy
from vla_core.policy_contract import PolicyContract
from vla_core.robot_spec import RobotSpec
from vla_training.bags.bag_folder import Bag, find_bags
from vla_training.conversion.bag_labels import SentencesFile
from vla_training.conversion.config import ConversionConfig
from vla_training.conversion.work_folder import WorkFolder
from vla_training.datasets.splits import SPLITS, Split, open_split
from vla_training.evaluation.open_loop.bags import BagEvaluation
from vla_training.evaluation.open_loop.baselines import baselines
from vla_training.evaluation.open_loop.dataset import evaluate_split
from vla_training.evaluation.open_loop.episode import EpisodeOutcome, PolicyStream
from vla_training.evaluation.open_loop.errors import ErrorSums, errors_of, total
from vla_training.evaluation.run_journal import checkpoint_identity, digest_of, open_run
from vla_training.evaluation.statistics import percentiles

_GIVEN_BY_CHECKPOINT = ("rate_hz", "action_frame", "format")


@dataclass(frozen=True, kw_only=True)
class BagChoices:
    """How bags are read.

    Attributes:
        spec: The robot that was recorded.
        instructions: File of sentences.
        options: Fields of ``ConversionConfig``, without those that the checkpoint decides.
    """

    spec: RobotSpec
    instructions: Path | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def config(self, contract: PolicyContract) -> ConversionConfig:
        """Return how frames are made for a policy: at its rate, with actions in its frame.

        Raises:
            ConfigError: An option is unknown, or the checkpoint decides it.
        """
        decided = sorted(set(self.options) & set(_GIVEN_BY_CHECKPOINT))
        if decided:
            raise ConfigError(f"open_loop: {decided[0]} is the checkpoint's; leave it out of the options for bags")
        frame = "tcp" if contract.action_space.frame == "tcp" else "base"
        own = {"rate_hz": 1.0 / contract.period_s, "action_frame": frame}
        return build(ConversionConfig, {**self.options, **own}, where="open_loop: options for bags")


@dataclass(frozen=True, eq=False, kw_only=True)
class OpenLoopResult:
    """What an open-loop evaluation found.

    Attributes:
        contract: Of the policy.
        outcomes: The episodes.
        errors: Of the policy in each episode, in the order of ``outcomes``.
        baseline_errors: Baseline to its errors over all episodes.
        skipped: What was left out, sentence by sentence.
        identity: Name and fingerprint of the checkpoint.
    """

    contract: PolicyContract
    outcomes: tuple[EpisodeOutcome, ...]
    errors: tuple[ErrorSums, ...]
    baseline_errors: Mapping[str, ErrorSums]
    skipped: tuple[str, ...]
    identity: Mapping[str, str]

    @property
    def all_errors(self) -> ErrorSums:
        """Of the policy over all episodes."""
        return total(self.errors)

    @property
    def latency_ms(self) -> tuple[float, float]:
        """Median and 95th percentile of the wall time of an inference."""
        median, high = percentiles([ms for each in self.outcomes for ms in each.inference_ms], (50, 95))
        return median, high


def evaluate_open_loop(
    checkpoint: Path,
    sources: Sequence[Path],
    out: Path,
    *,
    split: Split = "validation",
    bags: BagChoices | None = None,
    device: torch.device | str = "cpu",
    show_progress: bool = False,
) -> OpenLoopResult:
    """Return how far a policy's predictions lie from recorded episodes.

    Args:
        checkpoint: Checkpoint directory.
        sources: Datasets (folders that hold ``training`` and ``validation``), bags, or folders of bags.
        out: Folder that keeps what was done; a run that is started again goes on.
        split: Which split of a dataset.
        bags: How bags are read; needed when there are some.
        device: Where the model runs.
        show_progress: Draw a bar with the time that is left for each source.

    Raises:
        VlaError: A source does not fit the checkpoint or cannot be read, or there is no episode.
    """
    policy = VlaPolicy.load(checkpoint, device)
    if bags is not None:
        policy.contract.check_fits(bags.spec)
    identity = checkpoint_identity(checkpoint)
    journal, _ = open_run(out / "open_loop.jsonl", {"kind": "open_loop", **identity})
    skipped: list[str] = []
    with journal:
        policy.warm_up()
        run = _Run(policy, out / ".work", bags, skipped, show_progress)
        outcomes = tuple(outcome for source in sources for outcome in run.of_source(source, split))
    used = tuple(outcome for outcome in outcomes if outcome.is_valid.any())
    if not used:
        raise VlaError("there is no episode to evaluate on: " + ("; ".join(skipped) or "all are empty"))
    space = policy.contract.action_space
    return OpenLoopResult(
        contract=policy.contract,
        outcomes=used,
        errors=tuple(errors_of(outcome, outcome.predicted, space) for outcome in used),
        baseline_errors={
            name: total(errors_of(outcome, predict(outcome), space) for outcome in used)
            for name, predict in baselines(used, space).items()
        },
        skipped=tuple(skipped),
        identity=identity,
    )


def read_bag_options(path: Path | None, **given: Any) -> dict[str, Any]:
    """Return options for bags: of a YAML file, with those given (not ``None``) in their place.

    Raises:
        ConfigError: The file holds no mapping.
    """
    data = {} if path is None else read_yaml(path) or {}
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: expected a mapping of options")
    return {**data, **{name: value for name, value in given.items() if value is not None}}


@dataclass(frozen=True, eq=False)
class _Run:
    """One evaluation under way."""

    policy: VlaPolicy
    work: Path
    bags: BagChoices | None
    skipped: list[str]
    show_progress: bool

    def of_source(self, source: Path, split: Split) -> Iterator[EpisodeOutcome]:
        if any((source / name).is_dir() for name in SPLITS):
            yield from self._of_dataset(source, split)
        else:
            yield from self._of_bags(find_bags([source]))

    def _of_dataset(self, dataset: Path, split: Split) -> Iterator[EpisodeOutcome]:
        store = open_split(dataset, split)
        stream, contract = PolicyStream(self.policy), self.policy.contract
        work = WorkFolder(self.work / digest_of(f"{dataset.resolve()} {split}"))
        work.forget_drafts()
        episodes = evaluate_split(stream, contract, store, f"{dataset.resolve().name}_{split}", work)
        count = len(store.annotations)
        yield from tqdm(episodes, desc=dataset.name, total=count, unit="episode", disable=not self.show_progress)

    def _of_bags(self, bags: Sequence[Bag]) -> Iterator[EpisodeOutcome]:
        if self.bags is None:
            raise VlaError(f"{bags[0].folder}: to read bags, say which robot was recorded: --robot SPEC.yaml")
        config = self.bags.config(self.policy.contract)
        spec = config.with_delays(self.bags.spec)
        sentences = SentencesFile(self.bags.instructions)
        num_bytes = 2 * sum(bag.num_bytes for bag in bags)
        with tqdm(total=num_bytes, unit="B", unit_scale=True, disable=not self.show_progress) as bar:
            for bag in bags:
                try:
                    labels = sentences.labels_of(bag)
                except ConfigError as error:
                    self.skipped.append(f"{bag.name}: skipped: {error}")
                    continue
                facts = json.dumps([labels.digest, to_plain(config), to_plain(spec)], sort_keys=True)
                work = WorkFolder(self.work / digest_of(facts))
                work.forget_drafts()
                evaluation = BagEvaluation(
                    stream=PolicyStream(self.policy),
                    contract=self.policy.contract,
                    spec=spec,
                    config=config,
                    work=work,
                    skipped=self.skipped,
                )
                yield from evaluation.evaluate(bag, labels, bar.update)
