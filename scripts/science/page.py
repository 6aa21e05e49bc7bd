"""docs/science.md and its plots, from the plan and docs/science/*.json alone."""
import json

import plot
from figures import interval, paired
from plan import BASE, EXPERIMENTS, RUNS
from training import FIXED_STEPS, RESULTS, ROOT, result_path

PAGE = ROOT / "docs" / "science.md"
# Name, unit, and how a result has it.
QUALITY = {
    "accuracy, %": lambda result: 100 * result["evaluation"]["accuracy"],
    "TAR@FAR 1e-3, %": lambda result: 100 * result["evaluation"]["tar@far=0.001"],
    "TAR@FAR 1e-4, %": lambda result: 100 * result["evaluation"]["tar@far=0.0001"],
    "loss, fixed set": lambda result: result["fixedLoss"],
}


def setup():
    """The configuration that all trainings begin with, in words."""
    c = BASE
    widths = ", ".join(str(width) for width in c["backbone"]["widths"])
    return (
        f"Backbone `{c['backbone']['name']}` with {widths} channels, D = {c['backbone']['embedding_size']}, batches of {c['batch']['size']}, "
        f"{c['schedule']['steps']:,} steps unless said otherwise, SGD with momentum 0.9 and weight decay 5e-4, learning rate "
        f"{c['schedule']['learning_rate']} after a warm-up of 5 % of the steps, then falling to 0 with the square (the "
        "[defaults](configuration.md)), no augmentation.")


INTRODUCTION = f"""# What a sample of the classes costs

A step of Partial FC computes the softmax over the classes of the batch and a random sample of the others. The
[paper](https://arxiv.org/abs/2010.05222) says that 10 % of the classes are as good as all of them. This page tests that claim
with PartialFC and says what has not been tested yet. `make science` trains, and leaves a small JSON of every run in
[science/](science/); `make science-page` makes this page again from them, without training. Do not edit it by hand.

- **No faces.** These experiments use no face images, so that everybody can repeat them. Characters and words, drawn in many fonts, stand for people and
  their photographs. They are real classes, tens of thousands of them, and many differ in one stroke or one letter, but they are
  not faces: what holds for them need not hold for faces.
- **Held out.** Figures are of pairs of images of characters or words that no run has seen: 100,000 pairs of the same one and
  100,000 of different ones.
- **Set-up.** {setup()} The learning rate is the same for every sample rate; a search for the best one of each was not made.
- **Intervals.** ± is half of the 95 % interval of the mean over seeds (Student's t). Where there is one seed there is none, and
  the figure says little. *Difference* is that from the reference, the first row, taken seed by seed and then averaged: seeds share their data
  order, their initial values and their pairs, so this is narrower than the two intervals suggest. If a difference ± its
  interval contains 0, these runs do not tell the two apart.
- **What the intervals leave out.** All seeds are tested on the same held-out classes and pairs: another choice of classes may move every figure.
  Many differences are shown, and nothing corrects for their number: of 20 true zeros, one is expected outside its interval. TAR at a
  FAR of 1e-4 rests on ten false accepts.
- **Loss, fixed set**: the mean loss over *all* classes, margin and all, on the same {FIXED_STEPS} batches of training images for every
  run, with the learning rate at 0. The losses of the curves are over the sampled classes only, and are lower where there are fewer.
"""


def load():
    """Results by name, of runs that are in the plan, in its order."""
    return {name: json.loads(result_path(run).read_text()) for name, run in RUNS.items() if result_path(run).exists()}


def table(head, rows):
    yield "| " + " | ".join(head) + " |"
    yield "|---" * len(head) + "|"
    for row in rows:
        yield "| " + " | ".join(row) + " |"
    yield ""


def minus(text):
    return text.replace("-", "−", 1) if text.startswith("-") else text


def spread(values, digits=2):
    middle, half = interval(values)
    return f"{middle:.{digits}f}" + (f" ± {half:.{digits}f}" if half is not None else "")


