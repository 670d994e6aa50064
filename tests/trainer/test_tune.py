"""Searches with a tiny checkpoint: what is tried, kept, pruned and gone on with."""

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import optuna
import pytest
import typer
import yaml
from optuna.trial import FrozenTrial, TrialState, create_trial
from safetensors.torch import load_file
from typer.testing import CliRunner

from bertwire_core.errors import UserError
from bertwire_trainer import train as trainer
from bertwire_trainer.auto import Facts
from bertwire_trainer.config import TrainConfig
from bertwire_trainer.method import Fitted, Job, Scale
from bertwire_trainer.methods.frozen import Frozen, FrozenOptions
from bertwire_trainer.methods.full import Full, FullOptions
from bertwire_trainer.prepare import prepare
from bertwire_trainer.record import TrainingRecord
from bertwire_trainer.tune.cli import run_tune, tune
from bertwire_trainer.tune.config import TuneConfig
from bertwire_trainer.tune.defaults import default_space
from bertwire_trainer.tune.plan import make_plan
from bertwire_trainer.tune.space import read_space
from bertwire_trainer.tune.summary import conclude

WriteRows = Callable[[str, list[tuple[str, str]]], Path]
Separable = Callable[..., list[tuple[str, str]]]
Search = Callable[..., None]

app = typer.Typer(rich_markup_mode=None)
app.command()(tune)

# One method, two rates of which one learns nothing.
RATES = "method: full\nlearning_rate: [3e-3, 1e-9]\nepochs: 2\nbatch_size: 8\n"


@pytest.fixture
def search(tiny: Path, tmp_path: Path, write_rows: WriteRows, separable: Separable) -> Search:
    """Searches a space with the tiny checkpoint on 24 separable rows; the folder is `out`."""
    files = {"train": write_rows("train.jsonl", separable(24)), "dev": write_rows("dev.jsonl", separable(12, 100))}
    common = {"model": str(tiny), "max_length": 16, "precision": "fp32", "output": tmp_path / "out"}

    def run(space: str, **options: Any) -> None:  # noqa: ANN401 - any option of the command
        (tmp_path / "space.yaml").write_text(space)
        run_tune(TuneConfig(**files, **common, space=tmp_path / "space.yaml", **options))

    return run


@contextmanager
def study(path: Path) -> Iterator[optuna.Study]:
    storage = optuna.storages.RDBStorage(f"sqlite:///{path}")
    yield optuna.load_study(study_name="out", storage=storage)
    storage.remove_session()
    storage.engine.dispose()


def trials(path: Path) -> list[FrozenTrial]:
    """The trials that are finished."""
    with study(path) as found:
        return [trial for trial in found.trials if trial.state.is_finished()]


def test_best_recipe_gives_the_best_score(search: Search, tiny: Path, tmp_path: Path) -> None:
    """What a search leaves: study, plot, recipe and checkpoint of the best trial; the recipe gives the same weights."""
    search(RATES, trials=2)
    out = tmp_path / "out"
    assert {path.name for path in out.iterdir()} == {"best", "history.png", "recipe.yaml", "study.db"}
    with study(out / "study.db") as found:
        best = found.best_value
    assert yaml.safe_load((out / "recipe.yaml").read_text())["method"] == "full"
    files = {"train": tmp_path / "train.jsonl", "dev": tmp_path / "dev.jsonl"}
    again = {"recipe": out / "recipe.yaml", "model": str(tiny), "output": tmp_path / "again", "report": False}
    trainer.train_model(prepare(TrainConfig(**files, **again)))
    record = TrainingRecord.model_validate_json((tmp_path / "again" / "training.json").read_bytes())
    assert record.metrics["dev"]["macro_f1"] == best
    one, other = (load_file(folder / "model.safetensors") for folder in (out / "best", tmp_path / "again"))
    assert all((one[name] == other[name]).all() for name in one)


def test_the_same_command_goes_on(search: Search, tmp_path: Path) -> None:
    """A second command runs only the trials that are left, and one of other rows or another space is refused."""
    space = "method: frozen\nstrength: {low: 0.1, high: 10, log: true}\n"
    storage = tmp_path / "elsewhere.db"
    search(space, trials=1, storage=storage)
    search(space, trials=2, storage=storage)
    first, second = (trial.params for trial in trials(storage))
    assert first["frozen.strength"] != second["frozen.strength"]
    search(space, trials=2, storage=storage)
    assert len(trials(storage)) == 2
    with pytest.raises(UserError, match=r"begun with other space; .* start over with --overwrite"):
        search(RATES, trials=2, storage=storage)
    with pytest.raises(UserError, match="begun with other seed; "):
        search(space, trials=2, storage=storage, seed=1)
    search("method: frozen\nstrength: 1\n", trials=1, storage=storage, overwrite=True)
    assert [trial.params["frozen.strength"] for trial in trials(storage)] == [1]


