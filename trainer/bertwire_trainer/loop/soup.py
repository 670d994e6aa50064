"""Model soup: one model trained with several seeds, and the mean of the weights (Wortsman et al., 2022)."""

from collections.abc import Callable
from dataclasses import replace

from bertwire_trainer.loop.averages import copied, mean
from bertwire_trainer.loop.dev import choice, measure_dev
from bertwire_trainer.loop.kept import Kept, better
from bertwire_trainer.messages import note
from bertwire_trainer.method import Job

_SEEDS = 2**32


def train_seeds(job: Job, seeds: int, train: Callable[[Job], Kept]) -> Kept:
    """Train `job.model` once for each seed from `job.seed` on; leave it with the best weights, or their mean if better.

    Every run begins with the same weights, those of the new head too: weights of different heads have no useful mean.
    """
    begin = copied(job.model)
    runs: list[Kept] = []
    states = []
    for seed in [(job.seed + number) % _SEEDS for number in range(seeds)]:
        note(f"seed {seed}, run {len(runs) + 1} of {seeds}")
        job.model.load_state_dict(begin)
        folder = job.epochs / f"seed-{seed}"
        one = replace(job, seed=seed, epochs=folder, logs=job.logs / folder.name)
        kept = train(one)
        # Once more, as the mean will be: after training, in float32.
        score = choice(job, measure_dev(job, job.model, folder.name))
        runs.append(Kept(f"{kept.weights} of seed {seed}", kept.epoch, score))
        states.append(copied(job.model))
    best = max(range(seeds), key=lambda number: runs[number].choice)
    job.model.load_state_dict(states[best])
    name = f"mean of {seeds} seeds from {job.seed} on"
    return better(job, runs[best], mean(states), name, max(run.epoch for run in runs))
