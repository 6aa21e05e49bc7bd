"""What is run: six experiments, each a list of trainings that differ in one thing, with several seeds."""
from dataclasses import dataclass, field

SEEDS = (1, 2, 3)
RATES = (1, 0.3, 0.1, 0.03, 0.01, 0)


@dataclass(frozen=True)
class Run:
    """One training, or one timed run of the head alone (`classes` is set)."""

    name: str
    experiment: str
    # What differs within the experiment; runs of one variant differ in their seed.
    variant: str
    # The variant that this one is compared with, seed by seed.
    reference: str
    seed: int
    # Sections of the configuration, without paths.
    configuration: dict
    # Options of `worker glyphs`.
    glyphs: tuple = ()
    # Hours on two cores with nothing else to do.
    hours: float = 0.2
    # Classes of a timed run.
    classes: int = 0


@dataclass(frozen=True)
class Experiment:
    name: str
    title: str
    text: str
    runs: list = field(default_factory=list)
    # Further runs that the tables show: those of another experiment with the same configuration.
    borrowed: list = field(default_factory=list)


def merged(*parts):
    """Sections of a configuration, later ones over earlier ones."""
    result = {}
    for part in parts:
        for section, value in part.items():
            result[section] = {**result.get(section, {}), **value} if isinstance(value, dict) else value
    return result


BASE = {
    "data": {"kind": "glyphs", "image_size": 32, "channels": 1},
    "backbone": {"name": "iresnet-small", "embedding_size": 128, "widths": [16, 32, 64, 128]},
    "head": {"scale": 32, "slices": 16},
    "batch": {"size": 128, "micro_batch": 32},
    "schedule": {"steps": 1500, "learning_rate": 0.1},
    # 100,000 pairs of different characters: ten false accepts at 1e-4.
    "evaluation": {"held_out_pairs": 200000},
    "cluster": {"shards": 1, "workers": 1},
}
COSFACE = {"head": {"m1": 1, "m2": 0, "m3": 0.2}}
ARCFACE = {"head": {"m1": 1, "m2": 0.3, "m3": 0}}
# Han, the first two extensions, and Hangul syllables: no two code points that look alike by design.
CHARACTERS = (
    "--classes", "30000", "--held-out", "2000", "--minimum-images", "4",
    "--code-points", "3400-4DBF,4E00-9FFF,AC00-D7A3,20000-2A6DF",
)
WORD_LIST = "/usr/share/dict/american-english-insane"
WORDS = ("--words", WORD_LIST, "--classes", "100000", "--held-out", "20000", "--image-size", "32", "--image-width", "96")


def rate(value):
    return {"head": {"sample_rate": value}}


def label(value):
    return "positives only" if value == 0 else f"r = {value:g}"


def short(value):
    return "positives" if value == 0 else f"r{value:g}"


def seeded(experiment, name, variant, reference, configuration, glyphs, hours):
    return [
        Run(f"{name}-s{seed}", experiment, variant, reference, seed, merged(configuration, {"seed": seed}), glyphs, hours)
        for seed in SEEDS
    ]


def characters():
    runs = []
    for loss, margins in (("CosFace", COSFACE), ("ArcFace", ARCFACE)):
        for value in RATES:
            runs += seeded(
                "characters", f"characters-{loss.lower()}-{short(value)}", f"{loss}, {label(value)}", f"{loss}, r = 1",
                merged(BASE, margins, rate(value)), CHARACTERS, 0.08)
    return Experiment(
        "characters", "30,000 characters",
        "30,000 characters of Han and Hangul, 4 to 28 fonts each; 2,000 further characters are held out. Every run sees "
        "192,000 images, six or seven of every character and less than half of all, so no run is trained to the end: the question "
        "is what a sample of the classes costs, not how far this network gets. Whether differences stay what they are in a training of "
        "many epochs is not known: early in a training, with few images of every class, fewer negatives may simply be an easier task. CosFace has m3 = 0.2, ArcFace m2 = 0.3, and s is 32.",
        runs)


def words():
    runs = []
    configuration = merged(
        BASE, COSFACE, {"data": {"image_size": 32, "image_width": 96}, "schedule": {"steps": 12000}})
    for value in (1, 0.1, 0.01):
        runs += seeded(
            "words", f"words-{short(value)}", label(value), "r = 1", merged(configuration, rate(value)), WORDS, 1.2)
    return Experiment(
        "words", "100,000 words",
        "100,000 English words of up to 14 letters in 12 Latin fonts, images of 32 × 96; 20,000 further words are held out. "
        "Many words differ in one letter. The set has 1,200,000 images and the fingerprint `8eccd2d71092f02a`, drawn from version "
        "2020.12.07 of the list `wamerican-insane` (SHA-256 `19fb16e4f5262e5007e9b203a4d5cc3cd05834987b2f2c1e037bc6329c2a6fd4`).", runs)


