# SPDX-License-Identifier: Apache-2.0
"""A comparison as a table, as plain data for JSON, and as a picture where matplotlib is installed."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from vla_core.errors import VlaError
from vla_core.geometry import FloatArray
from vla_policy_node.replaying.comparison import Comparison

_AXES = ("x", "y", "z", "about x", "about y", "about z")


def as_table(comparison: Comparison) -> str:
    """Return the comparison for people, at most 100 columns wide."""
    lines = _errors_by_axis(comparison)
    lines += [
        "",
        f"  gripper      {_gripper(comparison)}",
        f"  ticks        {comparison.num_ticks} of {comparison.expected_ticks} expected, "
        f"{dropped_ticks(comparison)} dropped",
        f"  inference    {_percentiles(comparison.inference_ms)}",
        f"  latency      {comparison.latency_ms[0]:.0f} ms (median), {comparison.latency_ms[1]:.0f} ms (p95), "
        "picture to command",
        f"  playing      at most {comparison.latest_ms:.0f} ms late",
    ]
    if not comparison.is_trained:
        lines += ["", "The policy is UNTRAINED: its errors mean nothing, only the machinery was tried."]
    return "\n".join(lines)


def as_plain(comparison: Comparison) -> dict[str, Any]:
    """Return the comparison as plain data: numbers per axis, and the series for a plot."""
    means, mosts = _numbers(comparison.errors)
    axes = {
        name.replace(" ", "_"): {"mean": mean, "p95": most}
        for name, mean, most in zip(_AXES, means, mosts, strict=True)
    }
    return {
        "reference": comparison.reference,
        "errors_mm_and_deg": axes,
        "mean_error_mm": comparison.mean_error_m * 1e3,
        "mean_motion_error_mm": mean_length_mm(comparison.motion_errors),
        "mean_recorded_motion_mm": mean_length_mm(comparison.recorded_motions),
        "gripper_reference": comparison.gripper_reference,
        "gripper_agreement": comparison.gripper_agreement,
        "num_ticks": comparison.num_ticks,
        "expected_ticks": comparison.expected_ticks,
        "dropped_ticks": dropped_ticks(comparison),
        "inference_ms": comparison.inference_ms.tolist(),
        "latency_p50_ms": _or_none(comparison.latency_ms[0]),
        "latency_p95_ms": _or_none(comparison.latency_ms[1]),
        "is_trained": comparison.is_trained,
        "times_s": comparison.times_s.tolist(),
        "predicted_m": comparison.predicted.tolist(),
        "recorded_m": comparison.recorded.tolist(),
    }


def write_plot(comparison: Comparison, path: Path) -> None:
    """Write a picture of predicted and recorded positions over time.

    Raises:
        VlaError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise VlaError("--plot needs matplotlib, which is not installed; use --json instead") from error
    figure = Figure(figsize=(9.0, 7.0), layout="constrained")
    for index, axes in enumerate(figure.subplots(3, 1, sharex=True)):
        axes.plot(comparison.times_s, comparison.recorded[:, index], label=comparison.reference, color="black")
        axes.plot(comparison.times_s, comparison.predicted[:, index], label="predicted", color="tab:orange")
        axes.set_ylabel(f"{_AXES[index]} in base, m")
    axes.set_xlabel("time in the bag, s")
    axes.legend()
    figure.savefig(path)


def dropped_ticks(comparison: Comparison) -> int:
    """Return how many ticks brought no inference; the first and the last may fall beside the bag."""
    return max(comparison.expected_ticks - comparison.num_ticks - 1, 0)


def mean_length_mm(motions: FloatArray) -> float:
    """Return the mean length of the translations of (M, 6) motions, millimetres."""
    return float(np.linalg.norm(motions[:, :3], axis=1).mean() * 1e3)


def _errors_by_axis(comparison: Comparison) -> list[str]:
    means, mosts = _numbers(comparison.errors)
    motions, _ = _numbers(comparison.motion_errors)
    recorded, _ = _numbers(comparison.recorded_motions)
    lines = [
        f"predicted against {comparison.reference}, in base axes",
        "",
        "               TARGET ON THE SHADOW TOPIC     MOTION OF ONE ACTION",
        "               mean error           p95       mean error     recorded",
    ]
    for index, name in enumerate(_AXES):
        unit = "mm " if index < 3 else "deg"
        numbers = [
            f"{value:>9.2f} {unit}" for value in (means[index], mosts[index], motions[index], recorded[index])
        ]
        lines.append("  ".join([f"  {name:<10} ", *numbers]).rstrip())
    error_mm, recorded_mm = mean_length_mm(comparison.motion_errors), mean_length_mm(comparison.recorded_motions)
    target = f"{comparison.mean_error_m * 1e3:>9.2f} mm "
    lines.append(f"  {'distance':<10}   {target}{'':>17}{error_mm:>9.2f} mm   {recorded_mm:>9.2f} mm")
    verdict = "nearer than" if error_mm < recorded_mm else "no nearer than"
    lines += ["", f"  One action is {verdict} that of a policy that asks for no motion at all."]
    return lines


def _numbers(errors: FloatArray) -> tuple[list[float], list[float]]:
    sizes = np.abs(errors) * np.array([1e3] * 3 + [180.0 / math.pi] * 3)
    return sizes.mean(axis=0).tolist(), np.percentile(sizes, 95, axis=0).tolist()


def _gripper(comparison: Comparison) -> str:
    if comparison.gripper_agreement is None:
        return "the policy has not decided on it"
    return f"agrees {comparison.gripper_agreement:.0%} of the time with what was {comparison.gripper_reference}"


def _percentiles(values_ms: FloatArray) -> str:
    if not len(values_ms):
        return "none"
    return f"{np.percentile(values_ms, 50):.0f} ms (median), {np.percentile(values_ms, 95):.0f} ms (p95)"


def _or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None