def by_variant(results):
    """Results of each variant by seed, in the order of the plan."""
    variants = {}
    for result in results:
        variants.setdefault(result["variant"], {})[result["seed"]] = result
    return variants


def difference(variants, name, reference, measure):
    if reference not in variants or name == reference:
        return None
    return paired(
        {seed: measure(result) for seed, result in variants[name].items()},
        {seed: measure(result) for seed, result in variants[reference].items()})


def quality(variants, references):
    rows = []
    for name, results in variants.items():
        row = [name, str(len(results))]
        for title, measure in QUALITY.items():
            row.append(spread([measure(results[seed]) for seed in sorted(results)]))
            found = difference(variants, name, references[name], measure)
            if found is None:
                row.append("")
            else:
                middle, half, _ = found
                row.append(minus(f"{middle:+.2f}") + (f" ± {half:.2f}" if half is not None else ""))
        rows.append(row)
    head = ["", "seeds"]
    for title in QUALITY:
        head += [title, "difference"]
    yield from table(head, rows)


def taken(variants):
    """What a step takes, without intervals: what else the machine does decides them."""
    def mean(values, digits=0):
        return f"{interval(values)[0]:.{digits}f}"

    rows = []
    for name, results in variants.items():
        found = [results[seed] for seed in sorted(results)]
        rows.append([
            name,
            *(mean([1000 * one["secondsPerStep"][kind] for one in found]) for kind in ("median", "fast")),
            *(mean([1000 * one["cpuSecondsPerStep"][role] for one in found]) for role in ("shard", "worker")),
            *(mean([one["peakBytes"][role] / 1e6 for one in found]) for role in ("shard", "worker")),
            mean([one["machine"]["load"] for one in found], 1), mean([one["hours"] for one in found], 2),
        ])
    head = [
        "", "step, ms", "fastest tenth", "CPU of the shard, ms", "of the worker", "memory of the shard, MB", "of the worker",
        "load", "hours"]
    yield from table(head, rows)


def standing(results):
    """What was run of each experiment, and what came out for the accuracy, in one table."""
    rows = []
    for number, experiment in enumerate(EXPERIMENTS):
        found = [results[run.name] for run in experiment.runs if run.name in results]
        references = {run.variant: run.reference for run in experiment.runs}
        variants = by_variant(found)
        words = []
        for name in variants:
            if experiment.name == "cost" or name == references[name]:
                continue
            apart = difference(variants, name, references[name], QUALITY["accuracy, %"])
            if apart is None or apart[1] is None:
                continue
            middle, half, seeds = apart
            verdict = "not told apart from" if abs(middle) <= half else "better than" if middle > 0 else "worse than"
            words.append(
                f"{name}: {verdict} {references[name]} ({minus(f'{middle:+.2f}')} ± {half:.2f} points, {seeds} seeds)")
        if experiment.name == "cost" and found:
            words = ["see the tables"]
        rows.append([
            f"{number + 1}. {experiment.title}", f"{len(found)} of {len(experiment.runs)}", "; ".join(words) or "nothing yet"])
    yield "What has been run, and the accuracy on held-out classes that came of it:"
    yield ""
    yield from table(["experiment", "runs", "result"], rows)


def data(results):
    """The recipe and its fingerprint."""
    for fingerprint, known in {result["data"]["fingerprint"]: result["data"] for result in results}.items():
        command = " ".join(["worker glyphs --output FILE", *known["glyphs"]])
        yield f"Data: `{command}`, {known['images']:,} images of {known['classes']:,} classes, fingerprint `{fingerprint}`"
        if "wordsHash" in known:
            yield f"(SHA-256 of the list `{known['wordsHash']}`)"
        yield ""