@pytest.mark.parametrize("place", ["other.db", "studies/other.db", "study.db"])
def test_study_beside_the_results(search: Search, tmp_path: Path, place: str) -> None:
    """A study anywhere in the folder of the search is gone on with, also after a crash; not in what is replaced."""
    storage = tmp_path / "out" / place
    search("method: zero-shot\n", trials=1, storage=storage)
    if storage.parent.name == "out":
        storage.with_name(f"{storage.name}-journal").touch()
    search("method: zero-shot\n", trials=1, storage=storage)
    assert len(trials(storage)) == 1
    with pytest.raises(UserError, match=r"other\.db: every search replaces .*best; choose another$"):
        search("method: zero-shot\n", storage=tmp_path / "out" / "best" / "other.db")


def test_own_head(search: Search, tiny: Path, tmp_path: Path) -> None:
    """A method that has no trial with the architecture's own head is refused, or left out of the default space."""
    with pytest.raises(UserError, match=r"method: zero-shot reads a pooled vector, and is not for --pooling own$"):
        search("method: [full, zero-shot]\n", pooling="own")
    given: dict[str, Any] = {"train": tmp_path / "train.jsonl", "model": str(tiny), "output": tmp_path / "out"}
    for options, pooled in (({}, True), ({"pooling": "own"}, False), ({"pooler": True}, True)):
        space = make_plan(TuneConfig(**given, **options), tmp_path / "trials").space.methods
        assert ("frozen" in space, "pooling" in space["full"]) == (pooled, not options)


def test_options_that_others_leave_without_effect(search: Search, tmp_path: Path) -> None:
    """A trial without episodes is run without their options."""
    search("method: prototypes\nepisodes: [0]\nways: [3]\n", trials=1)
    assert [trial.state for trial in trials(tmp_path / "out" / "study.db")] == [TrialState.COMPLETE]
    assert yaml.safe_load((tmp_path / "out" / "recipe.yaml").read_text())["ways"] == 5


