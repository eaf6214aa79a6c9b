# SPDX-License-Identifier: Apache-2.0
"""From the node's parameters to a policy that is warm."""

from vla_core.errors import ConfigError
from vla_core.policy_contract import Policy
from vla_core.robot_spec import RobotSpec
from vla_policy_node.parameters import PolicyNodeParameters


def load_policy(parameters: PolicyNodeParameters, spec: RobotSpec) -> Policy:
    """Return the policy of the checkpoint, on its device, after one inference to warm it up.

    Raises:
        ConfigError: No checkpoint is named, or the device is not there.
        CheckpointError: The checkpoint cannot be loaded.
    """
    from vla_core.model.device import device_named
    from vla_core.policy import VlaPolicy
    from vla_core.streams import StreamOptions

    if not parameters.checkpoint:
        raise ConfigError("parameter 'checkpoint' is empty; give the directory of a checkpoint")
    device = device_named(parameters.device)
    options = StreamOptions(alternate_cameras=parameters.alternate_cameras, compile=parameters.compile)
    policy = VlaPolicy.load(parameters.checkpoint, device=device, options=options)
    policy.warm_up()
    return policy
