"""Dev, by which weights are chosen."""

from typing import TYPE_CHECKING

from bertwire_data.labelled import MAIN_METRIC
from bertwire_trainer import ranks
from bertwire_trainer.messages import figures, say
from bertwire_trainer.method import Job
from bertwire_trainer.predict import predict
from bertwire_trainer.scores import measure, report

if TYPE_CHECKING:
    from bertwire_core.pooled import Classifier

# Weight of the loss beside the score, per unit of loss. It must be smaller than what one text of any dev set changes
# the score by, and large enough for float64 to tell scores of the same value apart.
_TIE = 1e-9


def measure_dev(job: Job, model: "Classifier", title: str, *, with_report: bool = False) -> dict[str, float]:
    """Return the figures of dev; print them after `title`, and the report of each label if asked for."""
    return ranks.from_first(lambda: _measure(job, model, title, with_report))


def _measure(job: Job, model: "Classifier", title: str, with_report: bool) -> dict[str, float]:
    logits = predict(model, job.tokenizer, job.tokens["dev"], job.data.labels, "dev")
    answers = (job.data.task, logits, job.tokens["dev"].targets, job.data.labels, job.data.dev.words())
    metrics = measure(*answers)
    say(f"{title}: dev {figures(metrics)}" + (f"\n{report(*answers)}" if with_report else ""))
    return metrics


def choice(job: Job, metrics: dict[str, float]) -> float:
    """Return the figure by which weights are chosen: the score, and among equal scores the lower loss.

    On few texts all may be right, or the score the same as by chance, from the first epoch on.
    """
    return metrics[MAIN_METRIC[job.data.task]] - _TIE * metrics["loss"]
