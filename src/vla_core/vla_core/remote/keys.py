# SPDX-License-Identifier: Apache-2.0
"""The keys of a policy server and its clients: files that only their owner reads, and the command that makes them.

One call makes a folder for the server (``server/``) and one for each client, to be copied to its machine. A party
has its own secret key and the public keys of those that it talks to.
"""

import argparse
import os
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import zmq
import zmq.auth

from vla_core.errors import ConfigError

SERVER = "server"
_CLIENTS = "clients"
_SERVER_SECRET = "server.key_secret"
_CLIENT_SECRET = "client.key_secret"
_SERVER_PUBLIC = "server.key"
_KEY_CHARS = 40
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


@dataclass(frozen=True)
class ServerKeys:
    """What a server needs.

    Attributes:
        public: Its public key, Z85.
        secret: Its secret key, Z85.
        clients: Public key of each client that may come in, to the client's name.
    """

    public: bytes
    secret: bytes = field(repr=False)
    clients: dict[bytes, str]


@dataclass(frozen=True)
class ClientKeys:
    """What a client needs.

    Attributes:
        public: Its public key, Z85.
        secret: Its secret key, Z85.
        server: Public key of the only server that it talks to, Z85.
    """

    public: bytes
    secret: bytes = field(repr=False)
    server: bytes


def load_server_keys(folder: Path) -> ServerKeys:
    """Return the keys in the folder of a server.

    Raises:
        ConfigError: A file is missing, is no key or can be read by others, or no client is allowed.
    """
    public, secret = _read_secret(folder / _SERVER_SECRET)
    files = sorted((folder / _CLIENTS).glob("*.key"))
    if not files:
        raise ConfigError(f"{folder / _CLIENTS}: holds no public key (*.key), so nobody could connect")
    return ServerKeys(public, secret, {_read_public(file): file.stem for file in files})


def load_client_keys(folder: Path) -> ClientKeys:
    """Return the keys in the folder of a client.

    Raises:
        ConfigError: A file is missing, is no key or can be read by others.
    """
    public, secret = _read_secret(folder / _CLIENT_SECRET)
    return ClientKeys(public, secret, _read_public(folder / _SERVER_PUBLIC))


def make_keys(out: Path, clients: Sequence[str] = ("client",)) -> list[Path]:
    """Make the keys of a server, where there are none, and of new clients; return the new folders.

    Args:
        out: Folder of the folders.
        clients: Names of the clients.

    Raises:
        ConfigError: A name is no name, a folder is there already, or nothing can be written.
    """
    wanted = list(dict.fromkeys(clients))
    for name in wanted:
        if not _NAME.fullmatch(name) or name == SERVER:
            raise ConfigError(
                f"client '{name}': a name is made of letters, digits, - and _, and is not '{SERVER}'"
            )
        if (out / name).exists() or (out / SERVER / _CLIENTS / f"{name}.key").exists():
            raise ConfigError(
                f"{out / name}: keys are never overwritten. Delete them by hand or choose another name"
            )
    try:
        out.mkdir(parents=True, exist_ok=True, mode=0o700)
        made = [] if (out / SERVER).exists() else [_make_server(out)]
        return [*made, *(_make_client(out, name) for name in wanted)]
    except OSError as error:
        raise ConfigError(f"{out}: keys cannot be written there: {error.strerror}") from error


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(prog="policy_keys", description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the key folders")
    parser.add_argument(
        "--client", action="append", metavar="NAME", help="a client to make keys for; may be repeated (client)"
    )
    options = parser.parse_args(arguments)
    try:
        for folder in make_keys(options.out, options.client or ["client"]):
            print(folder)
    except ValueError as error:
        print(f"policy_keys: {error}", file=sys.stderr)
        return 1
    return 0


def _make_server(out: Path) -> Path:
    draft = Path(tempfile.mkdtemp(prefix=".server.", dir=out))  # readable by its owner only
    try:
        (draft / _CLIENTS).mkdir(mode=0o700)
        public, secret = zmq.curve_keypair()
        _write(draft / _SERVER_SECRET, public, secret)
        _write(draft / _SERVER_PUBLIC, public)
        draft.rename(out / SERVER)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return out / SERVER


def _make_client(out: Path, name: str) -> Path:
    draft = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=out))
    try:
        public, secret = zmq.curve_keypair()
        _write(draft / _CLIENT_SECRET, public, secret)
        _write(draft / _SERVER_PUBLIC, _read_public(out / SERVER / _SERVER_PUBLIC))
        _write(out / SERVER / _CLIENTS / f"{name}.key", public)
        draft.rename(out / name)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return out / name


def _write(path: Path, public: bytes, secret: bytes | None = None) -> None:
    """Write a certificate in ZeroMQ's layout; an existing file is an error."""
    lines = ["curve", f'    public-key = "{public.decode()}"']
    if secret is not None:
        lines.append(f'    secret-key = "{secret.decode()}"')
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")


def _read_secret(path: Path) -> tuple[bytes, bytes]:
    public, secret = _read(path)
    if secret is None or len(secret) != _KEY_CHARS:
        raise ConfigError(f"{path}: holds no secret key. Make keys with 'python -m vla_core.remote.keys'")
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError(f"{path}: others may read it (mode {mode:o}). Run: chmod 600 {path}")
    return public, secret


def _read_public(path: Path) -> bytes:
    return _read(path)[0]


def _read(path: Path) -> tuple[bytes, bytes | None]:
    try:
        public, secret = zmq.auth.load_certificate(path)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{path}: cannot be read as a key ({error}). Make keys with 'python -m vla_core.remote.keys'"
        ) from None
    if len(public) != _KEY_CHARS:
        raise ConfigError(f"{path}: the public key has {len(public)} characters, expected {_KEY_CHARS}")
    return public, secret


if __name__ == "__main__":
    sys.exit(main())
