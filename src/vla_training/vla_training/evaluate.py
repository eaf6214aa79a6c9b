# SPDX-License-Identifier: Apache-2.0
"""Tell how good a policy is: on recorded episodes, in CALVIN, SimplerEnv or our own simulator, or on the arm."""

import argparse
import sys
from collections.abc import Sequence

from vla_core.errors import VlaError
from vla_training.evaluation.calvin import command as calvin
from vla_training.evaluation.open_loop import command as open_loop
from vla_training.evaluation.robot import command as robot
from vla_training.evaluation.simpler import command as simpler
from vla_training.evaluation.tabletop import command as tabletop

COMMANDS = {"open_loop": open_loop, "calvin": calvin, "simpler": simpler, "tabletop": tabletop, "robot": robot}
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    options = _parser().parse_args(arguments)
    try:
        return _run(options)
    except (VlaError, OSError) as error:
        print(f"evaluate: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("evaluate: stopped. The same command goes on where this one ended", file=sys.stderr)
        return INTERRUPTED


def _run(options: argparse.Namespace) -> int:
    status: int = COMMANDS[options.command].run(options)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="evaluate", description=(__doc__ or "").split("\n", maxsplit=1)[0])
    commands = parser.add_subparsers(dest="command", required=True, metavar="{" + ",".join(COMMANDS) + "}")
    for name, module in COMMANDS.items():
        module.add_arguments(commands.add_parser(name, help=module.DESCRIPTION, description=module.DESCRIPTION))
    return parser


if __name__ == "__main__":
    sys.exit(main())
