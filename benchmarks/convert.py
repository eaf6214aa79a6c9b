# SPDX-License-Identifier: Apache-2.0
"""How fast bags with two cameras of 640x480 at 30 Hz become a CALVIN dataset, and with how much memory.

Usage: python benchmarks/convert.py [--seconds 20]

TCP pose and joint states come at 100 Hz. Each row converts one generated bag in a process of its own, start of
Python included: pictures raw or JPEG, the bag plain or compressed, frames at 10 or 30 Hz. MB/s counts both passes
over the bag. The second row has a bag three times as long, and must not need more memory.
"""

import argparse
import io
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from machine import machine
from mcap.writer import CompressionType, Writer
from PIL import Image
from rosbags.typesys import Stores, get_typestore

ROOT = Path(__file__).resolve().parents[1]
STORE = get_typestore(Stores.ROS2_JAZZY)
TYPES = STORE.types
T0 = 1_700_000_000_000_000_000
CAMERA_HZ, BODY_HZ = 30, 100
WIDTH, HEIGHT = 640, 480
DIFFERENT_PICTURES = 16
Row = tuple[str, bool, CompressionType, float, float]
"""Name, whether pictures are JPEG, compression of the bag, rate of the frames (Hz), length of the bag (s)."""
RUN = """
import sys
from pathlib import Path
from vla_training.bag_to_dataset import main
status = main(sys.argv[1:])
# Not getrusage: its peak includes the process that started this one.
(line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print("peak", line.split()[1])
sys.exit(status)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--seconds", type=float, default=20.0, help="length of the bags (default: %(default)g)")
    seconds = parser.parse_args().seconds
    print(machine())
    print(f"{'bag':28} {'rate':>6} {'bag MB':>8} {'frames/s':>9} {'x real time':>12} {'MB/s':>7} {'peak MB':>8}")
    rows: list[Row] = [
        ("raw", False, CompressionType.NONE, 10.0, seconds),
        ("raw, three times as long", False, CompressionType.NONE, 10.0, 3 * seconds),
        ("raw, zstd chunks", False, CompressionType.ZSTD, 10.0, seconds),
        ("JPEG", True, CompressionType.NONE, 10.0, seconds),
        ("raw", False, CompressionType.NONE, 30.0, seconds),
        ("JPEG", True, CompressionType.NONE, 30.0, seconds),
    ]
    for row in rows:
        with tempfile.TemporaryDirectory() as folder:
            convert(Path(folder), row)


def convert(folder: Path, row: Row) -> None:
    """Generate a bag, convert it, print a row."""
    name, is_jpeg, compression, rate_hz, length_s = row
    robot = folder / "robot.yaml"
    robot.write_text(yaml.safe_dump(robot_of(is_jpeg)))
    bag = folder / "bag.mcap"
    write_bag(bag, length_s, is_jpeg, compression)
    arguments = [str(bag), "--robot", str(robot), "--out", str(folder / "out"), "--quiet", "--no-trim-idle"]
    options = ["--instruction", "open the drawer", "--rate-hz", str(rate_hz), "--validation-share", "0"]
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", RUN, *arguments, *options], capture_output=True, text=True, check=True
    )
    took_s = time.perf_counter() - began
    peak_mb = int(done.stdout.rpartition("peak")[2]) / 1024
    frames = sum(1 for _ in (folder / "out").rglob("*.npz"))
    bag_mb = bag.stat().st_size / 1e6
    print(
        f"{name:28} {rate_hz:3.0f} Hz {bag_mb:8.0f} {frames / took_s:9.1f} {length_s / took_s:12.2f} "
        f"{2 * bag_mb / took_s:7.0f} {peak_mb:8.0f}",
        flush=True,
    )


def robot_of(is_jpeg: bool) -> dict[str, Any]:
    """Return the simulated arm with large pictures."""
    robot: dict[str, Any] = yaml.safe_load((ROOT / "config/robots/sim_arm.yaml").read_text())
    for camera in robot["cameras"].values():
        camera |= {"width_px": WIDTH, "height_px": HEIGHT, "rate_hz": float(CAMERA_HZ), "frozen_after_ms": None}
        camera["type"] = f"sensor_msgs/msg/{'CompressedImage' if is_jpeg else 'Image'}"
    return robot


def write_bag(path: Path, length_s: float, is_jpeg: bool, compression: CompressionType) -> None:
    """Write an MCAP of all streams, in the order of reception."""
    robot = robot_of(is_jpeg)
    pictures = [picture(number, is_jpeg) for number in range(DIFFERENT_PICTURES)]
    with path.open("wb") as file:
        writer = Writer(file, chunk_size=1 << 20, compression=compression)
        writer.start(profile="ros2")
        channels: dict[str, int] = {}
        for stamp_ns, topic, message in sorted(messages(robot, length_s, pictures), key=lambda entry: entry[0]):
            kind = message.__msgtype__
            if topic not in channels:
                text = STORE.generate_msgdef(kind, ros_version=2)[0].encode()
                channels[topic] = writer.register_channel(
                    topic, "cdr", writer.register_schema(kind, "ros2msg", text)
                )
            writer.add_message(channels[topic], stamp_ns, bytes(STORE.serialize_cdr(message, kind)), stamp_ns)
        writer.finish()


def picture(number: int, is_jpeg: bool) -> np.ndarray:
    """Return the bytes of a picture with smooth shapes and noise."""
    rng = np.random.default_rng(number)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    base = 127 + 80 * np.sin((x + 9 * number) / 60)[..., None] * np.cos(y / 80)[..., None] * [1.0, 0.7, 0.4]
    pixels = np.clip(base + rng.normal(0, 4, (HEIGHT, WIDTH, 3)), 0, 255).astype(np.uint8)
    if not is_jpeg:
        return pixels.ravel()
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="JPEG", quality=90)
    return np.frombuffer(buffer.getvalue(), dtype=np.uint8)


def messages(robot: dict[str, Any], length_s: float, pictures: list[np.ndarray]) -> Iterator[tuple[int, str, Any]]:
    """Yield stamp, topic and message; picture messages share their bytes until they are written."""
    for k in range(round(length_s * CAMERA_HZ)):
        stamp_ns = T0 + round(k * 1e9 / CAMERA_HZ)
        for offset, camera in enumerate(robot["cameras"].values()):
            data = pictures[(k + offset) % len(pictures)]
            head = header(stamp_ns, camera["frame"])
            if camera["type"].endswith("CompressedImage"):
                message = TYPES["sensor_msgs/msg/CompressedImage"](head, "jpeg", data)
            else:
                message = TYPES["sensor_msgs/msg/Image"](head, HEIGHT, WIDTH, "rgb8", 0, 3 * WIDTH, data)
            yield stamp_ns, "/" + camera["topic"], message
    for k in range(round(length_s * BODY_HZ)):
        stamp_ns = T0 + round(k * 1e9 / BODY_HZ)
        yield stamp_ns, "/" + robot["tcp_pose"]["topic"], pose(stamp_ns, k / BODY_HZ, robot["base_frame"])
        names = [*robot["joints"]["names"], robot["gripper"]["joint"]]
        empty = np.zeros(0)
        state = TYPES["sensor_msgs/msg/JointState"](header(stamp_ns, ""), names, np.full(8, 0.03), empty, empty)
        yield stamp_ns, "/" + robot["joints"]["topic"], state


def pose(stamp_ns: int, t_s: float, frame: str) -> Any:
    """Return a point on a circle."""
    point = TYPES["geometry_msgs/msg/Point"](0.45 + 0.05 * np.cos(t_s), 0.05 * np.sin(t_s), 0.3)
    turn = TYPES["geometry_msgs/msg/Quaternion"](1.0, 0.0, 0.0, 0.0)
    return TYPES["geometry_msgs/msg/PoseStamped"](
        header(stamp_ns, frame), TYPES["geometry_msgs/msg/Pose"](point, turn)
    )


def header(stamp_ns: int, frame: str) -> Any:
    """Return a std_msgs/Header."""
    stamp = TYPES["builtin_interfaces/msg/Time"](*divmod(stamp_ns, 1_000_000_000))
    return TYPES["std_msgs/msg/Header"](stamp=stamp, frame_id=frame)


if __name__ == "__main__":
    main()
