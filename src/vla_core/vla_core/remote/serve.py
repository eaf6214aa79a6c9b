# SPDX-License-Identifier: Apache-2.0
"""Serve the policy of a checkpoint to the policy node of a robot, on this machine or another."""

import argparse
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from vla_core.policy_contract import Policy
from vla_core.remote.encryption import require_choice
from vla_core.remote.keys import load_server_keys
from vla_core.remote.policy_server import PolicyServer

_LOG = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command until SIGINT or SIGTERM; return its exit status."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="policy_server: %(message)s", stream=sys.stderr)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        _serve(options)
    except KeyboardInterrupt:
        print("policy_server: ended", file=sys.stderr)
    except ValueError as error:
        print(f"policy_server: {error}", file=sys.stderr)
        return 1
    return 0


def _serve(options: argparse.Namespace) -> None:
    require_choice(options.keys is not None, options.allow_plain_text, "--keys", "--allow-plain-text")
    keys = None if options.keys is None else load_server_keys(options.keys)
    if keys is None:
        _LOG.warning("PLAIN TEXT: pictures and actions can be read and changed by everybody on the way")
    policy = _load(options)
    with PolicyServer(policy, options.bind, keys) as server:
        trained = "" if policy.contract.is_trained else ", UNTRAINED"
        _LOG.info("serving %s%s at %s", options.checkpoint, trained, server.address)
        server.run()


def _load(options: argparse.Namespace) -> Policy:
    # Only the machine with the model needs torch.
    from vla_core.model.device import device_named
    from vla_core.policy import VlaPolicy
    from vla_core.streams import StreamOptions

    streams = StreamOptions(alternate_cameras=options.alternate_cameras, compile=options.compile)
    policy = VlaPolicy.load(options.checkpoint, device=device_named(options.device), options=streams)
    policy.warm_up()
    return policy


def _interrupt(number: int, frame: FrameType | None) -> None:
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, _ignore)  # a second one would disturb the way out
    raise KeyboardInterrupt


def _ignore(number: int, frame: FrameType | None) -> None:
    """Do nothing; SIG_IGN instead makes Python complain of a signal that is on its way already."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="policy_server", description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--checkpoint", type=Path, required=True, metavar="DIR", help="checkpoint directory")
    parser.add_argument("--bind", default="tcp://127.0.0.1:5555", help="address to listen at (%(default)s)")
    parser.add_argument("--keys", type=Path, metavar="DIR", help="folder 'server' that policy_keys made")
    parser.add_argument(
        "--allow-plain-text", action="store_true", help="no keys: everybody who reaches the port may connect"
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="device of the model")
    parser.add_argument("--compile", action="store_true", help="compile the model: a slow start, shorter ticks")
    parser.add_argument("--alternate-cameras", action="store_true", help="encode one camera per tick, in turn")
    return parser


if __name__ == "__main__":
    sys.exit(main())
