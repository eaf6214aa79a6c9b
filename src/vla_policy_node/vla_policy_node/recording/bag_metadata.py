# SPDX-License-Identifier: Apache-2.0
"""``metadata.yaml`` of a rosbag2 folder, version 9. Written last: it says that the bag is finished."""

import os
from pathlib import Path
from typing import Any

import yaml

from vla_policy_node.recording.bag_writer import BagContents

METADATA_FILE = "metadata.yaml"
METADATA_VERSION = 9


def ros_distro() -> str:
    """Return the name of the ROS distribution, empty where the environment does not say it."""
    return os.environ.get("ROS_DISTRO", "")


def bag_metadata(storage: str, file_name: str, contents: BagContents) -> dict[str, Any]:
    """Return the document of a bag of one storage file; what is embedded becomes ``custom_data``."""
    duration = {"nanoseconds": contents.end_ns - contents.start_ns}
    start = {"nanoseconds_since_epoch": contents.start_ns}
    total = sum(contents.counts.values())
    topics = [
        {
            "topic_metadata": {
                "name": topic.name,
                "type": topic.definition.type,
                "serialization_format": "cdr",
                "offered_qos_profiles": [],
                "type_description_hash": topic.definition.type_hash,
            },
            "message_count": contents.counts.get(topic.name, 0),
        }
        for topic in contents.topics
    ]
    information = {
        "version": METADATA_VERSION,
        "storage_identifier": storage,
        "duration": duration,
        "starting_time": start,
        "message_count": total,
        "topics_with_message_count": topics,
        "compression_format": "",
        "compression_mode": "",
        "relative_file_paths": [file_name],
        "files": [
            {"path": file_name, "starting_time": start, "duration": duration, "message_count": total},
        ],
        "custom_data": dict(contents.facts) or None,
        "ros_distro": ros_distro(),
    }
    return {"rosbag2_bagfile_information": information}


def dump_metadata(document: dict[str, Any]) -> str:
    """Return a document as YAML without anchors, which rosbag2's reader need not know."""
    return yaml.dump(document, Dumper=_PlainDumper, sort_keys=False, allow_unicode=True)


def save_metadata(folder: Path, storage: str, file_name: str, contents: BagContents) -> None:
    """Write ``metadata.yaml``, at once or not at all."""
    save_text(folder / METADATA_FILE, dump_metadata(bag_metadata(storage, file_name, contents)))


def save_text(path: Path, text: str) -> None:
    """Write a text file, at once or not at all."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        with unfinished.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise


class _PlainDumper(yaml.SafeDumper):
    """Writes equal values out each time instead of referring back to the first."""

    def ignore_aliases(self, data: Any) -> bool:
        return True
