"""The inputs of golden numbers: a function of their place, so that only results are kept. `AdamWGolden.number` is the same."""


def number(place, kind):
    """A float32 in [-0.5, 0.5) for a place, of several kinds of input."""
    x = (place * 2654435761 + kind * 40503 + 12345) % 2**32
    x ^= x >> 16
    x = x * 0x45D9F3B % 2**32
    x ^= x >> 16
    return (x >> 12) / 2**20 - 0.5
