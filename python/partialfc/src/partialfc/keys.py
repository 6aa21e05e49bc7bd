"""Keys of a cluster (docs/security.md): the file `key` of a holder, and what a socket needs of it."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zmq.utils import z85

from .errors import KeyFileError

_NAMES = {
    "version", "role", "name", "own-public-key", "own-secret-key", "bulk-public-key", "bulk-secret-key", "server-public-key",
    "server-secret-key", "coordinator-public-key", "shard-server-public-key",
}  # fmt: skip


_NAME_BYTES = 255


@dataclass(frozen=True, slots=True)
class SocketKeys:
    """What one socket shows, and whom it expects. Secrets are not printed."""

    public: str
    secret: str = field(repr=False)
    server: str
    """The server's public key; empty: PLAIN, with `public` and `secret` as name and password."""

    def apply(self, socket: Any) -> None:
        """Sets the mechanism of a socket that is not connected yet."""
        if self.server:
            socket.curve_publickey = self.public.encode()
            socket.curve_secretkey = self.secret.encode()
            socket.curve_serverkey = self.server.encode()
        else:
            socket.plain_username = self.public.encode()
            socket.plain_password = self.secret.encode()


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one holder.

    Attributes:
        role: worker, operator, reader or shard-server.
        name: of the holder.
        coordinator: for sockets to the coordinator.
        shards: for sockets to the shards.
    """

    role: str
    name: str
    coordinator: SocketKeys
    shards: SocketKeys

    @staticmethod
    def read(directory: str | os.PathLike[str], encrypt: str = "all") -> Keys:
        """Reads the file `key` in a directory that `coordinator keys new` made.

        Args:
            encrypt: `all`, or `control` if the cluster leaves the traffic to the shards unencrypted.

        Raises:
            KeyFileError: there is none, others can read it, or it is damaged. The message never has a secret in it.
        """
        if encrypt not in ("all", "control"):
            raise KeyFileError(f'encrypt is "{encrypt}"; it is all or control')
        path = Path(directory)
        path = path / "key" if path.is_dir() else path
        fields = _fields(path)
        missing = [name for name in ("role", "name", "own-public-key", "own-secret-key", "bulk-secret-key") if name not in fields]
        missing += [name for name in ("coordinator-public-key", "shard-server-public-key") if name not in fields]
        if missing:
            raise KeyFileError(f"{path}: {missing[0]} is missing: this is no key of a worker, operator or reader")
        for name, value in fields.items():
            if name.endswith("-key") and not _is_key(value):
                raise KeyFileError(f"{path}: {name} is no key, which has 40 characters of Z85: the file is damaged")
            if name == "name" and len(value.encode()) > _NAME_BYTES:
                raise KeyFileError(f"{path}: the name has more than {_NAME_BYTES} bytes: the file is damaged")
        own, secret = fields["own-public-key"], fields["own-secret-key"]
        shards = (
            SocketKeys(own, secret, fields["shard-server-public-key"])
            if encrypt == "all"
            else SocketKeys(own, fields["bulk-secret-key"], "")
        )
        return Keys(fields["role"], fields["name"], SocketKeys(own, secret, fields["coordinator-public-key"]), shards)


def _is_key(value: str) -> bool:
    try:
        return len(value) == 40 and z85.encode(z85.decode(value.encode("ascii"))) == value.encode("ascii")
    except Exception:  # of several kinds, for characters and numbers that are none of Z85
        return False


def _fields(path: Path) -> dict[str, str]:
    try:
        mode = path.stat().st_mode
        if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO) and os.environ.get("PARTIALFC_KEYS_PERMISSIONS") != "any":
            raise KeyFileError(f"{path} can be read by others: chmod 600 {path} (or PARTIALFC_KEYS_PERMISSIONS=any)")
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise KeyFileError(f"{path} cannot be read: {error}") from None
    fields: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) != 2 or words[0] not in _NAMES or words[0] in fields:
            raise KeyFileError(f"{path}, line {number}: expected a known name and a value, once each")
        fields[words[0]] = words[1]
    if fields.get("version") != "1":
        raise KeyFileError(f"{path}: is of version {fields.get('version', 'none')}, this package reads version 1")
    return fields


def keys_of(keys: Keys | str | os.PathLike[str] | None, encrypt: str | None = None) -> Keys | None:
    """The keys that are meant: given, in a directory, or in that which `PARTIALFC_KEYS` names; None: no keys."""
    if isinstance(keys, Keys):
        return keys
    directory = keys if keys is not None else os.environ.get("PARTIALFC_KEYS")
    if not directory:
        return None
    return Keys.read(directory, encrypt or os.environ.get("PARTIALFC_ENCRYPT", "all"))
