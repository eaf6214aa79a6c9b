# SPDX-License-Identifier: Apache-2.0
import os

# A domain of its own for each run, in this process and in those that it starts.
os.environ["ROS_DOMAIN_ID"] = str(10 + os.getpid() % 90)
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
