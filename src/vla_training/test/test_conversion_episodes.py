# SPDX-License-Identifier: Apache-2.0
"""Which parts of a bag become episodes, and which sentence each frame shows."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from bag_factory import SPEC, Demo, Message, mark, say, write_mcap

from vla_core.episode_record import EpisodeRecord
from vla_core.errors import ConfigError
from vla_training.bags.bag_folder import find_bags
from vla_training.bags.raw_message import BagError
from vla_training.conversion.bag_labels import SentencesFile
from vla_training.conversion.bag_scan import scan_bag
from vla_training.conversion.config import ConversionConfig
from vla_training.conversion.episode_plan import EpisodePlan, plan_episodes

CONFIG = ConversionConfig(trim_idle=False)
SHORT = Demo(seconds=6.0)


def plans(
    folder: Path,
    extra: Iterable[Message] = (),
    *,
    demo: Demo = SHORT,
    record: EpisodeRecord | None = None,
    sentences: Any = None,
    **options: Any,
) -> list[EpisodePlan]:
    """Return the episodes of a bag with what was said, and with the files beside it."""
    messages = sorted([*demo.messages(), *extra], key=lambda entry: entry[0])
    write_mcap(folder / "demo" / "demo_0.mcap", messages)
    if record is not None:
        record.save(folder / "demo")
    path = folder / "sentences.yaml"
    path.write_text(yaml.safe_dump(sentences or {}))
    (bag,) = find_bags([folder / "demo"])
    config = replace(CONFIG, **options)
    scan = scan_bag(bag, SPEC, config, lambda num_bytes: None)
    return plan_episodes(scan, SentencesFile(path).labels_of(bag), SPEC, config, {})


def shown(plan: EpisodePlan) -> list[tuple[str, int]]:
    """Return the sentences of an episode with their number of frames."""
    return [(own.instruction, own.last - own.first + 1) for piece in plan.pieces for own in piece.stretches]


def record(instruction: str = "open the drawer", **changes: Any) -> EpisodeRecord:
    facts = {"robot": "tiny_robot", "started_ns": 1, "ended_ns": 2, **changes}
    return EpisodeRecord(instruction=instruction, **facts)


def test_markers_cut_a_bag_into_episodes(tmp_path: Path) -> None:
    found = plans(
        tmp_path,
        [
            *(mark(0.5, "start", "open the drawer"), mark(2.0, "stop", outcome=1)),
            *(mark(3.0, "start", "close the drawer"), mark(4.0, "stop", outcome=2)),
            *(mark(4.5, "start", "push the button"), mark(5.5, "stop")),
        ],
    )
    assert [shown(plan) for plan in found] == [[("open the drawer", 16)], [], [("push the button", 11)]]
    assert found[1].report["skipped"].startswith("its outcome is failure")
    assert found[1].report["skipped_on_purpose"]
    assert found[0].report["outcome"] == "success"


def test_failures_are_kept_when_asked_for(tmp_path: Path) -> None:
    marks = [mark(3.0, "start", "close the drawer"), mark(4.0, "stop", outcome=2)]
    (only,) = plans(tmp_path, marks, keep_failed=True)
    assert shown(only) == [("close the drawer", 11)]


def test_discard_and_relabel_find_their_episode(tmp_path: Path) -> None:
    found = plans(
        tmp_path,
        [
            *(mark(0.5, "start", "wrong", name="a"), mark(1.5, "stop", name="a")),
            *(mark(2.0, "start", "b", name="b"), mark(3.0, "stop", name="b")),
            *(mark(3.5, "start", "c", name="c"), mark(4.0, "discard", name="c")),
            *(mark(4.5, "relabel", "right", name="a", outcome=1), mark(4.6, "discard", name="b")),
        ],
    )
    assert [shown(plan) for plan in found] == [[("right", 11)], [], []]
    assert [plan.report["skipped"] for plan in found] == [None, "discarded", "discarded"]


def test_an_episode_that_was_never_stopped_is_not_whole(tmp_path: Path) -> None:
    marks = [mark(0.5, "start", "one"), mark(2.0, "start", "two")]
    first, second = plans(tmp_path, marks)
    assert "the next one was started" in first.report["skipped"]
    assert shown(second) == [("two", 41)]  # the bag was closed in good order


def test_a_changed_sentence_inside_an_episode_makes_two_stretches(tmp_path: Path) -> None:
    (only,) = plans(
        tmp_path,
        [
            *(mark(0.5, "start", "open the drawer"), mark(3.0, "stop")),
            *(say(0.4, "open the drawer"), say(0.9, "open the drawer"), say(1.75, "close the drawer")),
        ],
    )
    assert shown(only) == [("open the drawer", 13), ("close the drawer", 13)]
    assert only.report["sentence_source"] == "marker, then instruction topic"


def test_a_corrected_sentence_replaces_the_first_one_only(tmp_path: Path) -> None:
    said = [
        mark(0.5, "start", "opne drawer"),
        say(0.6, "opne drawer"),
        say(1.75, "close the drawer"),
        mark(3.0, "stop"),
    ]
    (only,) = plans(tmp_path, said, record=record("open the drawer"))
    assert shown(only) == [("open the drawer", 13), ("close the drawer", 13)]


def test_an_empty_sentence_ends_what_is_shown(tmp_path: Path) -> None:
    (only,) = plans(tmp_path, [say(0.0, "open the drawer"), say(2.05, "")])
    assert shown(only) == [("open the drawer", 21)]
    (cut,) = plans(tmp_path, [say(0.0, "open the drawer"), say(2.05, "")], episodes_from="bag")
    assert shown(cut) == [("open the drawer", 21)]
    assert cut.report["refused"]["instruction"] == {"missing": 40}


def test_the_instruction_topic_cuts_where_nothing_else_does(tmp_path: Path) -> None:
    said = [say(0.5, "open the drawer"), say(1.0, "open the drawer"), say(2.0, ""), say(3.0, "close the drawer")]
    found = plans(tmp_path, said)
    assert [shown(plan) for plan in found] == [[("open the drawer", 15)], [("close the drawer", 31)]]
    assert {plan.report["episodes_from"] for plan in found} == {"instruction"}


def test_episode_yaml_speaks_for_the_whole_bag(tmp_path: Path) -> None:
    (only,) = plans(tmp_path, record=record())
    assert shown(only) == [("open the drawer", 61)]
    assert only.report["sentence_source"] == "episode.yaml"
    (discarded,) = plans(tmp_path, record=record(discarded=True))
    assert discarded.report["skipped"] == "discarded"
    (failed,) = plans(tmp_path, record=record(outcome="failure"))
    assert failed.report["skipped_on_purpose"]


def test_a_killed_recorder_leaves_an_episode_that_is_not_whole(tmp_path: Path) -> None:
    (only,) = plans(tmp_path, record=record(ended_ns=None))
    assert "ended_ns" in only.report["skipped"]
    (kept,) = plans(tmp_path, record=record(ended_ns=None), keep_cut=True)
    assert shown(kept) == [("open the drawer", 61)]


def test_the_flag_goes_before_the_file_and_the_file_before_the_rest(tmp_path: Path) -> None:
    said = [mark(0.5, "start", "marker"), mark(3.0, "stop"), say(0.0, "topic")]
    assert shown(plans(tmp_path, said, record=record("yaml"))[0]) == [("yaml", 26)]
    in_file = plans(tmp_path, said, record=record("yaml"), sentences={"demo": "file"})
    assert shown(in_file[0]) == [("file", 26)]
    by_flag = plans(tmp_path, said, record=record("yaml"), sentences={"demo": "file"}, instruction="flag")
    assert shown(by_flag[0]) == [("flag", 26)]


def test_a_list_of_sentences_is_one_for_each_episode(tmp_path: Path) -> None:
    marks = [mark(0.5, "start"), mark(1.5, "stop"), mark(2.0, "start"), mark(3.0, "stop")]
    found = plans(tmp_path, marks, sentences={"demo": ["open", "close"]})
    assert [shown(plan) for plan in found] == [[("open", 11)], [("close", 11)]]
    with pytest.raises(BagError, match="has 3 for this bag, which has 2 episodes"):
        plans(tmp_path, marks, sentences={"demo": ["open", "close", "push"]})


def test_explicit_ranges(tmp_path: Path) -> None:
    entries = [
        {"start_s": 3.0, "end_s": 4.0, "instruction": "close"},
        {"start_s": 0.5, "end_s": 1.5, "instruction": "open"},
    ]
    found = plans(tmp_path, [mark(0.0, "start", "all")], sentences={"demo": entries})
    assert [shown(plan) for plan in found] == [[("open", 11)], [("close", 11)]]
    entries[1]["end_s"] = 3.5
    with pytest.raises(ConfigError, match="overlap"):
        plans(tmp_path, sentences={"demo": entries})


def test_gaps_cut_a_bag(tmp_path: Path) -> None:
    demo = replace(SHORT, drop=lambda stream, k: stream == "tcp_pose" and 200 <= k < 400)
    first, second = plans(tmp_path, demo=demo, episodes_from="gaps", instruction="open")
    assert (shown(first), shown(second)) == ([("open", 21)], [("open", 21)])


def test_cycles_of_the_gripper_cut_a_bag(tmp_path: Path) -> None:
    demo = replace(SHORT, opening=lambda t_s: 0.0 if 1.0 <= t_s < 2.0 or 3.5 <= t_s < 4.5 else 1.0)
    found = plans(tmp_path, demo=demo, episodes_from="gripper", instruction="pick", idle_margin=3)
    assert [shown(plan) for plan in found] == [[("pick", 24)], [("pick", 25)]]


def test_without_a_sentence_nothing_is_converted(tmp_path: Path) -> None:
    (only,) = plans(tmp_path)
    assert only.report["skipped"].startswith("it has no sentence")
    assert not only.report.get("skipped_on_purpose")


@pytest.mark.parametrize(
    ("asked", "said"), [("markers", "no START marker"), ("instruction", "no instruction"), ("ranges", "no ranges")]
)
def test_a_way_of_cutting_that_the_bag_cannot_give_is_refused(tmp_path: Path, asked: str, said: str) -> None:
    with pytest.raises(BagError, match=said):
        plans(tmp_path, episodes_from=asked, instruction="open")


@pytest.mark.parametrize(
    ("content", "said"),
    [("[1]", "expected a mapping"), ("demo: 3", "expected a sentence"), ("demo: ''", "the sentence is empty")],
)
def test_a_wrong_file_of_sentences_is_refused(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "sentences.yaml"
    path.write_text(content)
    with pytest.raises(ConfigError, match=said):
        SentencesFile(path)
