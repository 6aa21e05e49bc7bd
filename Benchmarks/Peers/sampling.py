"""Two ways to sample classes: all positives, and uniform negatives without replacement; ids ascend.

Both expect a count that holds at least all positives.
"""

import math

import torch
from torch import Tensor


def sample_by_scores(classes: int, count: int, labels: Tensor) -> Tensor:
    """The `count` largest of random scores of all classes, as InsightFace does: O(C). [B] to [S]."""
    scores = torch.rand(classes)
    scores[labels] = 2
    return torch.topk(scores, count, sorted=False).indices.sort().values


def sample_by_draws(classes: int, count: int, labels: Tensor) -> Tensor:
    """Independent draws, made unique, a few too many, trimmed: O(S log S). [B] to [S], S < C.

    Of n draws about C (1 − exp(−n / C)) classes are distinct.
    """
    wanted = min(count + 4 * math.isqrt(count) + len(labels), classes - 1)
    draws = math.ceil(-classes * math.log1p(-wanted / classes))
    sampled = torch.unique(torch.cat([labels, torch.randint(classes, (draws,))]))
    while len(sampled) < count:
        sampled = torch.unique(torch.cat([sampled, torch.randint(classes, (count,))]))
    negative = torch.ones(len(sampled), dtype=torch.bool)
    negative[torch.searchsorted(sampled, labels)] = False
    order = torch.randperm(len(sampled))
    kept = torch.ones(len(sampled), dtype=torch.bool)
    kept[order[negative[order]][: len(sampled) - count]] = False
    return sampled[kept]
