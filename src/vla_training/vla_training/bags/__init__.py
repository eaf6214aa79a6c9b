# SPDX-License-Identifier: Apache-2.0
"""A rosbag2 to messages to the observations that the live node would have made."""
