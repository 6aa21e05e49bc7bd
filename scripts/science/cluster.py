"""A coordinator, a shard server and a worker on this machine, in a directory that keeps what they have done."""
import os
import pathlib
import re
import signal
import subprocess
import time

TICKS = os.sysconf("SC_CLK_TCK")


class Failure(Exception):
    """A process ended that should not have; the message ends with the last lines of its log."""


class Cluster:
    """Processes in `directory`: `coordinator.json` is the configuration. Those of an earlier, killed cluster go on."""

    def __init__(self, binaries, directory, arguments=()):
        self.binaries = pathlib.Path(binaries)
        self.directory = pathlib.Path(directory)
        self.arguments = list(arguments)
        self.processes = {}
        # Of every role: CPU seconds and the largest resident memory in bytes, of this cluster.
        self.cpu, self.peak = {}, {}

    def __enter__(self):
        try:
            self._start_coordinator()
            endpoint = (self.directory / "endpoint").read_text().strip()
            common = ["--coordinator", endpoint, "--exit-with-parent"]
            self._start(
                "shard", "shard-server", *common, "--bind", "tcp://127.0.0.1:*", "--directory", str(self.directory / "shard"))
            self._start("worker", "worker", "train", *common)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def _start(self, role, program, *arguments):
        with open(self.directory / f"{role}.log", "ab") as log:
            # In sessions of their own: Ctrl-C reaches the driver alone, which ends them in order.
            self.processes[role] = subprocess.Popen(
                [str(self.binaries / program), *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True)

    def _start_coordinator(self):
        endpoint = self.directory / "endpoint"
        deadline = time.monotonic() + 60
        while True:
            endpoint.unlink(missing_ok=True)
            self._start(
                "coordinator", "coordinator", "serve", "--config", str(self.directory / "configuration.json"), *self.arguments,
                "--bind", "tcp://127.0.0.1:*", "--endpoint-file", str(endpoint), "--state", str(self.directory / "state"),
                "--http", "off", "--exit-with-parent")
            process = self.processes["coordinator"]
            while process.poll() is None:
                if endpoint.exists() and endpoint.stat().st_size > 0:
                    return
                time.sleep(0.05)
            # 73 and 75: one that was killed has not ended yet.
            if process.returncode not in (73, 75) or time.monotonic() > deadline:
                raise Failure(self._said("coordinator"))
            time.sleep(1)

    def wait(self, tick):
        """Until the worker is done. Calls `tick` about twice a second.

        Raises Failure if a process fails.
        """
        while True:
            self._measure()
            for role, process in self.processes.items():
                if process.poll() is None:
                    continue
                if role == "worker" and process.returncode == 0:
                    return
                raise Failure(self._said(role))
            tick()
            time.sleep(0.5)

    def _measure(self):
        for role, process in self.processes.items():
            try:
                fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
                status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
            except OSError:
                continue
            self.cpu[role] = (int(fields[11]) + int(fields[12])) / TICKS
            if peak := re.search(r"VmHWM:\s+(\d+) kB", status):
                self.peak[role] = int(peak[1]) * 1024

    def _said(self, role):
        lines = (self.directory / f"{role}.log").read_text(errors="replace").splitlines()[-5:]
        return f"{role} ended with {self.processes[role].returncode}: " + "\n".join(lines)

    def stop(self):
        """Ends what is left: politely, and after 20 seconds not."""
        for role in ("worker", "shard", "coordinator"):
            process = self.processes.get(role)
            if process and process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
