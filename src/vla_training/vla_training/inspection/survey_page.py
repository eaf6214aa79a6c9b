# SPDX-License-Identifier: Apache-2.0
"""A survey as one HTML page: what is wrong first, then what the dataset looks like."""

from collections import Counter
from pathlib import Path

import numpy as np

from vla_training.inspection.charts import action_histograms, episode_lengths, paths
from vla_training.inspection.findings import Finding
from vla_training.inspection.survey import EpisodeSample, Survey
from vla_training.reports.page import (
    Card,
    Cards,
    Chart,
    Figures,
    Item,
    Items,
    Mark,
    Section,
    Table,
    Text,
    contact_sheet,
    png_of_chart,
    png_of_pixels,
    write_page,
)

MOST_FINDINGS = 150
MOST_SENTENCES = 200
_MARKS: dict[str, Mark] = {"bad": "bad", "warning": "warning", "note": "plain"}


def write_survey_page(found: Survey, path: Path) -> Path:
    """Write the page; return its path."""
    layouts = ", ".join(dict.fromkeys(own.layout for own in found.splits.values()))
    space = found.card.action_space
    return write_page(
        path,
        f"Dataset {found.dataset.resolve().name}",
        [_findings(found), _sentences(found), _motion(found), _episodes(found)],
        subtitle=(
            f"{layouts} layout, robot {found.card.robot.name}, {1.0 / found.card.period_s:g} Hz, actions in the "
            f"{space.frame} frame, {space.translation_m:g} m and {space.rotation_rad:g} rad per unit"
        ),
        key_figures=_key_figures(found),
    )


def _key_figures(found: Survey) -> Figures:
    splits = found.splits
    frames = sum(own.num_frames for own in splits.values())
    clipped = sum(own.num_clipped for own in splits.values())
    opens = sum(own.share_open * own.num_frames for own in splits.values())
    values = {f"episodes, {split}": f"{own.num_episodes:,}" for split, own in splits.items()}
    values |= {
        "frames": f"{frames:,}",
        "of demonstration": _duration(frames * found.card.period_s),
        "sentences": f"{len({text for own in splits.values() for text in own.sentences}):,}",
        "actions clipped": f"{clipped / max(frames, 1):.1%}",
        "gripper open": f"{opens / max(frames, 1):.0%}",
    }
    return Figures(values)


def _findings(found: Survey) -> Section:
    if not found.findings:
        return Section("Findings", [Text("Nothing was found. Look at the pictures below all the same.", "good")])
    counts = Counter[str](finding.severity for finding in found.findings)
    words = {"bad": "must be mended", "warning": "to look at", "note": "to know"}
    title = ", ".join(f"{counts[key]} {words[key]}" for key in words if counts[key])
    items = Items([_item(finding) for finding in found.findings[:MOST_FINDINGS]])
    left = len(found.findings) - MOST_FINDINGS
    more = [Text(f"... and {left} more; --json writes all of them.")] if left > 0 else []
    return Section(f"Findings: {title}", [items, *more])


def _item(finding: Finding) -> Item:
    return Item(label=finding.kind, where=finding.where, text=finding.text, mark=_MARKS[finding.severity])


def _sentences(found: Survey) -> Section:
    texts = list(dict.fromkeys(text for own in found.splits.values() for text in own.sentences))
    rows = []
    for text in texts[:MOST_SENTENCES]:
        said = [own.sentences.get(text, (0, 0)) for own in found.splits.values()]
        times, frames = sum(each[0] for each in said), sum(each[1] for each in said)
        seconds = frames * found.card.period_s
        rows.append([text, *(each[0] for each in said), f"{seconds:.1f} s", f"{seconds / times:.1f} s"])
    columns = ["sentence", *(f"times, {split}" for split in found.splits), "in all", "on average"]
    left = len(texts) - MOST_SENTENCES
    table = Table(columns, rows, caption=f"and {left} more sentences" if left > 0 else "")
    chart = Chart(png_of_chart(episode_lengths(found.splits, found.card.period_s)))
    return Section("Sentences", [table, chart])


def _motion(found: Survey) -> Section:
    samples = [sample for own in found.splits.values() for sample in own.samples]
    low_m = np.min([own.low_m for own in found.splits.values()], axis=0)
    high_m = np.max([own.high_m for own in found.splits.values()], axis=0)
    box = ", ".join(
        f"{axis} {low:.2f} to {high:.2f} m" for axis, low, high in zip("xyz", low_m, high_m, strict=True)
    )
    within = f" All frames lie in {box}." if np.isfinite(low_m).all() else ""
    path_text = (
        f"Paths of the TCP in base, {len(samples)} episodes, blue at the beginning and orange at the end. "
        f"Circle: beginning. Red: the gripper is asked to close. Green: to open.{within}"
    )
    return Section(
        "Motion",
        [
            Chart(png_of_chart(paths(samples)), path_text, wide=True),
            Chart(
                png_of_chart(action_histograms(found.splits)),
                "Share of the frames by each number of the action, in units; the scale is logarithmic. A peak at "
                "1 or -1 is clipped motion.",
                wide=True,
            ),
        ],
    )


def _episodes(found: Survey) -> Section:
    worst: dict[tuple[str, int | None], Mark] = {}
    for finding in reversed(found.findings):
        if finding.severity != "note":
            worst[finding.split, finding.episode] = _MARKS[finding.severity]
    samples = [sample for own in found.splits.values() for sample in own.samples]
    total = sum(own.num_episodes for own in found.splits.values())
    cards = Cards([_card(own, found.card.period_s, worst.get((own.split, own.index), "plain")) for own in samples])
    note = Text(f"{len(samples)} of {total} episodes: the first, the middle and the last picture of each camera.")
    return Section("Episodes", [note, cards])


def _card(sample: EpisodeSample, period_s: float, mark: Mark) -> Card:
    sentences = " / ".join(sample.sentences) or "no sentence"
    return Card(
        title=sentences,
        text=f"{sample.split} {sample.index}, {sample.num_frames} frames, {sample.num_frames * period_s:.1f} s",
        pictures=[png_of_pixels(contact_sheet(shown, height_px=150)) for shown in sample.filmstrips.values()],
        mark=mark,
    )


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
