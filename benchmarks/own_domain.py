# SPDX-License-Identifier: Apache-2.0
"""A ROS domain of its own for a benchmark. Does nothing by itself."""

import os


def use_own_domain() -> None:
    """Set a domain for this process and those that it starts: nobody else on this machine hears them."""
    os.environ["ROS_DOMAIN_ID"] = str(10 + os.getpid() % 90)
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
