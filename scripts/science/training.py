"""One run: its data, the training, the loss on a fixed set, and the JSON that is left of it."""
import hashlib
import json
import os
import pathlib
import platform
import re
import shutil
import statistics
import struct
import random
import subprocess
import time

from cluster import Cluster, Failure
from plan import merged

ROOT = pathlib.Path(__file__).resolve().parents[2]
RESULTS = ROOT / "docs" / "science"
# Steps of which the loss on a fixed set is the mean, and the key of their samples: the same for every run of an experiment.
FIXED_STEPS, FIXED_SEED = 50, 424242
POINTS = 80


def result_path(run):
    return RESULTS / f"{run.name}.json"


def perform(run, work, binaries, say):
    """Trains or goes on with `run` and writes its result."""
    directory = work / run.name
    # What is whole is repeated from the beginning; what was cut goes on.
    if (directory / "whole").exists():
        shutil.rmtree(directory)
    directory.mkdir(parents=True, exist_ok=True)
    data = features(run, work) if run.classes else glyphs(run, work, binaries, say)
    progress = Progress(directory)
    configuration = merged(
        run.configuration,
        {"output": f"{directory.relative_to(ROOT)}/output", "data": {"path": str(data.relative_to(ROOT))}})
    steps = configuration["schedule"]["steps"]
    if not run.classes:
        configuration["checkpoint"] = {"every_steps": steps, "keep": 1}
    write_configuration(directory, configuration)
    metrics = directory / "output" / "metrics.jsonl"
    if not (directory / "trained").exists():
        train(directory, binaries, metrics, steps, progress, say, timed=run.classes > 0)
        (directory / "trained").touch()
    fixed = None if run.classes else fixed_loss(directory, configuration, steps, binaries, progress, say)
    result = summary(run, directory, data, metrics, progress, binaries, fixed)
    compare(result, result_path(run))
    RESULTS.mkdir(parents=True, exist_ok=True)
    write_result(result, result_path(run))
    for left in ("state", "shard", "fixed", "output/checkpoints"):
        shutil.rmtree(directory / left, ignore_errors=True)
    (directory / "whole").touch()


def train(directory, binaries, metrics, steps, progress, say, timed):
    """Runs the processes until the worker is done. What a killed driver has left in `directory` goes on."""
    progress.begin()
    with Cluster(binaries, directory) as cluster:
        shown = [time.monotonic()]

        def tick():
            if timed:
                progress.samples.append((last_step(metrics), cluster.cpu.get("shard", 0)))
            progress.update(cluster)
            if time.monotonic() > shown[0] + 30:
                shown[0] = time.monotonic()
                say(f"step {last_step(metrics)} of {steps}")

        cluster.wait(tick)
        progress.update(cluster)


def fixed_loss(directory, configuration, steps, binaries, progress, say):
    """Mean loss over all classes on samples that are the same for every run, with nothing learned from them."""
    place = directory / "fixed"
    metrics = place / "output" / "metrics.jsonl"
    # Two minutes at most: it begins anew, so that it is of the checkpoint whatever was interrupted.
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    changed = merged(
        {key: value for key, value in configuration.items() if key != "checkpoint"},
        {"seed": FIXED_SEED, "output": str((place / "output").relative_to(ROOT))},
        {"head": {"sample_rate": 1, "interclass_filter": 0}, "evaluation": {"held_out_pairs": 0}},
        {"schedule": {"steps": steps + FIXED_STEPS, "learning_rate": 0, "warmup": 0}})
    stages = changed["schedule"].pop("stages", None)
    write_configuration(place, changed)
    accepted = [
        "seed", "head.sample_rate", "head.interclass_filter", "evaluation.held_out_pairs", "schedule.steps",
        "schedule.learning_rate", "schedule.warmup"] + (["schedule.stages"] if stages else [])
    checkpoint = directory / "output" / "checkpoints" / f"step-{steps:08d}"
    arguments = ["--resume", str(checkpoint), *(part for key in accepted for part in ("--accept", key))]
    say("the loss on the fixed set")
    with Cluster(binaries, place, arguments) as cluster:
        cluster.wait(lambda: None)
    losses = [line["loss"] for line in lines(metrics) if "loss" in line and line["step"] >= steps]
    if len(losses) < FIXED_STEPS:
        raise Failure(f"{metrics}: {len(losses)} losses instead of {FIXED_STEPS}; remove {place} and start again")
    return statistics.fmean(losses)