def noise():
    glyphs = CHARACTERS + ("--swapped-labels", "0.2", "--split-classes", "0.2")
    runs = []
    for name, variant, head in (
        ("noise-r1", "r = 1", {"sample_rate": 1}), ("noise-r0.1", "r = 0.1", {"sample_rate": 0.1}),
        ("noise-r0.1-filter", "r = 0.1, filter 0.4", {"sample_rate": 0.1, "interclass_filter": 0.4}),
    ):
        runs += seeded("noise", name, variant, "r = 1", merged(BASE, COSFACE, {"head": head}), glyphs, 0.08)
    return Experiment(
        "noise", "Wrong labels",
        "The characters of the first experiment, but 20 % of the images have the label of another image, and 20 % of the "
        "classes are split in two, so that 36,000 classes are trained. The second Partial FC paper (arXiv 2203.15565) says that "
        "a sample of the classes suffers less from such labels, and that leaving out negatives whose cosine is high (the "
        "interclass filter) helps further. What is held out has the right labels.", runs)


def storage():
    runs = []
    for name, variant, head in (
        ("storage-f32", "f32", {}),
        ("storage-bf16", "bf16, stochastic", {"storage": "bf16"}),
        ("storage-bf16-int8", "bf16, stochastic, momentum int8", {"storage": "bf16", "momentum_storage": "int8"}),
        ("storage-bf16-nearest", "bf16, nearest", {"storage": "bf16", "rounding": "nearest"}),
    ):
        configuration = merged(BASE, COSFACE, rate(0.1), {"head": head, "schedule": {"decay_power": 4}})
        runs += seeded("storage", name, variant, "f32", configuration, CHARACTERS, 0.08)
    return Experiment(
        "storage", "Class centers in fewer bits",
        "The first experiment at r = 0.1 with a learning rate that is small for long: it falls with the fourth power. Most updates "
        "are then less than half a unit in the last place of bf16, where rounding to nearest keeps the old value.", runs)


def schedule():
    stages = {"schedule": {"stages": [{"until": 0.6, "sample_rate": 0.1}, {"sample_rate": 1}]}}
    runs = seeded(
        "schedule", "schedule-fixed", "fixed, r = 0.46", "fixed, r = 0.46", merged(BASE, COSFACE, rate(0.46)), CHARACTERS, 0.08)
    runs += seeded(
        "schedule", "schedule-stages", "r = 0.1, then 1 from 60 % on", "fixed, r = 0.46",
        merged(BASE, COSFACE, rate(0.1), stages), CHARACTERS, 0.08)
    return Experiment(
        "schedule", "A schedule of the sample rate",
        "Few negatives first and all at the end (as LVFace does, arXiv 2501.13420), beside a fixed rate that samples as many classes in all: "
        "0.6 · 0.1 + 0.4 · 1 = 0.46.", runs, ["characters-cosface-r0.1", "characters-cosface-r1"])


def classes(value):
    return f"{value // 1_000_000}M" if value >= 1_000_000 else f"{value // 1000}k"


def cost():
    runs = []
    few_bits = {"storage": "bf16", "momentum_storage": "int8"}
    for mode, head, largest in (
        ("all classes, f32", {}, 1_000_000), ("r = 0.1, f32", {}, 1_000_000), ("S = 10,000, f32", {}, 1_000_000),
        ("r = 0.1, bf16 and int8", few_bits, 10_000_000), ("S = 10,000, bf16 and int8", few_bits, 10_000_000),
    ):
        for count in (10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000, 10_000_000):
            if count > largest:
                continue
            value = 1 if mode.startswith("all") else 0.1 if mode.startswith("r") else min(1, 10_000 / count)
            configuration = {
                "seed": 1,
                "data": {"kind": "features", "classes": count},
                "backbone": {"name": "none", "embedding_size": 512},
                "head": {"scale": 64, "sample_rate": value, "slices": 16, **head},
                "batch": {"size": 128, "micro_batch": 64},
                "schedule": {"steps": 200 if count <= 100_000 else 40, "learning_rate": 0.1},
                "evaluation": {"held_out_pairs": 0},
                "cluster": {"shards": 1, "workers": 1},
            }
            slug = mode.split(",")[0].replace(" = ", "").replace(" classes", "").lower() + ("-bf16" if head else "-f32")
            slug = slug.replace("s10-", "s10k-")
            runs.append(
                Run(f"cost-{slug}-{classes(count)}", "cost", mode, "", 1, configuration, (), 0.02 + count / 5e7, count))
    return Experiment(
        "cost", "Cost against the number of classes",
        "The head alone, on stored features: D = 512, B = 128, one shard server and one worker, 200 steps up to 100,000 classes and "
        "40 beyond. S is the number of classes in a step.", runs)


EXPERIMENTS = [characters(), words(), noise(), storage(), schedule(), cost()]
RUNS = {run.name: run for experiment in EXPERIMENTS for run in experiment.runs}
# The order in which `make science` runs: what says most first, then further seeds.
ORDER = sorted(
    RUNS.values(),
    key=lambda run: (
        ["characters", "cost", "noise", "storage", "schedule", "words"].index(run.experiment),
        "ArcFace" in run.variant,
        run.seed,
    ),
)
