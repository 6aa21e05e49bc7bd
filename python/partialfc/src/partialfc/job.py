"""The checkpoints of a job: the shards' part and the trainer's, which belong together."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

from .checked import inner, json_of, table, tables, text_of, whole
from .client import Client
from .errors import MalformedMessage, PartialFCError
from .head import PartialFC
from .keys import Keys

log = logging.getLogger("partialfc")
LONGEST_LIST = 1 << 20
"""Bytes of the list of files that the coordinator takes."""


class Job:
    """Writes the trainer's part of every checkpoint of the cluster, and begins from one.

    Every rank has one. When a checkpoint is due, by the configuration or an operator's order, the shards write the centers and rank 0
    what `save` writes, into the same directory; only then does the checkpoint count. Call `boundary` as the last thing of each step.

    Args:
        head: of this rank.
        save: writes model, optimiser, scaler, scheduler, random states, … and `head.state_dict()` into a directory. Rank 0 alone is asked.
        load: reads them again. Every rank is asked.
    """

    def __init__(self, head: PartialFC, save: Callable[[Path], None], load: Callable[[Path], None]) -> None:
        self.head, self._save, self._load = head, save, load
        head.saves_checkpoints = True

    def boundary(self) -> Path | None:
        """Between two steps: writes this rank's part of a checkpoint if the cluster waits for it; its directory then.

        If `save` raises, the cluster is told and gives the checkpoint up, and the exception goes on, unless it is an OSError: a disk that
        is full or may not be written to is warned about.
        """
        if self.head.world.rank != 0 or not self.head.has_joined:
            return None
        task = self.head.session.pending_checkpoint()
        if task is None or task.checkpoint is None:
            return None
        directory = Path(task.checkpoint) / "job"
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._save(directory)
            files = [path for path in sorted(directory.rglob("*")) if path.is_file()]
            if not files:
                raise PartialFCError(f"save has written nothing into {directory}")
            listed = json.dumps([{"name": str(path.relative_to(directory.parent)), "bytes": path.stat().st_size} for path in files])
        except BaseException as error:
            text = f"the trainer's part cannot be written: {type(error).__name__}: {error}"
            self.head.session.answer_checkpoint(task, None, text)
            # As with the shards, a disk that is full or may not be written to costs this checkpoint, and not the training.
            if not isinstance(error, OSError):
                raise
            log.warning("the checkpoint after step %d is given up: %s", task.step, text)
            return None
        pending = self.head.session.pending_checkpoint()
        if pending is None or pending.number != task.number:
            # Given up meanwhile: the coordinator has removed its directory, and does not look for what was written since.
            log.warning("the checkpoint after step %d was given up while the trainer wrote its part", task.step)
            shutil.rmtree(directory, ignore_errors=True)
            with contextlib.suppress(OSError):
                directory.parent.rmdir()
            return None
        if len(listed.encode()) > LONGEST_LIST:
            text = f"the list of the trainer's {len(files)} files is longer than {LONGEST_LIST >> 20} MiB: write fewer"
            log.warning("the checkpoint after step %d is given up: %s", task.step, text)
            self.head.session.answer_checkpoint(task, None, text)
            return None
        self.head.session.answer_checkpoint(task, listed, None)
        files_of = "1 file" if len(files) == 1 else f"{len(files)} files"
        log.info("wrote %s of the checkpoint after step %d into %s", files_of, task.step, directory)
        return directory

    def resume(self, checkpoint: str | Path) -> int:
        """Begins from a checkpoint of the cluster, before the first step; the number of the step that comes next.

        Args:
            checkpoint: its directory, or its `job` directory.

        Raises:
            PartialFCError: there is no trainer's part in it, or `load` has not given the head its state.
        """
        directory = Path(checkpoint)
        if directory.name != "job":
            directory = directory / "job"
        if not directory.is_dir():
            raise PartialFCError(f"{directory.parent} is no checkpoint with a job's part: there is no directory {directory}")
        if torn := torn_file(directory.parent):
            raise PartialFCError(f"the trainer's part of {directory.parent} is damaged: {torn}; begin from another checkpoint")
        self._load(directory)
        if self.head.step < 0:
            raise PartialFCError("load has not given the head its state: call head.load_state_dict in it")
        return self.head.step + 1

    def resume_newest(self, keys: Keys | str | os.PathLike[str] | None = None) -> int:
        """Begins from the newest checkpoint of the cluster that has a trainer's part, or from nothing; the step that comes next.

        A collective: rank 0 asks the cluster, all ranks load.

        Args:
            keys: of an operator or reader, who may list checkpoints; None: `PARTIALFC_KEYS`, or no keys.
        """
        name = ""
        if self.head.world.rank == 0:
            with Client(self.head.cluster, keys=keys) as client:
                there = [one["directory"] for one in client.checkpoints()]
            found = [directory for directory in there if (Path(directory) / "job").is_dir()]
            intact = [directory for directory in found if not torn_file(Path(directory))]
            name = intact[-1] if intact else found[-1] if found else ""
            if intact and intact[-1] != found[-1]:
                trouble = torn_file(Path(found[-1]))
                text = (
                    f"the trainer's part of the newest checkpoint {found[-1]} is damaged ({trouble}), so this job begins from {name}; the "
                    "cluster may wait for a person who goes back there (coordinator restore)"
                )
                log.warning("%s", text)
                warnings.warn(text, stacklevel=2)
            if there and not found:
                text = (
                    f"the cluster has checkpoints, the newest {there[-1]}, but this process sees none with a directory job, the trainer's "
                    "part, so it begins from nothing: was there a partialfc.Job when they were written, and is the checkpoint directory "
                    "on a shared disk, under the same path here?"
                )
                log.warning("%s", text)
                warnings.warn(text, stacklevel=2)
        name = self.head.world.share(name)
        return self.resume(name) if name else 0


def torn_file(checkpoint: Path) -> str:
    """What is wrong with a file of the trainer's part, or nothing: it is not there, or not as long as the manifest says."""
    try:
        manifest = table(json_of((checkpoint / "manifest.json").read_text(), "it"), "it")
        files = tables(table(inner(manifest, "body", "it"), "its body").get("jobFiles") or [], "its jobFiles")
        entries = [(text_of(one, "name", "a file"), whole(inner(one, "bytes", "a file"), "bytes of a file")) for one in files]
    except FileNotFoundError:
        return ""  # whoever has copied this part alone knows what it is of
    except (OSError, ValueError, MalformedMessage) as error:
        return f"its manifest cannot be read: {error}"
    for name, size in entries:
        path = checkpoint / name
        try:
            found = path.stat().st_size if path.is_file() else None
        except OSError as error:
            return f"{name} cannot be looked at: {error}"
        if found is None:
            return f"{name} is not there"
        if found != size:
            return f"{name} has {found} bytes instead of {size}"
    return ""