def write_result(result, path):
    """JSON in lines, with the pairs of a curve on one line each."""
    text = json.dumps(result, indent=1, ensure_ascii=False)
    write(path, re.sub(r"\[\s+([^\s\[\]]+),\s+([^\s\[\]]+)\s+\]", r"[\1, \2]", text) + "\n")


def compare(result, path):
    """Notes whether an earlier result of the same run has the same losses and backbone, bit for bit."""
    if "lossesHash" not in result or not path.exists():
        return
    earlier = json.loads(path.read_text())
    noted = {
        "parts": [earlier["parts"], result["parts"]], "machine": earlier["machine"]["cpu"],
        "sameLosses": earlier["lossesHash"] == result["lossesHash"],
        "sameBackbone": earlier["backboneHash"] == result["backboneHash"]}
    result["repeats"] = [*earlier.get("repeats", []), noted]


class Progress:
    """What the parts of a run have taken, kept over interruptions."""

    def __init__(self, directory):
        self.path = directory / "progress.json"
        # Of a timed run: steps and CPU seconds of the shard server, twice a second.
        self.samples = []
        self.parts = json.loads(self.path.read_text()) if self.path.exists() else []

    def begin(self):
        self.started = time.monotonic()
        self.parts.append({})

    def update(self, cluster):
        self.parts[-1] = {
            "seconds": time.monotonic() - self.started, "cpu": cluster.cpu, "peak": cluster.peak, "load": os.getloadavg()[0]}
        write(self.path, json.dumps(self.parts))

    def shard_seconds_per_step(self):
        """CPU time of a step on the shard server, without its start: between the first and the last sample of step 5 on."""
        samples = [sample for sample in self.samples if sample[0] >= 5]
        if not samples or samples[-1][0] == samples[0][0]:
            return None
        (first, before), (last, after) = samples[0], samples[-1]
        return significant((after - before) / (last - first), 3)