def training(experiment, results, plots):
    references = {run.variant: run.reference for run in experiment.runs}
    yield from data(results)
    groups = {}
    for result in results:
        groups.setdefault(references[result["variant"]], []).append(result)
    for group, found in groups.items():
        variants = by_variant(found)
        if len(groups) > 1:
            yield f"### {group.split(',')[0]}"
            yield ""
        yield from quality(variants, dict.fromkeys(variants, group))
        yield (
            "What a step takes, means over seeds. The middle step and the fastest tenth include what other programs took from the machine; "
            "CPU time is that of the whole run, its start and evaluations included, divided by its steps:")
        yield ""
        yield from taken(variants)
        slug = experiment.name if len(groups) == 1 else f"{experiment.name}-{group.split(',')[0].lower()}"
        rows = [
            (name, *difference(variants, name, group, QUALITY["accuracy, %"])[:2]) for name in variants
            if difference(variants, name, group, QUALITY["accuracy, %"])]
        if rows:
            plots[f"{slug}-accuracy.svg"] = plot.differences(
                f"Accuracy on held-out classes less that of {group}", "percentage points", rows)
            yield f"![Differences of accuracy from {group}](science/{slug}-accuracy.svg)"
            yield ""
        first = {name: found[min(found)]["losses"] for name, found in variants.items()}
        plots[f"{slug}-loss.svg"] = plot.curves(
            "Loss over the sampled classes, first seed", "step", "loss", list(first.items()))
        yield f"![Losses during training](science/{slug}-loss.svg)"
        yield ""


def shard_milliseconds(result):
    seconds = result["shardSecondsPerStep"]
    return None if seconds is None else 1000 * seconds


def cost(results, plots):
    """Time and memory against the number of classes, and what PyTorch's dense head would need."""
    modes, counts = {}, sorted({result["configuration"]["data"]["classes"] for result in results})
    for result in results:
        modes.setdefault(result["variant"], {})[result["configuration"]["data"]["classes"]] = result
    size = results[0]["configuration"]["backbone"]["embedding_size"]
    batch = results[0]["configuration"]["batch"]["size"]
    # Weights, their gradient and momentum; logits, their softmax and gradient. In f32.
    dense = {count: 4 * (3 * count * size + 3 * batch * count) for count in counts}

    def rows(measure, form):
        for mode, found in modes.items():
            yield [mode, *(form(measure(found[count])) if count in found else "" for count in counts)]

    head = ["", *(plot.shown(count) for count in counts)]
    yield "CPU time of the shard server in a step, ms (it computes the head; divide by the number of threads for what a step takes at best):"
    yield ""
    yield from table(head, rows(shard_milliseconds, lambda value: "" if value is None else f"{value:.0f}"))
    yield "A step as it took, the fastest tenth of them, ms. Where a machine does other work too, this says more of that work:"
    yield ""
    yield from table(head, rows(lambda result: 1000 * result["secondsPerStep"]["fast"], lambda value: f"{value:.0f}"))
    yield "Largest memory of the shard server, GB; in the last row what weights, momentum, gradient and logits of a dense head take in PyTorch, by count (4 · (3·C·D + 3·B·C) bytes). [Measurements](measurements.md) has PyTorch's head as measured."
    yield ""
    yield from table(
        head, [*rows(lambda result: result["peakBytes"]["shard"] / 1e9, lambda value: f"{value:.2f}"),
        ["PyTorch, dense", *(f"{dense[count] / 1e9:.2f}" for count in counts)]])
    series = [
        (mode, [(count, shard_milliseconds(found[count])) for count in sorted(found) if shard_milliseconds(found[count])])
        for mode, found in modes.items()]
    series = [(mode, points) for mode, points in series if points]
    plots["cost-time.svg"] = plot.curves("CPU time of the shard server in a step", "classes", "ms", series, logarithmic=True)
    series = [(mode, [(count, found[count]["peakBytes"]["shard"] / 1e9) for count in sorted(found)]) for mode, found in modes.items()]
    series.append(("PyTorch, dense", [(count, dense[count] / 1e9) for count in counts]))
    plots["cost-memory.svg"] = plot.curves("Memory of the shard server", "classes", "GB", series, logarithmic=True)
    yield "![CPU time of a step against the number of classes](science/cost-time.svg)"
    yield ""
    yield "![Memory against the number of classes](science/cost-memory.svg)"
    yield ""


