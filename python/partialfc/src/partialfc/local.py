"""A cluster on this machine, for demonstrations and tests: the programs of the project as child processes."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

from .errors import PartialFCError


def find_programs(directory: str | os.PathLike[str] | None = None) -> dict[str, str]:
    """The paths of coordinator and shard-server, in a directory or on PATH.

    Raises:
        PartialFCError: one is missing.
    """
    found = {}
    for name in ("coordinator", "shard-server"):
        path = shutil.which(name, path=str(directory) if directory else None)
        if path is None:
            place = f"in {directory}" if directory else "on PATH"
            raise PartialFCError(f"there is no program {name} {place}; build it (`make build`) and name the folder with --programs")
        found[name] = os.path.abspath(path)
    return found


def free_ports(count: int, first: int = 0) -> list[int]:
    """Ports that nobody listens on at this moment, from `first` on or anywhere.

    Not of those that the system gives to outgoing connections: one of these could be taken while a server is started again.
    """
    ports: list[int] = []
    candidate = first or secrets.choice(range(10_000, 30_000))
    while len(ports) < count:
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", candidate))
            ports.append(candidate)
        candidate += 1
    return ports


def external_configuration(
    classes: int, embedding_size: int, *, batch: int, micro_batch: int | None = None, shards: int = 1, **sections: dict[str, Any]
) -> dict[str, Any]:
    """The configuration of a run whose network and data are outside. `sections` are merged into it."""
    configuration: dict[str, Any] = {
        "determinism": "logged",
        "output": "run",
        "data": {"kind": "external", "classes": classes},
        "backbone": {"name": "external", "embedding_size": embedding_size},
        "head": {"exchange": "features"},
        "batch": {"size": batch, "micro_batch": micro_batch or batch},
        "schedule": {"steps": 0, "rate": "job"},
        "cluster": {"shards": shards},
    }
    for section, values in sections.items():
        if isinstance(values, dict):
            configuration.setdefault(section, {}).update(values)
        else:
            configuration[section] = values
    return configuration


class LocalCluster:
    """A coordinator and shards as processes, with their state in one directory. Use it in a `with` statement.

    Args:
        directory: of configuration, logs and state.
        configuration: of the run.
        shards: how many.
        programs: the folder of the programs; None: PATH.
        ports: of coordinator and shards; None: free ones.
        keys: a set of `coordinator keys new`, or None.
        threads: of each shard.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        configuration: dict[str, Any],
        *,
        shards: int = 1,
        programs: str | os.PathLike[str] | None = None,
        ports: list[int] | None = None,
        keys: str | os.PathLike[str] | None = None,
        encrypt: str = "all",
        threads: int = 1,
        coordinator_arguments: list[str] | None = None,
    ) -> None:
        self.directory = Path(directory).resolve()
        self.directory.mkdir(parents=True, exist_ok=True)
        self.programs = find_programs(programs)
        self.ports = ports or free_ports(1 + shards)
        self.endpoint = f"tcp://127.0.0.1:{self.ports[0]}"
        self.shards, self.threads = shards, threads
        self.keys = Path(keys) if keys else None
        self._encrypt = encrypt
        self._coordinator_arguments = coordinator_arguments or []
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        (self.directory / "run.yaml").write_text(json.dumps(configuration))

    def _spawn(self, name: str, arguments: list[str], role: str) -> None:
        if self.keys:
            arguments = [*arguments, "--keys", str(self.keys / role), "--encrypt", self._encrypt]
        with open(self.directory / f"{name}.log", "ab") as out:
            self.processes[name] = subprocess.Popen(arguments, stdout=out, stderr=out, cwd=self.directory, start_new_session=True)

    def start_coordinator(self) -> None:
        """Starts the coordinator, with the database that is there."""
        command = [self.programs["coordinator"], "serve", "--config", "run.yaml", "--bind", self.endpoint, "--http", "off"]
        self._spawn("coordinator", command + self._coordinator_arguments, "coordinator")

    def start_shard(self, index: int) -> None:
        """Starts a shard, with the state that is in its directory."""
        name, bind = f"shard{index}", f"tcp://127.0.0.1:{self.ports[1 + index]}"
        command = [self.programs["shard-server"], "--coordinator", self.endpoint, "--bind", bind, "--directory", name]
        self._spawn(name, [*command, "--threads", str(self.threads)], "shard-server")

    def start(self) -> LocalCluster:
        """Starts all of them."""
        self.start_coordinator()
        for index in range(self.shards):
            self.start_shard(index)
        return self

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        """Ends one process, and waits until it has ended."""
        process = self.processes[name]
        if process.poll() is None:
            process.send_signal(number)
            process.wait(20)

    def check(self) -> None:
        """Raises PartialFCError if a process has ended, with the last lines of its log."""
        for name, process in self.processes.items():
            if process.poll() is not None:
                lines = (self.directory / f"{name}.log").read_text(errors="replace").splitlines()[-5:]
                raise PartialFCError(f"{name} has ended with {process.returncode}:\n" + "\n".join(lines))

    def stop(self) -> dict[str, int | None]:
        """Ends all processes; their exit codes."""
        for process in reversed(list(self.processes.values())):
            if process.poll() is None:
                process.terminate()
        end = time.monotonic() + 10
        for process in self.processes.values():
            try:
                process.wait(max(0.1, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        return {name: process.returncode for name, process in self.processes.items()}

    def __enter__(self) -> LocalCluster:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
