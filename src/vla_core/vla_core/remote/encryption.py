# SPDX-License-Identifier: Apache-2.0
"""Sockets of both sides: CURVE keys, bounded messages and queues, and a connection that notices a dead peer.

Without keys a socket speaks plain text; whether that is allowed is asked before (``require_choice``).
"""

import logging

import zmq
from zmq.auth.thread import ThreadAuthenticator

from vla_core.errors import ConfigError
from vla_core.remote.keys import ClientKeys, ServerKeys
from vla_core.remote.protocol import MAX_REPLY_BYTES, MAX_REQUEST_BYTES

_DOMAIN = "policy"
_HANDSHAKE_MS = 5000
_HEARTBEAT_MS = 1000
_SILENT_MS = 3000
_QUEUE = 8
_LOG = logging.getLogger(__name__)


def require_choice(has_keys: bool, allow_plain_text: bool, keys: str, plain: str) -> None:
    """Refuse to leave open whether the connection is encrypted.

    Args:
        has_keys: Whether a folder of keys is given.
        allow_plain_text: Whether plain text is asked for.
        keys: What the option for the folder is called.
        plain: What the option for plain text is called.

    Raises:
        ConfigError: Neither or both are given.
    """
    if has_keys and allow_plain_text:
        raise ConfigError(f"{keys} and {plain} contradict each other; give one of them")
    if not has_keys and not allow_plain_text:
        raise ConfigError(
            f"{keys} is missing: the connection would carry pictures and commands in plain text. Make keys with "
            f"'python -m vla_core.remote.keys --out DIR', or ask for plain text with {plain}"
        )
    if has_keys and not zmq.has("curve"):
        raise ConfigError("this ZeroMQ was built without CURVE encryption; install pyzmq from PyPI")


def client_socket(context: "zmq.Context[zmq.Socket[bytes]]", keys: ClientKeys | None) -> "zmq.Socket[bytes]":
    """Return a socket for one connection to a server; it sends only while the connection stands."""
    socket = context.socket(zmq.DEALER)
    _bound(socket, MAX_REPLY_BYTES)
    socket.setsockopt(zmq.IMMEDIATE, 1)
    if keys is not None:
        socket.curve_publickey, socket.curve_secretkey = keys.public, keys.secret
        socket.curve_serverkey = keys.server
    return socket


def server_socket(context: "zmq.Context[zmq.Socket[bytes]]", keys: ServerKeys | None) -> "zmq.Socket[bytes]":
    """Return a socket for many clients; to send to one that is gone is an error."""
    socket = context.socket(zmq.ROUTER)
    _bound(socket, MAX_REQUEST_BYTES)
    socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
    if keys is not None:
        socket.curve_server = True
        socket.curve_publickey, socket.curve_secretkey = keys.public, keys.secret
        socket.setsockopt(zmq.ZAP_DOMAIN, _DOMAIN.encode())
        # Without an answer of the doorkeeper nobody comes in, instead of everybody.
        socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
    return socket


def start_doorkeeper(context: "zmq.Context[zmq.Socket[bytes]]", keys: ServerKeys) -> ThreadAuthenticator:
    """Return a running thread that lets in the clients whose keys are known; stop it after the sockets."""
    doorkeeper = ThreadAuthenticator(context)
    doorkeeper.start()
    doorkeeper.configure_curve_callback(_DOMAIN, _KnownClients(keys.clients))
    return doorkeeper


class _KnownClients:
    """Says whether a public key may come in, and logs who does not."""

    def __init__(self, names: dict[bytes, str]) -> None:
        self._names = names

    def callback(self, domain: str, key: bytes) -> bool:
        """Return whether the key (Z85) is known."""
        if key in self._names:
            _LOG.info("client '%s' has connected", self._names[key])
            return True
        _LOG.warning("refused a client with the unknown public key %s", key.decode())
        return False


def _bound(socket: "zmq.Socket[bytes]", max_received_bytes: int) -> None:
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.MAXMSGSIZE, max_received_bytes)
    socket.setsockopt(zmq.HANDSHAKE_IVL, _HANDSHAKE_MS)
    socket.setsockopt(zmq.HEARTBEAT_IVL, _HEARTBEAT_MS)
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, _SILENT_MS)
    socket.setsockopt(zmq.SNDHWM, _QUEUE)
    socket.setsockopt(zmq.RCVHWM, _QUEUE)
