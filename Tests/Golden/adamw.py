#!/usr/bin/env python3
"""The numbers of adamw.txt: torch.optim.AdamW in float64, on the formulas of the head and on a plain vector.

Inputs are a function of their place (`number`), so that only the results are kept. Usage: adamw.py > adamw.txt
"""

import torch
from inputs import number

STEPS = 50
SCALE, MARGIN = 16.0, 0.2
CLASSES, SIZE, BATCH = 40, 16, 24


def tensor(shape, kind, factor=1.0):
    count = torch.Size(shape).numel()
    return torch.tensor([number(i, kind) * factor for i in range(count)], dtype=torch.float64).reshape(shape)


def optimizer(parameters, decay):
    return torch.optim.AdamW([parameters], lr=2.0**-7, betas=(0.9, 0.999), eps=1e-8, weight_decay=decay, foreach=False)


def show(name, values):
    print(name, " ".join(f"{v:.12g}" for v in values.reshape(-1).tolist()))


def head():
    """CosFace over all classes (r = 1): logits s(cos θ − m) for the target, s cos θ for the others; mean loss of the batch."""
    weight = tensor([CLASSES, SIZE], 1).requires_grad_()
    adamw = optimizer(weight, 0.0625)
    for step in range(STEPS):
        features = tensor([BATCH, SIZE], 1000 + step)
        labels = torch.tensor([(7 * step + 5 * i) % CLASSES for i in range(BATCH)])
        cosines = torch.nn.functional.normalize(features, dim=1) @ torch.nn.functional.normalize(weight, dim=1).T
        margin = torch.zeros_like(cosines)
        margin[torch.arange(BATCH), labels] = MARGIN
        loss = torch.nn.functional.cross_entropy(SCALE * (cosines - margin), labels)
        adamw.zero_grad()
        loss.backward()
        adamw.step()
        if step in (0, STEPS - 1):
            show(f"head.loss.{step}", loss.detach())
    state = adamw.state[weight]
    show("head.weight", weight.detach())
    show("head.first_moment", state["exp_avg"])
    show("head.second_moment", state["exp_avg_sq"])


def vector():
    """A vector with given gradients, as the backbone's."""
    count = 300
    values = tensor([count], 2).requires_grad_()
    adamw = optimizer(values, 0.0625)
    for step in range(STEPS):
        values.grad = tensor([count], 2000 + step)
        adamw.step()
    state = adamw.state[values]
    show("vector.values", values.detach())
    show("vector.first_moment", state["exp_avg"])
    show("vector.second_moment", state["exp_avg_sq"])


head()
vector()