def test_a_trial_that_is_worse_is_pruned(search: Search, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """After its second epoch a trial below the median of the others is stopped, and leaves nothing."""
    space = "method: full\nlearning_rate: {low: 1e-6, high: 1e-5}\nepochs: 4\n"
    search(space, trials=1)
    with study(tmp_path / "out" / "study.db") as found:
        for _ in range(4):
            scores = dict.fromkeys(range(1, 5), 1.5)
            attributes = found.trials[0].user_attrs
            found.add_trial(create_trial(value=1.5, intermediate_values=scores, user_attrs=attributes))
    search(space, trials=6)
    last = trials(tmp_path / "out" / "study.db")[-1]
    assert (last.state, last.last_step) == (TrialState.PRUNED, 2)
    assert "trial 5: pruned after epoch 2, macro-F1 0." in capsys.readouterr().err
    assert not (tmp_path / "out" / "trials").exists()


def test_time_ends_the_search(search: Search, tmp_path: Path) -> None:
    """When the time is up the trial that runs is the last."""
    search(RATES, trials=50, minutes=1e-6)
    assert [trial.state for trial in trials(tmp_path / "out" / "study.db")] == [TrialState.COMPLETE]


def test_failed_trials(
    search: Search, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A trial that fails is recorded with its reason and the search goes on; one that is interrupted is repeated."""
    fit, raised = Full.fit, iter([UserError("training diverged"), ZeroDivisionError("by zero"), KeyboardInterrupt()])

    def failing(self: Full, job: Job, options: FullOptions) -> Fitted:
        if (error := next(raised, None)) is not None:
            raise error
        return fit(self, job, options)

    monkeypatch.setattr(Full, "fit", failing)
    with pytest.raises(KeyboardInterrupt):
        search(RATES, trials=3)
    assert "2 trials are kept in" in capsys.readouterr().err
    search(RATES, trials=3)
    with study(tmp_path / "out" / "study.db") as found:
        reasons = [trial.user_attrs.get("reason") for trial in found.trials]
        assert reasons == ["training diverged", "by zero", None, None]
        assert [trial.state for trial in found.trials][2:] == [TrialState.FAIL, TrialState.COMPLETE]


def test_no_trial_succeeds(search: Search, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a score the command fails, with the last reason."""

    def failing(*_: object) -> Fitted:
        raise UserError("training diverged")

    monkeypatch.setattr(Full, "fit", failing)
    with pytest.raises(UserError, match="no trial came to a score; the last failed: training diverged"):
        search(RATES, trials=2)


def test_two_workers_share_a_study(search: Search, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trial of this process ends after one of another process; both count, and the best is kept."""
    fit, out = Frozen.fit, tmp_path / "out"

    def waiting(self: Frozen, job: Job, options: FrozenOptions) -> Fitted:
        # The other process ends where no trial is left for it.
        for each in active_children():
            each.join()
        assert len(trials(out / "study.db")) == 1
        return fit(self, job, options)

    monkeypatch.setattr(Frozen, "fit", waiting)
    search("method: frozen\nseed: [1, 2, 3, 4, 5, 6]\n", trials=2, workers=2)
    assert [trial.state for trial in trials(out / "study.db")] == [TrialState.COMPLETE] * 2
    with study(out / "study.db") as found:
        best = found.best_trial.user_attrs["recipe"]
    assert [(folder / "recipe.yaml").read_text() for folder in (out, out / "best")] == [best, best]


def test_faults_of_the_space(search: Search) -> None:
    """All faults of the space file are told at once."""
    text = """
method: [full, frozn, frozen]
learning_rat: 1e-3
epochs: {low: 3, high: 1}
dropout: {low: 0, high: 2}
warmup_ratio: {low: 0, hihg: 0.5}
label_smoothing: {low: 0, high: 0.1, log: true}
batch_size: []
lora_rank: [4]
lora: {lora_alpha: 2}
test: t.jsonl
class_weights: [none, equal]
frozen: {pooling: [mean, own]}
"""
    with pytest.raises(UserError) as caught:
        search(text)
    for part in (
        "method: there is no frozn; is frozen meant?",
        "learning_rat: no such option; is learning_rate meant?",
        "epochs: low must be less than high",
        "dropout: Input should be less than 1, not 2.0",
        "warmup_ratio: has no hihg; a range has low, high",
        "label_smoothing: low must be above 0 on a logarithmic scale",
        "batch_size: the list has no value",
        "lora_rank: is an option of method lora, not of full and frozen",
        "pooling: own is not for method frozen, which reads a pooled vector",
        "lora: is not searched; add it to method",
        "test: what is read, measured and written is no part of the file; pass --test",
        "class_weights: Input should be 'none' or 'balanced', not 'equal'",
    ):
        assert part in str(caught.value)


def test_command_without_a_space(tiny: Path, tmp_path: Path, write_rows: WriteRows, separable: Separable) -> None:
    """Without a space each method that suits the rows is begun with, the cheap ones first."""
    files = ["--train", write_rows("train.jsonl", separable(24)), "--output", tmp_path / "out"]
    words = [*files, "--model", tiny, "--max-length", 16, "--pooling", "mean", "--trials", 2]
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    assert [trial.params for trial in trials(tmp_path / "out" / "study.db")] == [
        {"method": "zero-shot"},
        {"method": "frozen"},
    ]
    model = shlex.join(["--model", str(tiny), "--test", "TEST", "--output", "CHECKPOINT"])
    assert result.output.splitlines()[-1].endswith(model)


@pytest.mark.parametrize(
    ("facts", "methods", "absent"),
    [
        (Facts("single_label", 3, 20, named=False), ["frozen", "prototypes", "few-shot", "lora", "full"], "strength"),
        (Facts("multi_label", 3, 900, named=True), ["frozen", "lora", "full"], "strength"),
        (Facts("regression", 1, 900, named=True), ["frozen", "lora", "full"], "class_weights"),
        (Facts("token_classification", 9, 900, named=True), ["lora", "full"], "pooling"),
    ],
)
def test_default_space(facts: Facts, methods: list[str], absent: str) -> None:
    """The default space has the methods and the options that apply to the task and the number of rows."""
    space, faults = read_space(default_space(facts, Scale(rows=900, labels=3, width=384), set()))
    assert not faults
    assert [*space.methods] == methods
    assert absent not in space.methods["full"]


def test_what_mattered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From ten scores on the options are named whose choice made the difference, those of one method too."""
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(12):
        trial = study.ask()
        method = trial.suggest_categorical("method", ["frozen", "full"])
        rate = trial.suggest_float("full.learning_rate", 0, 1) if method == "full" else 0.0
        trial.set_user_attr("recipe", "method: full\n")
        study.tell(trial, rate)
    conclude(study, tmp_path, "accuracy", ["--train", "my rows.csv"])
    shown = capsys.readouterr().out
    assert "what mattered: " in shown
    assert "full.learning_rate" in shown.partition("what mattered: ")[2]
    assert f"bertwire train --recipe {tmp_path}/recipe.yaml --train 'my rows.csv' --output CHECKPOINT" in shown
    assert (tmp_path / "history.png").read_bytes().startswith(b"\x89PNG")


def test_output_that_is_no_search(search: Search, tmp_path: Path) -> None:
    """A folder with other files is not touched."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").touch()
    with pytest.raises(UserError, match=r"holds notes\.txt, which no search has written"):
        search(RATES)
