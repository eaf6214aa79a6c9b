# SPDX-License-Identifier: Apache-2.0
"""``report.json``: what became of every bag and of every tick that is not in the dataset; its summary in words."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vla_core.robot_spec import CAMERA_NAMES, RobotSpec
from vla_training.conversion.config import FormatName
from vla_training.conversion.episode_writer import StoredEpisode
from vla_training.datasets.splits import SPLITS

_NOTE_VECTORS = "the vectors of the sentences (emb) are zero; CALVIN's own models need those of their text encoder"


def dataset_report(
    bags: Sequence[Mapping[str, Any]], episodes: Sequence[StoredEpisode], spec: RobotSpec, layout: FormatName
) -> dict[str, Any]:
    """Return the report of a dataset as plain data."""
    splits = {episode.source_key: episode.split for episode in episodes}
    lacking = [name for name in CAMERA_NAMES if name not in spec.cameras]
    notes = [
        *([_NOTE_VECTORS] if layout == "calvin" else []),
        *(f"the robot has no camera '{name}': the frames lack its picture" for name in lacking),
    ]
    empty = [split for split in SPLITS if episodes and not any(own.split == split for own in episodes)]
    notes += [f"no episode fell into {split}; see --validation-share and --validation-every" for split in empty]
    reports = [
        {**bag, "episodes": [{**own, "split": splits.get(own["key"])} for own in bag["episodes"]]} for bag in bags
    ]
    return {"totals": _totals(bags, episodes), "notes": notes, "bags": reports}


def problems(bags: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield a sentence for each bag and episode that was skipped without anyone wanting it, and for damage."""
    for bag in bags:
        if bag["skipped"]:
            yield f"{bag['name']}: skipped: {bag['skipped']}"
        if bag.get("damage"):
            yield f"{bag['name']}: {bag['damage']}; every whole episode before was converted"
        for topic, wrong in bag.get("undecodable", {}).items():
            found = f"{wrong['messages']} messages on {topic} were left out"
            yield f"{bag['name']}: {found}. The first: {wrong['first']}"
        yield from (f"{bag['name']}: {note}" for note in bag.get("notes", []))
        for episode in bag["episodes"]:
            if episode["skipped"] and not episode.get("skipped_on_purpose"):
                yield f"{bag['name']}: episode {episode['key']} skipped: {episode['skipped']}"


def summary(report: Mapping[str, Any]) -> str:
    """Return a few lines for a person."""
    totals = report["totals"]
    lines = [
        f"{totals['episodes']} episodes ({totals['training']['episodes']} training, "
        f"{totals['validation']['episodes']} validation), {totals['frames']} frames, {totals['seconds']:.0f} s "
        f"from {totals['bags']} bags"
    ]
    refused = totals["refused"]
    if refused:
        lines.append("left out: " + ", ".join(f"{number} ticks {why}" for why, number in refused.items()))
    clipped = {name: share for name, share in totals["clipped"].items() if share > 0}
    if clipped:
        lines.append("clipped actions: " + ", ".join(f"{name} {share:.1%}" for name, share in clipped.items()))
    return "\n".join([*lines, *(f"note: {note}" for note in report["notes"])])


def _totals(bags: Sequence[Mapping[str, Any]], episodes: Sequence[StoredEpisode]) -> dict[str, Any]:
    used = [own for bag in bags for own in bag["episodes"] if own["frames"]]
    skipped = sum(bool(own["skipped"]) for bag in bags for own in bag["episodes"])
    refused: Counter[str] = Counter()
    for own in used:
        for stream, kinds in own["refused"].items():
            refused.update({f"{stream} {kind}": number for kind, number in kinds.items()})
    frames = sum(own["frames"] for own in used)
    names = used[0]["clipped"] if used else {}
    clipped = {name: sum(own["clipped"][name] * own["frames"] for own in used) / frames for name in names}
    splits: dict[str, Any] = {
        split: {
            "episodes": sum(episode.split == split for episode in episodes),
            "frames": sum(episode.num_frames for episode in episodes if episode.split == split),
        }
        for split in SPLITS
    }
    return {
        "bags": len(bags),
        "episodes": len(episodes),
        "skipped_episodes": skipped,
        "frames": frames,
        "seconds": round(sum(own["seconds"] for own in used), 3),
        **splits,
        "refused": dict(refused.most_common()),
        "clipped": clipped,
    }
