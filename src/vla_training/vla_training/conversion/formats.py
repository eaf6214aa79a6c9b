# SPDX-License-Identifier: Apache-2.0
"""Which class writes which dataset format."""

from vla_core.errors import ConfigError
from vla_training.conversion.calvin_format import CalvinFormat
from vla_training.conversion.config import ConversionConfig
from vla_training.conversion.episode_writer import DatasetFacts, DatasetFormat


def dataset_format(config: ConversionConfig, facts: DatasetFacts) -> DatasetFormat:
    """Return the dataset format that a configuration asks for.

    Args:
        config: Names the format.
        facts: What is the same for every frame.

    Raises:
        ConfigError: It is not there.
    """
    if config.format == "calvin":
        return CalvinFormat(compress=config.compress)
    raise ConfigError(f"format '{config.format}' cannot be written yet; allowed: calvin")
