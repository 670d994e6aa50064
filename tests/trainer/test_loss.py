"""The arithmetic of a device, the loss and the class weights."""

import numpy
import pytest
import torch
from transformers.modeling_outputs import SequenceClassifierOutput

from bertwire_core.errors import UserError
from bertwire_trainer.config import Precision
from bertwire_trainer.device import choose_precision
from bertwire_trainer.loop.loss import balanced_weights, make_loss

LOGITS = torch.tensor([[2.0, 0.0, 1.0], [0.0, 0.0, 3.0], [1.0, 1.0, 0.0]])
LABELS = torch.tensor([0, 2, 1])


@pytest.mark.parametrize(
    ("asked", "cuda", "fast_bf16", "used"),
    [
        ("auto", False, False, "fp32"),
        ("auto", True, True, "bf16"),
        ("auto", True, False, "fp32"),
        ("bf16", False, False, "bf16"),
        ("fp16", True, False, "fp16"),
        ("fp32", True, True, "fp32"),
    ],
)
def test_precision(asked: Precision, cuda: bool, fast_bf16: bool, used: str) -> None:
    """Auto takes bf16 where the device is fast at it; what is asked for is used."""
    assert choose_precision(asked, cuda=cuda, fast_bf16=fast_bf16) == used


@pytest.mark.parametrize(("asked", "cuda"), [("fp16", False), ("bf16", True)])
def test_precision_that_the_device_lacks(asked: Precision, cuda: bool) -> None:
    """fp16 on a CPU, and bf16 on a CUDA device without it, are refused."""
    with pytest.raises(UserError, match=f"--precision {asked} needs a CUDA device"):
        choose_precision(asked, cuda=cuda, fast_bf16=False)


def test_loss_is_mean_cross_entropy() -> None:
    """Without weights and smoothing the loss is the mean over the texts."""
    loss = make_loss("single_label", None, 0.0)(SequenceClassifierOutput(logits=LOGITS), LABELS)
    torch.testing.assert_close(loss, torch.nn.functional.cross_entropy(LOGITS, LABELS))


def test_accumulated_losses_add_up_to_the_mean() -> None:
    """Two batches of one optimizer step, of unequal size, weigh every text alike."""
    loss, rows = make_loss("single_label", None, 0.1), torch.tensor(3)
    first = loss(SequenceClassifierOutput(logits=LOGITS[:2]), LABELS[:2], num_items_in_batch=rows)
    second = loss(SequenceClassifierOutput(logits=LOGITS[2:]), LABELS[2:], num_items_in_batch=rows)
    expected = torch.nn.functional.cross_entropy(LOGITS, LABELS, label_smoothing=0.1)
    torch.testing.assert_close(first + second, expected)


def test_class_weights_scale_the_loss() -> None:
    """A label's weight multiplies the loss of its texts."""
    weights = torch.tensor([2.0, 1.0, 0.0])
    loss = make_loss("single_label", weights, 0.0)(SequenceClassifierOutput(logits=LOGITS), LABELS)
    single = torch.nn.functional.cross_entropy(LOGITS, LABELS, reduction="none")
    torch.testing.assert_close(loss, (single * torch.tensor([2.0, 0.0, 1.0])).sum() / 3)


def test_balanced_weights() -> None:
    """A label of a quarter of the rows weighs three times one of three quarters."""
    assert balanced_weights(numpy.array([0, 1, 1, 1]), 2).tolist() == pytest.approx([2.0, 2 / 3])


def test_loss_of_several_labels() -> None:
    """Binary cross-entropy, averaged over texts and labels."""
    targets = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    loss = make_loss("multi_label", None, 0.0)(SequenceClassifierOutput(logits=LOGITS), targets)
    torch.testing.assert_close(loss, torch.nn.functional.binary_cross_entropy_with_logits(LOGITS, targets))


def test_smoothing_of_several_labels() -> None:
    """A label that a text has, or lacks, is so with the rest of the mass and half of what is spread."""
    loss = make_loss("multi_label", None, 0.2)(SequenceClassifierOutput(logits=LOGITS), torch.ones(3, 3))
    expected = torch.nn.functional.binary_cross_entropy_with_logits(LOGITS, torch.full((3, 3), 0.9))
    torch.testing.assert_close(loss, expected)


def test_loss_of_numbers() -> None:
    """The mean squared error."""
    loss = make_loss("regression", None, 0.0)(
        SequenceClassifierOutput(logits=torch.tensor([[1.0], [3.0]])), torch.tensor([0.0, 1.0])
    )
    assert loss.item() == 2.5


def test_loss_of_words() -> None:
    """Cross-entropy over the first pieces of words; what is ignored counts neither above nor below the line."""
    labels = torch.tensor([[-100, 0, -100], [2, 1, -100]])
    logits = torch.arange(18.0).sin().view(2, 3, 3)
    loss = make_loss("token_classification", None, 0.1)(SequenceClassifierOutput(logits=logits), labels)
    expected = torch.nn.functional.cross_entropy(logits[labels != -100], labels[labels != -100], label_smoothing=0.1)
    torch.testing.assert_close(loss, expected)
