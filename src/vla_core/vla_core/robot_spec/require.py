# SPDX-License-Identifier: Apache-2.0
"""Checks that several parts of a robot spec share."""


def require_positive(spec: object, *keys: str) -> None:
    """Refuse a number of a spec that is not above zero.

    Raises:
        ValueError: The sentence names the key.
    """
    for key in keys:
        if getattr(spec, key) <= 0:
            raise ValueError(f"{key} must be above 0, found {getattr(spec, key):g}")


def require_age_above_period(rate_hz: float, max_age_ms: float, delay_ms: float) -> None:
    """Refuse an age limit that every sample of a stream would break.

    Raises:
        ValueError: The sentence holds limit and period.
    """
    if rate_hz <= 0:
        raise ValueError(f"rate_hz must be above 0, found {rate_hz:g}")
    if max_age_ms <= 1e3 / rate_hz + max(delay_ms, 0.0):
        delay = f" and a delay_ms of {delay_ms:g}" if delay_ms else ""
        raise ValueError(
            f"max_age_ms {max_age_ms:g} is not above one period of {1e3 / rate_hz:g} ms (rate_hz {rate_hz:g})"
            f"{delay}; every sample would be refused. Raise max_age_ms or the driver's rate"
        )
