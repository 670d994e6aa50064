"""The recipe where the user leaves it open: epochs by labels and rows, learning rate by the width of the encoder.

docs/decisions/028-default-recipe.md has the measurements.
"""

import math

# Optimizer steps that a run has at least, where the epochs allow it. Halved, 300 rows have too few to leave the start.
_LEAST_STEPS = 200
# Epochs at most; halved, 100 rows have 45 steps in all.
_MOST_EPOCHS = 30
# Peak rate of a BERT-base, hidden size 768, and the rates between which it goes down with the square of the width.
# Halved, MiniLM (384) needs twice the epochs on many labels.
_RATE, _WIDTH = 5e-5, 768
_LEAST_RATE, _MOST_RATE = 1e-5, 5e-4


def choose_epochs(labels: int, steps: int) -> int:
    """Return the epochs for a number of labels, of so many optimizer steps each."""
    by_labels = 2 + math.ceil(math.log2(max(labels, 2)))
    return max(by_labels, min(math.ceil(_LEAST_STEPS / steps), _MOST_EPOCHS))


def choose_patience(epochs: int) -> int:
    """Return after how many epochs that are no better training stops: 2, or more where epochs are many and short."""
    return max(2, epochs // 5)


def choose_rate(width: int) -> float:
    """Return the peak learning rate for an encoder's hidden size, with two digits."""
    rate = min(max(_RATE * (_WIDTH / width) ** 2, _LEAST_RATE), _MOST_RATE)
    return float(f"{rate:.1e}")