def repeated(results):
    """Runs that were interrupted, and runs that were made twice."""
    cut = {name: result["parts"] for name, result in results.items() if result["parts"] > 1}
    again = [(name, noted) for name, result in results.items() for noted in result.get("repeats", [])]
    if not cut and not again:
        return
    yield "## Interrupted and repeated"
    yield ""
    yield (
        "A run that is killed goes on when `make science` is started again. A part is what lies between two starts. "
        "A run that was made twice is compared with its first result: every loss, as its bits, and the file of the backbone.")
    yield ""
    alike = {True: "the same", False: "**different**"}
    rows = [
        [f"`{name}`", f"{noted['parts'][0]} and {noted['parts'][1]}", alike[noted["sameLosses"]], alike[noted["sameBackbone"]]]
        for name, noted in again]
    rows += [[f"`{name}`", str(parts), "", ""] for name, parts in cut.items() if name not in dict(again)]
    yield from table(["run", "parts", "losses", "backbone"], rows)


def machines(results):
    groups = {}
    for result in results.values():
        machine = result["machine"]
        key = (
            machine["cpu"], machine["cores"], machine["instructionSet"],
            f"{result['versions']['partialfc']} ({(result['versions']['commit'] or '?')[:7]})", result["date"])
        groups.setdefault(key, []).append(result)
    yield "## Where it was run"
    yield ""
    yield "Other programs ran beside most of these runs (*load* is the mean number of processes that wanted a core), so times are only typical. Losses and accuracies do not depend on that."
    yield ""
    yield from table(
        ["processor", "cores", "instruction set", "version", "day", "runs", "hours"],
        [[*(str(part) for part in key), str(len(found)), f"{sum(one['hours'] for one in found):.1f}"]
         for key, found in sorted(groups.items(), key=lambda pair: pair[0][-1])])


def render():
    """The page, and every plot by its name."""
    results, plots = load(), {}
    body = [INTRODUCTION, *standing(results)]
    for number, experiment in enumerate(EXPERIMENTS):
        body += [f"## {number + 1}. {experiment.title}", "", experiment.text, ""]
        names = [run.name for run in experiment.runs]
        borrowed = [name for name in RUNS if any(name.startswith(begin + "-s") for begin in experiment.borrowed)]
        found = [results[name] for name in names if name in results]
        if found and experiment.name == "cost":
            body += cost(found, plots)
        elif found:
            body += training(experiment, found, plots)
            if borrowed:
                also = ", ".join(f"`{name}`" for name in borrowed)
                body += [f"Also of this experiment: {also}, above.", ""]
        left = [run for run in experiment.runs if run.name not in results]
        if left:
            hours = sum(run.hours for run in left)
            body += [
                f"**Open**: {len(left)} of {len(names)} runs, about {hours:.1f} hours on two cores with nothing else to do, by estimate. "
                f"`make science RUN={experiment.name}` runs all of them; with one of these names it runs that one:", "",
                ", ".join(f"`{run.name}`" for run in left), ""]
    body += list(repeated(results))
    body += list(machines(results))
    return "\n".join(body).rstrip() + "\n", plots


def write():
    text, plots = render()
    PAGE.write_text(text)
    RESULTS.mkdir(parents=True, exist_ok=True)
    for stale in set(RESULTS.glob("*.svg")) - {RESULTS / name for name in plots}:
        stale.unlink()
    for name, content in plots.items():
        (RESULTS / name).write_text(content)


def differences():
    """Files that are not what the JSONs give."""
    text, plots = render()
    wanted = {PAGE: text} | {RESULTS / name: content for name, content in plots.items()}
    wrong = [path for path, content in wanted.items() if not path.exists() or path.read_text() != content]
    return [str(path.relative_to(ROOT)) for path in wrong + sorted(set(RESULTS.glob("*.svg")) - set(wanted))]
