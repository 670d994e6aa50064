"""The rounds of self-training."""

import shutil
from copy import deepcopy
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy
import torch
from numpy.typing import NDArray
from pydantic import BaseModel
from safetensors.torch import load_model, save_model
from transformers import set_seed

from bertwire_core.errors import UserError
from bertwire_core.files import whole_file
from bertwire_data.labelled import MAIN_METRIC, Labelled
from bertwire_trainer.messages import metric_name, note
from bertwire_trainer.method import Fitted, Job
from bertwire_trainer.predict import predict
from bertwire_trainer.scores import measure
from bertwire_trainer.soft_targets import SoftTargets, place_tokens
from bertwire_trainer.stages.rows import joined
from bertwire_trainer.stages.self_train.options import SelfTrainOptions
from bertwire_trainer.tasks import SPECS

if TYPE_CHECKING:
    from bertwire_core.pooled import Classifier
    from bertwire_trainer.stage import Fit
    from bertwire_trainer.tokens import TokenDataset

# Weight of the loss on labels, beside 1 of what the model before says; halved, few labels correct its mistakes less.
_HARD_WEIGHT = 0.5


class Round(BaseModel):
    """What is kept of a finished round, so that a resumed run does not repeat it.

    Attributes:
        number: 0 for the training on the labelled rows alone.
        texts: number of texts beside them.
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
        """Train until a round is no better on dev; return the model of the best.

        Raises:
            UserError: another stage has set a loss, which that of the rounds would replace.
        """
        if self._job.loss is not None:
            raise UserError("--self-train has a loss of its own; leave out --continue-lwf and --continue-ewc")
        best = self._kept(0) or self._train(0, None)
        rounds = [best]
        for number in range(1, self._options.self_train_rounds + 1):
            found = self._kept(number)
            if found is None:
                found = self._train(number, best)
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

    @cached_property
    def _tokens(self) -> "TokenDataset":
        """Train and the texts after it, which have no labels: their places are all that the loop reads."""
        job = self._job
        rows = joined(job.data.train, self._texts)
        return place_tokens(job.model, job.tokenizer, rows, job.data.targets["train"])

    def _taught(self, job: Job, number: int, best: Round) -> Job:
        """Return the job of a round with the texts beside train, all to be learned by what models say of them."""
        tokens, targets = self._tokens, job.data.targets["train"]
        means = [self._means(self._model(best), tokens)]
        if number == 1:
            means += [self._member(each, tokens) for each in range(1, self._options.self_train_members)]
        loss = SoftTargets(
            task=job.data.task,
            targets=targets,
            means=numpy.mean(means, axis=0),
            temperature=1.0,
            soft_weight=1.0,
            hard_weight=_HARD_WEIGHT,
        )
        return replace(job, tokens=job.tokens | {"train": tokens}, loss=loss)

    def _member(self, number: int, tokens: "TokenDataset") -> NDArray[numpy.float32]:
        """Return what a model trained on the labelled rows with another seed says; a resumed run reads it."""
        path = self._folder / f"member-{number}.npy"
        if not path.exists():
            fitted = self._fit(self._begun(f"member-{number}", self._job.seed + number))
            note(f"self-train: model {number + 1} of {self._options.self_train_members} on the labelled rows is done")
            with whole_file(path) as file, file.open("wb") as opened:
                numpy.save(opened, self._means(fitted.model, tokens), allow_pickle=False)
        shutil.rmtree(self._folder / f"member-{number}", ignore_errors=True)
        found: NDArray[numpy.float32] = numpy.load(path, allow_pickle=False)
        return found

    def _means(self, model: "Classifier", tokens: "TokenDataset") -> NDArray[numpy.float32]:
        """Return the probabilities that a model gives each text, float32 [texts, labels]."""
        model.to("cuda" if torch.cuda.is_available() else "cpu")  # type: ignore[arg-type]  # transformers' decorator hides the signature
        logits = predict(model, self._job.tokenizer, tokens, self._job.data.labels, "self-train")
        found: NDArray[numpy.float32] = SPECS[self._job.data.task].mean(torch.from_numpy(logits)).numpy()
        return found

    def _begun(self, name: str, seed: int) -> Job:
        """Return the job of one training, with a model and folders of its own."""
        job = self._job
        folder, logs = self._folder / name, job.logs / "self_train" / name
        # A resumed run comes here with other random numbers drawn.
        set_seed(seed)
        return replace(job, model=deepcopy(job.model), epochs=folder, logs=logs, seed=seed)

    def _train(self, number: int, best: Round | None) -> Round:
        taught = self._job if best is None else self._taught(self._job, number, best)
        job = self._begun(f"round-{number}", self._job.seed)
        fitted = self._fit(replace(job, tokens=taught.tokens, loss=taught.loss))
        logits = predict(fitted.model, job.tokenizer, job.tokens["dev"], job.data.labels, "dev")
        dev = measure(job.data.task, logits, job.tokens["dev"].targets, job.data.labels, None)
        texts = 0 if best is None else len(self._texts)
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
        shutil.rmtree(job.epochs, ignore_errors=True)
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
