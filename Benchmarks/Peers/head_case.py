"""What every variant computes: constants of the loss and of the optimiser, and the size of one comparison."""

from dataclasses import dataclass

SCALE = 64.0
MARGIN = 0.5
LEARNING_RATE = 0.1
MOMENTUM = 0.9
WEIGHT_DECAY = 5e-4
INITIAL_DEVIATION = 0.01


@dataclass(frozen=True)
class Case:
    """C classes of D numbers, a batch of B samples, sample rate r."""

    classes: int
    sample_rate: float
    embedding_size: int = 512
    batch: int = 128

    @property
    def sampled(self) -> int:
        """S: the rows that take part in a step; at least the batch, whose classes are never left out."""
        return min(self.classes, max(self.batch, int(self.sample_rate * self.classes)))

    @property
    def gigaflops(self) -> float:
        """10⁹ operations of a step's three products: logits, features' gradient, rows' gradient."""
        return 6 * self.batch * self.sampled * self.embedding_size / 1e9