def summary(run, directory, data, metrics, progress, binaries, fixed):
    steps, evaluation = {}, None
    for line in lines(metrics):
        if "evaluation" in line:
            evaluation = line["values"]
        elif "loss" in line:
            steps[line["step"]] = line
    count = run.configuration["schedule"]["steps"]
    log = (directory / "coordinator.log").read_text(errors="replace")
    instruction_set = re.findall(r"instruction set (.*)", log)
    parts = [part for part in progress.parts if part]
    roles = ("coordinator", "shard", "worker")
    seconds = [steps[step]["seconds"] for step in sorted(steps)][10:]
    result = {
        "name": run.name, "experiment": run.experiment, "variant": run.variant, "seed": run.seed,
        "configuration": run.configuration, "steps": count,
        "machine": {
            "cpu": cpu(), "cores": os.cpu_count(), "system": f"{platform.system()} {platform.release()}",
            "instructionSet": instruction_set[-1] if instruction_set else None,
            "load": round(statistics.fmean(part["load"] for part in parts), 1)},
        "versions": {"partialfc": version(binaries), "commit": commit()},
        # The fastest tenth says more where other programs run too.
        "secondsPerStep": {
            "median": significant(statistics.median(seconds)), "fast": significant(sorted(seconds)[len(seconds) // 10])},
        "cpuSecondsPerStep": {
            role: significant(sum(part["cpu"].get(role, 0) for part in parts) / count) for role in roles},
        "peakBytes": {role: max(part["peak"].get(role, 0) for part in parts) for role in roles},
        "hours": significant(sum(part["seconds"] for part in parts) / 3600), "parts": len(parts),
        "date": time.strftime("%Y-%m-%d"),
    }
    if run.classes:
        result["shardSecondsPerStep"] = progress.shard_seconds_per_step()
        return result
    with open(directory / "output" / "backbone.safetensors", "rb") as file:
        backbone = hashlib.sha256(file.read()).hexdigest()
    bits = "\n".join(f"{step} {steps[step]['lossBits']}" for step in sorted(steps))
    result |= {
        "data": {"glyphs": list(run.glyphs), **json.loads(data.with_suffix(".json").read_text())},
        "evaluation": {name: significant(value, 6) for name, value in (evaluation or {}).items()},
        "fixedLoss": significant(fixed, 6),
        "losses": thinned([(step, steps[step]["loss"]) for step in sorted(steps)]),
        "lossesMissing": count - len(steps),
        "lossesHash": hashlib.sha256(bits.encode()).hexdigest(), "backboneHash": backbone,
    }
    return result


def thinned(losses):
    """Means over equal parts: [last step, loss]."""
    size = max(1, len(losses) // POINTS)
    parts = [losses[start:start + size] for start in range(0, len(losses), size)]
    return [[part[-1][0], significant(statistics.fmean(loss for _, loss in part))] for part in parts]


def glyphs(run, work, binaries, say):
    """The file of the run's images, drawn if it is not there; beside it a JSON with its fingerprint."""
    folder = work / "data"
    folder.mkdir(parents=True, exist_ok=True)
    key = hashlib.sha256("\0".join(run.glyphs).encode()).hexdigest()[:12]
    path = folder / f"glyphs-{key}.cache"
    if not path.with_suffix(".json").exists():
        say(f"drawing {path.name}")
        command = [str(binaries / "worker"), "glyphs", "--output", str(path), *run.glyphs]
        drawn = subprocess.run(command, capture_output=True, text=True)
        if drawn.returncode != 0:
            raise Failure(f"{' '.join(command)}: {drawn.stdout}{drawn.stderr}")
        said = re.search(r"(\d+) images of (\d+) \w+, and (\d+) .*fingerprint (\w+)", drawn.stdout)
        known = dict(zip(("images", "classes", "heldOut"), map(int, said.groups()[:3])), fingerprint=said[4])
        if "--words" in run.glyphs:
            words = pathlib.Path(run.glyphs[run.glyphs.index("--words") + 1]).read_bytes()
            known["wordsHash"] = hashlib.sha256(words).hexdigest()
        write(path.with_suffix(".json"), json.dumps(known))
    return path


def features(run, work, count=4096):
    """Random features of the first classes: what a step costs does not depend on them."""
    size = run.configuration["backbone"]["embedding_size"]
    path = work / "data" / f"features-{size}.safetensors"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        generator = random.Random(1)
        values = [generator.gauss(0, 1) for _ in range(count * size)]
        body = struct.pack(f"<{count * size}f", *values) + struct.pack(f"<{count}q", *range(count))
        split = 4 * count * size
        header = json.dumps({
            "features": {"dtype": "F32", "shape": [count, size], "data_offsets": [0, split]},
            "labels": {"dtype": "I64", "shape": [count], "data_offsets": [split, len(body)]}}).encode()
        header += b" " * (-len(header) % 8)
        write(path, struct.pack("<Q", len(header)) + header + body)
    return path


def write_configuration(directory, configuration):
    """Raises Failure if the directory is of a run with another configuration."""
    path = directory / "configuration.json"
    text = json.dumps(configuration, indent=1)
    if path.exists() and path.read_text() != text:
        raise Failure(f"{directory} has a run with another configuration: remove it")
    write(path, text)


def write(path, content):
    """All of it or nothing, whatever interrupts."""
    new = path.with_suffix(path.suffix + ".new")
    new.write_bytes(content if isinstance(content, bytes) else content.encode())
    new.replace(path)


def lines(path):
    """The lines of a JSON-lines file; one that was cut by a kill is left out."""
    for line in path.read_text().splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            continue


def last_step(metrics):
    try:
        return next((line["step"] + 1 for line in reversed(list(lines(metrics))) if "loss" in line), 0)
    except OSError:
        return 0


def significant(value, digits=5):
    return float(f"{value:.{digits}g}")


def cpu():
    names = re.findall(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    return names[0] if names else platform.machine()


def version(binaries):
    return subprocess.run([str(binaries / "coordinator"), "--version"], capture_output=True, text=True).stdout.strip()


def commit():
    asked = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True)
    return asked.stdout.strip() or None
