"""The rounds of self-training."""

import shutil
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy
import torch
from pydantic import BaseModel
from safetensors.torch import load_model, save_model
from transformers import set_seed

from bertwire_core.files import whole_file
from bertwire_data.labelled import MAIN_METRIC, Labelled, encode_targets
from bertwire_trainer.messages import metric_name, note
from bertwire_trainer.method import Fitted, Job
from bertwire_trainer.predict import predict
from bertwire_trainer.scores import measure
from bertwire_trainer.stages.rows import joined, with_train
from bertwire_trainer.stages.self_train.choice import choose
from bertwire_trainer.stages.self_train.options import SelfTrainOptions
from bertwire_trainer.tokens import tokenize

if TYPE_CHECKING:
    from bertwire_core.pooled import Classifier
    from bertwire_trainer.stage import Fit


class Round(BaseModel):
    """What is kept of a finished round, so that a resumed run does not repeat it.

    Attributes:
        number: 0 for the training on the labelled rows alone.
        texts: number of pseudo-labelled texts beside them.
        dev: the figures on dev.
        best_epoch: as in `Fitted`.
        weights, stages, chosen: as in `Fitted`.
    """

    number: int
    texts: int
    dev: dict[str, float]
    best_epoch: int | None
    weights: str
    stages: dict[str, dict[str, Any]]
    chosen: dict[str, Any]


class Rounds:
    """Self-training of one job, the files of finished rounds in `job.epochs`."""

    def __init__(self, job: Job, fit: "Fit", texts: Labelled, options: SelfTrainOptions) -> None:
        self._job, self._fit, self._texts, self._options = job, fit, texts, options
        self._folder = job.epochs / "self_train"
        self._metric = MAIN_METRIC[job.data.task]

    def run(self) -> Fitted:
        """Train until a round is no better on dev; return the model of the best."""
        best = self._kept(0) or self._train(0, None)
        rounds = [best]
        for number in range(1, self._options.self_train_rounds + 1):
            found = self._kept(number)
            if found is None:
                chosen = self._choose(best)
                if not len(chosen):
                    note("self-train: no text is labelled with enough confidence; see --self-train-confidence")
                    break
                found = self._train(number, best, chosen)
            rounds.append(found)
            if not self._better(found, best):
                note(f"self-train: round {number} is no better on dev")
                break
            best = found
        note(f"self-train: kept round {best.number}")
        done = [{"texts": each.texts, self._metric: each.dev[self._metric]} for each in rounds]
        fitted = Fitted(self._model(best), self._job.tokenizer, best.best_epoch, best.weights, best.stages, best.chosen)
        return fitted.after("self_train", {"rounds": done, "best_round": best.number})

    def _better(self, one: Round, other: Round) -> bool:
        """Return whether a round has the higher score on dev, or the same with the lower loss."""
        ranks = [(each.dev[self._metric], -each.dev["loss"]) for each in (one, other)]
        return ranks[0] > ranks[1]

    def _choose(self, teacher: Round) -> Labelled:
        """Return the texts to learn, with the labels that the model of a round gives them."""
        job, labels = self._job, self._job.data.labels
        tokens = tokenize(job.model, job.tokenizer, self._texts, encode_targets(self._texts, labels))
        model = self._model(teacher)
        model.to("cuda" if torch.cuda.is_available() else "cpu")  # type: ignore[arg-type]  # transformers' decorator hides the signature
        logits = predict(model, job.tokenizer, tokens, labels, "self-train")
        counts = numpy.bincount(job.data.targets["train"], minlength=len(labels))
        places, ids = choose(logits, self._options.self_train_confidence, counts)
        return replace(self._texts.take(places), targets=[labels[each] for each in ids])

    def _train(self, number: int, best: Round | None, chosen: Labelled | None = None) -> Round:
        job, name = self._job, f"round-{number}"
        folder = self._folder / name
        job = replace(job, model=deepcopy(job.model), epochs=folder, logs=job.logs / "self_train" / name)
        # A resumed run comes here with other random numbers drawn.
        set_seed(job.seed)
        fitted = self._fit(job if chosen is None else with_train(job, joined(job.data.train, chosen)))
        logits = predict(fitted.model, job.tokenizer, job.tokens["dev"], job.data.labels, "dev")
        dev = measure(job.data.task, logits, job.tokens["dev"].targets, job.data.labels, None)
        texts = 0 if chosen is None else len(chosen)
        found = Round(
            number=number,
            texts=texts,
            dev=dev,
            best_epoch=fitted.best_epoch,
            weights=fitted.weights,
            stages=fitted.stages,
            chosen=fitted.chosen,
        )
        figure = f"dev {metric_name(self._metric)} {dev[self._metric]:.4f}"
        note(f"self-train: round {number}: {texts} texts beside the {len(job.data.train)} of train, {figure}")
        self._keep(found, fitted, best)
        shutil.rmtree(folder, ignore_errors=True)
        return found

    def _keep(self, found: Round, fitted: Fitted, best: Round | None) -> None:
        """Write the record of a round and, where it is the best, its weights in place of those of the best before."""
        better = best is None or self._better(found, best)
        self._folder.mkdir(parents=True, exist_ok=True)
        if better:
            save_model(fitted.model, str(self._weights(found)))
        with whole_file(self._record(found.number)) as file:
            file.write_text(found.model_dump_json(), encoding="utf-8")
        if best is not None and better:
            self._weights(best).unlink()

    def _kept(self, number: int) -> Round | None:
        path = self._record(number)
        return Round.model_validate_json(path.read_bytes()) if path.exists() else None

    def _model(self, found: Round) -> "Classifier":
        model = deepcopy(self._job.model)
        load_model(model, self._weights(found))
        return model

    def _record(self, number: int) -> Path:
        return self._folder / f"round-{number}.json"

    def _weights(self, found: Round) -> Path:
        return self._folder / f"round-{found.number}.safetensors"
