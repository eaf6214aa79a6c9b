# SPDX-License-Identifier: Apache-2.0
"""From the node's parameters to a policy that is warm: in this process, or in a policy server."""

import functools
import os
from pathlib import Path

from rclpy.logging import get_logger

from vla_core.errors import ConfigError
from vla_core.policy_contract import Policy
from vla_core.robot_spec import RobotSpec
from vla_policy_node.parameters import PolicyNodeParameters


def load_policy(parameters: PolicyNodeParameters, spec: RobotSpec) -> Policy:
    """Return the policy of the checkpoint on its device, after one inference to warm it up, or that of the server.

    Raises:
        ConfigError: Neither or both of checkpoint and server are named, the device is not there, or keys are
            missing.
        CheckpointError: The checkpoint cannot be loaded.
        PolicyUnreachableError: The server does not answer, or not to these keys.
    """
    if parameters.policy_server and parameters.checkpoint:
        raise ConfigError(
            f"parameters 'checkpoint' ({parameters.checkpoint}) and 'policy_server' ({parameters.policy_server}) "
            "are both given; with a policy server, the checkpoint is given to that"
        )
    if parameters.policy_server:
        return _connect(parameters)
    if not parameters.checkpoint:
        raise ConfigError(
            "parameter 'checkpoint' is empty; give the directory of a checkpoint, or a 'policy_server'"
        )
    return _load(parameters)


def _load(parameters: PolicyNodeParameters) -> Policy:
    from vla_core.model.device import device_named
    from vla_core.policy import VlaPolicy
    from vla_core.streams import StreamOptions

    device = device_named(parameters.device)
    options = StreamOptions(alternate_cameras=parameters.alternate_cameras, compile=parameters.compile)
    policy = VlaPolicy.load(parameters.checkpoint, device=device, options=options)
    policy.warm_up()
    return policy


def _connect(parameters: PolicyNodeParameters) -> Policy:
    from vla_core.remote.encryption import require_choice
    from vla_core.remote.keys import load_client_keys
    from vla_core.remote.policy_client import RemotePolicy

    folder, is_plain = parameters.policy_keys, parameters.policy_allow_plain_text
    require_choice(bool(folder), is_plain, "parameter 'policy_keys'", "parameter 'policy_allow_plain_text'")
    if is_plain:
        get_logger("policy_node").warning(
            f"PLAIN TEXT: everybody on the way to {parameters.policy_server} can read pictures and change actions"
        )
    keys = load_client_keys(Path(folder)) if folder else None
    return RemotePolicy(parameters.policy_server, keys, parameters.policy_timeout_s, client=_own_name())


@functools.cache
def _own_name() -> bytes:
    """Return who this process is to the server: a node that is configured again takes over from itself."""
    return os.urandom(16)
