"""Means, intervals and differences paired by seed."""
import math
import statistics


def student(degrees, probability=0.975):
    """The quantile of Student's t distribution, by bisection on its integral (Simpson's rule)."""
    scale = math.exp(math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2)) / math.sqrt(degrees * math.pi)

    def density(x):
        return scale * (1 + x * x / degrees) ** (-(degrees + 1) / 2)

    def below(x, pieces=2000):
        width = x / pieces
        total = density(0) + density(x) + sum(density(i * width) * (4 if i % 2 else 2) for i in range(1, pieces))
        return 0.5 + total * width / 3

    low, high = 0.0, 1000.0 if degrees < 2 else 50.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if below(middle) < probability else (low, middle)
    return (low + high) / 2


_QUANTILES = {}


def interval(values):
    """Mean and half of the 95 % interval; the half is None of a single value."""
    if len(values) < 2:
        return values[0], None
    degrees = len(values) - 1
    if degrees not in _QUANTILES:
        _QUANTILES[degrees] = student(degrees)
    return statistics.fmean(values), _QUANTILES[degrees] * statistics.stdev(values) / math.sqrt(len(values))


def paired(values, reference):
    """Differences of the seeds that both have: mean, half of the interval, number of seeds. None if there are none."""
    seeds = sorted(set(values) & set(reference))
    if not seeds:
        return None
    return (*interval([values[seed] - reference[seed] for seed in seeds]), len(seeds))
