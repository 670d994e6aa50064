"""Training that goes on from an older checkpoint, and what it forgets."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from bertwire_data.labelled import MAIN_METRIC, Labelled, encode_targets
from bertwire_trainer.messages import metric_name, note, say
from bertwire_trainer.method import Fitted, Job
from bertwire_trainer.predict import predict
from bertwire_trainer.scores import measure
from bertwire_trainer.soft_targets import SoftTargets, place_tokens
from bertwire_trainer.stages.continued.consolidation import MOST_ROWS, Consolidation, fisher
from bertwire_trainer.stages.continued.drawing import draw
from bertwire_trainer.stages.continued.head import keep_head
from bertwire_trainer.stages.rows import joined, with_train
from bertwire_trainer.tasks import SPECS
from bertwire_trainer.teachers import Teacher, teach
from bertwire_trainer.tokens import tokenize
from bertwire_trainer.trained import load_trained

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from bertwire_core.pooled import Classifier
    from bertwire_trainer.stage import Fit
    from bertwire_trainer.stages.continued import Continued

# Temperature of learning without forgetting: the paper's. Halved, it is 1, and the old model's doubts count less.
_TEMPERATURE = 2.0


def learn(stage: "Continued", job: Job, fit: "Fit") -> Fitted:
    """Train as the options of the stage say, and return the model with what was done and forgotten."""
    options, known = stage.options, stage.record.labels
    done: dict[str, Any] = {"new_labels": job.data.labels[len(known) :]}
    note(f"continue: {len(done['new_labels'])} new labels beside {len(known)} old ones")
    before = _begin(stage, job)
    information = _information(stage, job)
    if rows := _rehearsed(stage, job):
        note(f"continue: {len(rows)} old rows beside the {len(job.data.train)} of train")
        job = with_train(job, joined(job.data.train, rows))
        done["rehearsed"] = len(rows)
    elif not (options.continued_ewc or options.continued_lwf):
        note("continue: nothing keeps old labels from being forgotten; see --continue-rehearsal and --continue-lwf")
    job = _with_old_answers(stage, job)
    if information:
        inner = job.loss or SPECS[job.data.task].loss
        job = replace(job, loss=Consolidation(job.model, inner, information, options.continued_ewc))
    fitted = fit(job)
    if stage.dev is not None and before is not None:
        after = _score(stage.dev, fitted.model, fitted.tokenizer, job.data.labels)
        done["forgotten"] = _forgotten(stage.dev, before, after)
    return fitted.after("continued", done)


def _begin(stage: "Continued", job: Job) -> dict[str, float] | None:
    """Give the job's model the old head, and return the old model's figures of the old rows of dev."""
    old, tokenizer = load_trained(stage.options.checkpoint, stage.record)
    keep_head(job.model, old)
    return None if stage.dev is None else _score(stage.dev, old, tokenizer, stage.record.labels)


def _information(stage: "Continued", job: Job) -> dict[str, torch.Tensor]:
    """Return the Fisher information of the weights on old rows; none where it is not asked for."""
    if stage.rehearsal is None or not stage.options.continued_ewc:
        return {}
    rows, known = draw(stage.rehearsal, MOST_ROWS, job.seed), stage.record.labels
    return fisher(job, tokenize(job.model, job.tokenizer, rows, encode_targets(rows, known)), len(known))


def _rehearsed(stage: "Continued", job: Job) -> Labelled | None:
    if stage.rehearsal is None:
        return None
    return draw(stage.rehearsal, stage.options.continued_rehearsal_count, job.seed)


def _with_old_answers(stage: "Continued", job: Job) -> Job:
    """Return the job with what the old model says of each row to learn, if that is asked for."""
    if not stage.options.continued_lwf:
        return job
    data, targets = job.data, job.data.targets["train"]
    kept, old = job.epochs / "continued" / "means.npy", Teacher(stage.options.checkpoint, stage.record)
    loss = SoftTargets(
        task=data.task,
        targets=targets,
        means=teach(kept, [old], stage.record.labels, data.train, _TEMPERATURE, "old model"),
        temperature=_TEMPERATURE,
        soft_weight=stage.options.continued_lwf,
        hard_weight=1.0,
    )
    tokens = job.tokens | {"train": place_tokens(job.model, job.tokenizer, data.train, targets)}
    return replace(job, tokens=tokens, loss=loss)


def _score(
    rows: Labelled, model: "Classifier", tokenizer: "PreTrainedTokenizerBase", labels: list[str]
) -> dict[str, float]:
    targets = encode_targets(rows, labels)
    logits = predict(model, tokenizer, tokenize(model, tokenizer, rows, targets), labels, "old rows of dev")
    return measure(rows.task, logits, targets, labels, rows.words())


def _forgotten(rows: Labelled, before: dict[str, float], after: dict[str, float]) -> dict[str, Any]:
    """Say how the scores of old rows have changed, and return them with the drop of the main one."""
    shown = ", ".join(
        f"{metric_name(name)} {before[name]:.4f} before, {after[name]:.4f} after" for name in before if name != "loss"
    )
    say(f"continue: old rows of {rows.source}: {shown}")
    metric = MAIN_METRIC[rows.task]
    return {"before": before, "after": after, "metric": metric, "drop": before[metric] - after[metric]}
