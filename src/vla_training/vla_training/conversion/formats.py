# SPDX-License-Identifier: Apache-2.0
"""Which class writes which dataset format."""

from vla_training.conversion.calvin_format import CalvinFormat
from vla_training.conversion.config import ConversionConfig
from vla_training.conversion.episode_writer import DatasetFacts, DatasetFormat
from vla_training.conversion.lerobot_format import LeRobotFormat


def dataset_format(config: ConversionConfig, facts: DatasetFacts) -> DatasetFormat:
    """Return the dataset format that a configuration asks for.

    Args:
        config: Names the format.
        facts: What is the same for every frame.

    Raises:
        ConfigError: It cannot be written with this configuration.
    """
    if config.format == "calvin":
        return CalvinFormat(compress=config.compress)
    return LeRobotFormat(facts)
