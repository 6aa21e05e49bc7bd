"""What operators and readers can ask of a running cluster."""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import zmq

from .checked import inner, json_of, ranges_of, table, tables, text_of, whole
from .connection import Connection, checked_endpoint, checked_endpoints
from .errors import BUSY, FORBIDDEN, CommandRefused, MalformedMessage, PartialFCError, Refused, Unreachable
from .exact import F32
from .frames import Tensor
from .keys import Keys, keys_of
from .messages import (
    OPERATOR,
    PROTOCOL_VERSION,
    Hello,
    Named,
    OperatorReply,
    OperatorRequest,
    ReadRows,
    ReadSliceHashes,
    Rows,
    SliceHashes,
    Welcome,
)
from .neighbors import Pair, close_pairs, nearest
from .protobuf import SMALL
from .ranges import Ranges

_CHUNK = 4096
"""Rows that are asked for at a time."""
_PAUSE = 0.1
"""Seconds before rows that were with nobody are looked for again."""


class Client:
    """A connection of an operator or a reader. Use it in a `with` statement, or `close` it.

    Args:
        cluster: endpoint of the coordinator, with a standby both with a comma between them; None: the environment's `PARTIALFC_CLUSTER`.
        keys: a directory of an operator's or reader's keys, or None: `PARTIALFC_KEYS`, or no keys.
        encrypt: `all` or `control`, as the cluster's processes were started with.
        deadline: seconds after which a question without an answer ends with `NoAnswer`.
    """

    def __init__(
        self,
        cluster: str | None = None,
        *,
        keys: Keys | str | os.PathLike[str] | None = None,
        encrypt: str | None = None,
        deadline: float = 30,
    ) -> None:
        endpoint = cluster or os.environ.get("PARTIALFC_CLUSTER", "")
        if not endpoint:
            raise PartialFCError("which cluster? Client('tcp://host:port'), or PARTIALFC_CLUSTER")
        checked_endpoints(endpoint)
        self._keys, self._deadline = keys_of(keys, encrypt), deadline
        self._context: zmq.Context[Any] = zmq.Context()
        self._shards: dict[str, Connection] = {}
        self._coordinator = Connection(self._context, endpoint, "the coordinator", self._keys.coordinator if self._keys else None)
        try:
            self.cluster_id: str = self._greet(self._coordinator).cluster_id
        except BaseException:
            self.close()
            raise

    def _greet(self, connection: Connection, cluster_id: str = "") -> Welcome:
        hello = Hello(
            role=OPERATOR,
            protocol_version=PROTOCOL_VERSION,
            cluster_id=cluster_id,
            name="python",
            incarnation=secrets.randbits(47) | 1,
            process_id=os.getpid(),
            host=socket.gethostname()[:255],
            previous_number=-1,
        )
        body, _ = connection.ask(hello, deadline=self._deadline)
        if not isinstance(body, Welcome):
            raise MalformedMessage(f"{connection.who} answered a hello with a {type(body).__name__}")
        return body

    def close(self) -> None:
        """Ends the connections."""
        for connection in [*self._shards.values(), self._coordinator]:
            connection.close()
        self._shards.clear()
        self._context.term()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Commands.

    def command(self, name: str, **arguments: object) -> Any:
        """Gives a command with its arguments; what `coordinator NAME --json` prints, decoded.

        Raises:
            CommandRefused: the coordinator says why not.
            NoAnswer, Unreachable: there is no answer.
            MalformedMessage: the answer is something else. So it is for the other commands.
        """
        request = OperatorRequest(name, [Named(key, str(value)) for key, value in arguments.items() if value is not None])
        body, _ = self._coordinator.ask(request, deadline=self._deadline)
        if not isinstance(body, OperatorReply):
            raise MalformedMessage(f"the coordinator answered a command with a {type(body).__name__}")
        answer = json_of(body.json, _answer(name)) if body.json else None
        if body.exit_code:
            raise CommandRefused(body.exit_code, str(answer.get("error", body.json)) if isinstance(answer, dict) else body.json)
        return answer

    def _table(self, name: str, **arguments: object) -> dict[str, Any]:
        return table(self.command(name, **arguments), _answer(name))

    def _tables(self, name: str, **arguments: object) -> list[dict[str, Any]]:
        return tables(self.command(name, **arguments), _answer(name))

    def status(self) -> dict[str, Any]:
        """State, reason, steps, loss, rate, members, checkpoints, … of the run."""
        return self._table("status")

    def events(self, count: int = 50) -> list[dict[str, Any]]:
        """The last events, oldest first: id, time, level and text."""
        return self._tables("events", count=count)

    def history(self, points: int = 500) -> dict[str, Any]:
        """The run step by step, thinned out to so many points."""
        return self._table("history", points=points)

    def pause(self) -> dict[str, Any]:
        """Stops the run before the next step; the status."""
        return self._table("pause")

    def resume(self) -> dict[str, Any]:
        """Takes back `pause` or `stop`; the status."""
        return self._table("resume")

    def stop(self) -> dict[str, Any]:
        """Ends the run before the next step; the status."""
        return self._table("stop")

    def set_learning_rate(self, rule: str | float) -> dict[str, Any]:
        """Changes the rate from the next step on: a number, or `*factor`. Without effect where the job sets it."""
        return self._table("set", lr=rule)

    def set_head(self, **values: str | float) -> dict[str, Any]:
        """Changes values of the head from the next step on; the status.

        Args:
            values: `sample_rate`, `m1`, `m2`, `m3`, `scale`, `interclass_filter`, each a number, or "schedule" for what the
                configuration has.
        """
        return self._table("set", **values)

    def checkpoints(self) -> list[dict[str, Any]]:
        """The checkpoints that there are, oldest first."""
        found = self._tables("checkpoints")
        for one in found:
            text_of(one, "directory", f"a checkpoint in {_answer('checkpoints')}")
        return found

    def checkpoint(self, wait: float = 600) -> dict[str, Any]:
        """Takes a checkpoint after the step under way, and waits up to `wait` seconds until it is written; its entry.

        Raises:
            CommandRefused: it failed.
            PartialFCError: it was not written in time.
        """
        before = {one["directory"] for one in self.checkpoints()}
        self.command("checkpoint")
        end = time.monotonic() + wait
        while time.monotonic() < end:
            status = self.status()
            new = [one for one in self.checkpoints() if one["directory"] not in before]
            if new:
                return dict(new[-1])
            if status.get("checkpointProblem"):
                raise CommandRefused(65, str(status["checkpointProblem"]))
            time.sleep(0.1)
        raise PartialFCError(f"no checkpoint was written within {wait:g} s: the run is {status.get('state')}, {status.get('reason')}")

    def restore(self, checkpoint: str | int | None = None) -> dict[str, Any]:
        """Goes back to a checkpoint, by its directory or step; None: the newest. Ends the job that trains; the status."""
        return self._table("restore", checkpoint=checkpoint)

    # Classes.

    def classes(self) -> dict[str, Any]:
        """How many classes there are, which are retired, and every change."""
        return self._table("classes", action="list")

    def add_classes(self, count: int, path: str | os.PathLike[str] | None = None) -> dict[str, Any]:
        """Appends classes, with initial centers or with the tensor `centers` of a safetensors file that every shard can read."""
        return self._table("classes", action="add", count=count, **({"from": os.path.abspath(path)} if path else {}))

    def retire_classes(self, classes: Sequence[int]) -> dict[str, Any]:
        """Never samples these classes again; their samples take no part."""
        return self._table("classes", action="retire", list=",".join(str(int(one)) for one in classes))

    def merge_classes(self, before: int, into: int) -> dict[str, Any]:
        """Lets samples of the class `before` count as `into` from now on, and retires `before`."""
        return self._table("classes", action="merge", a=before, b=into)

    # Centers.

    def centers(self, ids: Sequence[int]) -> F32:
        """The centers of these classes, f32 [n, D], as they are at this moment.

        Raises:
            PartialFCError: there is no such class, or its shard does not answer.
        """
        return self.rows(ids)[0]

    def rows(self, ids: Sequence[int]) -> tuple[F32, F32, Tensor]:
        """Centers f32 [n, D], momentum f32 [n, D], and i64 [n, 2]: the last step of each class, and since when its shard knows."""
        wanted = np.asarray(ids, np.int64)
        _, size = self.shape()
        try:
            centers, momentum = np.empty((len(wanted), size), np.float32), np.empty((len(wanted), size), np.float32)
        except MemoryError:
            raise PartialFCError(f"there is no memory for {len(wanted)} rows of {size} numbers, of which the coordinator tells") from None
        steps = np.empty((len(wanted), 2), np.int64)
        missing = np.ones(len(wanted), bool)
        end = time.monotonic() + self._deadline
        while missing.any():
            names, ranges, endpoints = self._owners()
            owners = ranges.owners(wanted)
            if (owners < 0).any():
                raise PartialFCError(f"there is no class {wanted[owners < 0][0]}")
            for owner in np.unique(owners[missing]).tolist():
                # One that has just left is not in the status.
                name, mine = names[owner], np.flatnonzero(missing & (owners == owner))
                for part in np.array_split(mine, -(-len(mine) // _CHUNK)) if name in endpoints else ():
                    if found := self._read(name, endpoints[name], wanted[part], size):
                        centers[part], momentum[part], steps[part] = found
                        missing[part] = False
            if missing.any():
                if time.monotonic() > end:
                    raise PartialFCError(f"class {wanted[missing][0]} has moved again and again for {self._deadline:g} s")
                time.sleep(_PAUSE)
        return centers, momentum, steps

    def shape(self) -> tuple[int, int]:
        """Classes C that there are, retired ones included, and embedding size D."""
        status, what = self.status(), _answer("status")
        count, size = inner(status, "classes", what), inner(status, "embeddingSize", what)
        return whole(count, f"classes in {what}"), whole(size, f"embeddingSize in {what}", 1, SMALL)

    def _owners(self) -> tuple[list[str], Ranges, dict[str, str]]:
        """Names of owners, the classes of each by its place among them, and where shards are."""
        what, names = _answer("slices"), dict[str, int]()
        ranges = []
        for one in self._tables("slices"):
            owner = names.setdefault(text_of(one, "owner", what), len(names))
            ranges += [(lower, upper, owner) for lower, upper in ranges_of(inner(one, "classes", what), f"classes in {what}")]
        if not names:
            raise PartialFCError("no shard owns a class center yet")
        what = f"a shard in {_answer('status')}"
        shards = tables(inner(self.status(), "shards", _answer("status")), f"shards in {_answer('status')}")
        endpoints = {text_of(one, "name", what): text_of(one, "endpoint", what) for one in shards}
        for name, endpoint in endpoints.items():
            try:
                checked_endpoint(endpoint)
            except Unreachable as error:
                raise MalformedMessage(f"{what}, {name}, is at an impossible place: {error}") from None
        return list(names), Ranges(ranges), endpoints

    def _shard(self, name: str, endpoint: str) -> Connection:
        known = self._shards.get(name)
        if known is None or known.endpoint != endpoint:
            if known:
                self._shards.pop(name).close()
            known = self._shards[name] = Connection(self._context, endpoint, name, self._keys.shards if self._keys else None)
            self._greet(known, self.cluster_id)
        return known

    def _read(self, name: str, endpoint: str, ids: Tensor, size: int) -> tuple[F32, F32, Tensor] | None:
        """Rows [n, D] of one shard, D being `size`; None if they must be looked for again."""
        try:
            body, tensors = self._shard(name, endpoint).ask(ReadRows(), [ids], deadline=self._deadline)
        except Refused as refused:
            if refused.code == FORBIDDEN:
                raise
            if refused.code != BUSY:
                self._shards.pop(name).close()
            time.sleep(0.3)
            return None
        row = np.dtype(np.float32), (len(ids), size)
        expected = [row, row, (np.dtype(np.int64), (len(ids), 2))]
        if not isinstance(body, Rows) or [(one.dtype, one.shape) for one in tensors] != expected:
            raise MalformedMessage(f"{name} answered a question for {len(ids)} rows of {size} numbers with something else")
        return tensors[0], tensors[1], tensors[2]

    def all_centers(self) -> Iterator[tuple[Tensor, F32]]:
        """All centers, class by class, some thousand at a time: ids i64 [n] and rows f32 [n, D]. Retired ones are among them."""
        count, _ = self.shape()
        for start in range(0, count, _CHUNK):
            ids = np.arange(start, min(start + _CHUNK, count))
            yield ids, self.centers(ids.tolist())

    def neighbors(self, vectors: Sequence[int] | F32, count: int = 10) -> tuple[Tensor, F32]:
        """The classes whose centers are closest to other centers (by class) or vectors [q, D]: ids i64 and cosines f32 [q, count].

        A class is not its own neighbour. Reads every center once.
        """
        array = np.asarray(vectors)
        own = array.astype(np.int64) if array.ndim == 1 and array.dtype.kind in "iu" else None
        queries = self.centers(own.tolist()) if own is not None else np.atleast_2d(array.astype(np.float32))
        return nearest(queries, own, self._living(), count)

    def conflicts(self, threshold: float = 0.5, limit: int = 10_000) -> list[Pair]:
        """Pairs of classes whose centers have at least this cosine, the closest first. Takes 4·C·D bytes and C²·D operations."""
        return close_pairs(self._living(), threshold, limit)

    def _living(self) -> Iterator[tuple[Tensor, F32]]:
        what = _answer("classes")
        retired = Ranges.joined(ranges_of(inner(self.classes(), "retiredClasses", what), f"retiredClasses in {what}"))
        for ids, rows in self.all_centers():
            keep = ~retired.have(ids)
            yield ids[keep], rows[keep]

    def hashes(self) -> tuple[int, dict[int, str]]:
        """The committed step, and the hash of every slice of the class centers. Pause the run first."""
        _, _, endpoints = self._owners()
        found: dict[int, str] = {}
        step = -1
        for name, endpoint in endpoints.items():
            body, _ = self._shard(name, endpoint).ask(ReadSliceHashes(), deadline=self._deadline)
            if not isinstance(body, SliceHashes):
                raise MalformedMessage(f"{name} answered a question for hashes with a {type(body).__name__}")
            found |= {one.slice: one.hash for one in body.slices}
            step = body.step
        return step, found


def _answer(command: str) -> str:
    return f"the coordinator's answer to {command}"
