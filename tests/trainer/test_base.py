"""Which checkpoints training may start from."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoConfig,
    AutoModel,
    GPT2Config,
    GPT2Model,
    PreTrainedModel,
    RobertaConfig,
    RobertaForSequenceClassification,
    ViTConfig,
    ViTModel,
)

from bertwire_core.errors import UserError
from bertwire_core.tasks import Task
from bertwire_trainer.architecture import require_trainable
from bertwire_trainer.base import Base, find_base
from bertwire_trainer.loading import load_model, position_limit, require_tables
from bertwire_trainer.tokenizer import load_tokenizer
from bertwire_trainer.trial import require_answers
from graphs import tiny_model

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "4d" * 32 + "\nsize 90868376\n"


@pytest.fixture
def copy(tiny: Path, tmp_path: Path) -> Path:
    """A copy of the tiny checkpoint, to be damaged."""
    return Path(shutil.copytree(tiny, tmp_path / "copy"))


def load(folder: Path) -> None:
    base = find_base(str(folder))
    require_trainable(base, "single_label")
    load_tokenizer(base, "single_label", "right")
    load_model(base, "single_label", ["a", "b"])


def refusal(folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        load(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_minilm_is_found_without_importing_its_package() -> None:
    """The default model is a folder with safetensors weights."""
    base = find_base("minilm")
    assert (base.name, base.local) == ("minilm", True)
    assert (Path(base.location) / "model.safetensors").is_file()


def test_a_local_folder_is_recorded_by_its_name(tiny: Path) -> None:
    """Only the last component of a folder goes into records."""
    assert find_base(str(tiny)) == Base("tiny-bert", str(tiny.resolve()), local=True)


def test_a_hub_id_is_no_folder() -> None:
    """A name of the form org/name is a hub id."""
    assert find_base("org/name") == Base("org/name", "org/name", local=False)


@pytest.mark.parametrize("model", ["./nowhere", "/nowhere/at/all", "a/b/c"])
def test_missing_folder(model: str) -> None:
    """What can only be a path is not looked for on the hub."""
    with pytest.raises(UserError, match="no such folder"):
        find_base(model)


def test_no_config(copy: Path) -> None:
    """A folder without config.json is no checkpoint."""
    (copy / "config.json").unlink()
    assert "has no config.json" in refusal(copy)


def test_no_safetensors(copy: Path) -> None:
    """Pickled weights alone are refused, since loading them can run code."""
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    assert "has no *.safetensors weights" in refusal(copy)


def test_no_tokenizer(copy: Path) -> None:
    """A folder without a tokenizer is refused."""
    (copy / "tokenizer.json").unlink()
    assert "has no tokenizer" in refusal(copy)


def test_cut_weights(copy: Path) -> None:
    """A weight file that ends too early is one line."""
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    assert "cannot be loaded" in refusal(copy)


def test_weights_of_another_model(copy: Path) -> None:
    """Weights that lack tensors of the encoder are not filled up with random ones."""
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))
    assert "lack 16 tensors of the encoder, the first bert.encoder.layer.2." in refusal(copy)


def test_weights_that_have_no_place(copy: Path) -> None:
    """Weights of the encoder that transformers would drop are named; those of another head and of a pooler are not."""
    path = copy / "model.safetensors"
    weights = load_file(path)
    head = {"cls.predictions.bias": torch.zeros(97)}
    save_file(weights | head, path, metadata={"format": "pt"})
    load(copy)
    # Saved as the encoder alone or as part of a model with a head.
    for prefix in ("", "bert."):
        distances = {
            f"{prefix}encoder.layer.{layer}.attention.self.distance_embedding.weight": torch.zeros(127, 8)
            for layer in (0, 1)
        }
        prefixed = {prefix + name: tensor for name, tensor in weights.items()}
        save_file(prefixed | head | distances, path, metadata={"format": "pt"})
        assert (
            "BertForSequenceClassification has no place for 2 tensors of its encoder, the first "
            f"{min(distances)}, and would answer without them"
        ) in refusal(copy)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"return_dict": False}, "its config.json sets return_dict to false"),
        ({"output_attentions": True}, "its config.json sets output_attentions to true"),
        ({"output_hidden_states": True}, "its config.json sets output_hidden_states to true"),
        (
            {"initializer_range": 1},
            "its config.json is wrong: Validation error for field 'initializer_range': TypeError",
        ),
        ({"hidden_size": "32"}, "its config.json is wrong: Validation error for field 'hidden_size': TypeError"),
        ({"id2label": ["A", "B"], "label2id": {"A": 0}}, "its config.json has id2label as a list"),
        ({"label2id": [["A", 0]]}, "its config.json has label2id as a list"),
    ],
)
def test_fields_of_the_config(copy: Path, fields: dict[str, object], reason: str) -> None:
    """A field that cannot be used is named, and the file that it is in."""
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | fields))
    assert reason in refusal(copy)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_pointers_of_git_lfs(copy: Path, name: str) -> None:
    """A file that Git LFS has not fetched is named as such."""
    (copy / name).write_text(POINTER)
    assert refusal(copy).endswith(
        f"{name} is a Git LFS pointer and not the file itself; fetch it with git lfs pull in its repository"
    )


def test_config_with_code_of_its_own(copy: Path) -> None:
    """A checkpoint whose configuration is Python code is refused, and the code is not run."""
    config = json.loads((copy / "config.json").read_text())
    own = {"model_type": "own", "auto_map": {"AutoConfig": "code.Own"}}
    (copy / "config.json").write_text(json.dumps(config | own))
    (copy / "code.py").write_text("raise SystemExit('this code ran')")
    assert "cannot be loaded" in refusal(copy)


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        (lambda: GPT2Model(GPT2Config(n_layer=1, n_embd=8, n_head=1, vocab_size=97)), "gpt2"),
        (lambda: ViTModel(ViTConfig(num_hidden_layers=1, hidden_size=8, num_attention_heads=1)), "vit"),
    ],
)
def test_no_text_encoder(copy: Path, model: object, kind: str) -> None:
    """Decoders and vision models are refused by what they are."""
    model().save_pretrained(copy)  # type: ignore[operator]
    assert f"is no text encoder but '{kind}'" in refusal(copy)


@pytest.mark.parametrize(
    "kind",
    [
        *(
            "big_bird",
            "convbert",
            "fnet",
            "funnel",
            "ibert",
            "longformer",
            "mra",
            "nystromformer",
            "squeezebert",
            "yoso",
        ),
    ],
)
def test_types_that_cannot_be_exported(copy: Path, kind: str) -> None:
    """Encoders which export does not take are refused before they are trained."""
    AutoConfig.for_model(kind).save_pretrained(copy)
    assert f"is of the type '{kind}', which export does not take" in refusal(copy)


def test_answers_that_depend_on_padding(tiny: Path) -> None:
    """A model that answers a text otherwise beside a longer one is refused, and so is one that does not run."""
    base = find_base(str(tiny))
    tokenizer = load_tokenizer(base, "single_label", "right")
    require_answers(base, load_model(base, "single_label", ["a", "b"]), tokenizer)
    mixing = tiny_model("convbert", embedding_size=16, vocab_size=97)
    with pytest.raises(UserError, match=r"its answers depend on the padding of a batch, by .* in a logit"):
        require_answers(base, mixing, tokenizer)
    with pytest.raises(UserError, match=r"^--model tiny-bert cannot be loaded: [^\n]+$"):
        require_answers(base, tiny_model("roberta", vocab_size=97, pad_token_id=None), tokenizer)


def test_max_length_beyond_the_position_table(tiny: Path) -> None:
    """The tiny checkpoint has 64 positions."""
    base = find_base(str(tiny))
    model = load_model(base, "single_label", ["a", "b"])
    require_tables(base, model, 97, 64)
    with pytest.raises(UserError, match="--max-length 65 is more than the 64 positions of tiny-bert"):
        require_tables(base, model, 97, 65)
    with pytest.raises(UserError, match="more tokens than the model"):
        require_tables(base, model, 98, 64)


def test_roberta_positions_start_after_padding() -> None:
    """Two of the 66 rows of a RoBERTa table are never used by tokens."""
    config = RobertaConfig(
        num_hidden_layers=1, hidden_size=8, num_attention_heads=1, max_position_embeddings=66, pad_token_id=1
    )
    assert position_limit(RobertaForSequenceClassification(config)) == 64


def test_head_and_labels(tiny: Path) -> None:
    """The loaded model has a head for the labels, their names, and float32 weights."""
    model: PreTrainedModel = load_model(find_base(str(tiny)), "single_label", ["no", "yes", "maybe"])
    assert model.config.id2label == {0: "no", 1: "yes", 2: "maybe"}
    assert model.config.problem_type == "single_label_classification"
    assert {str(parameter.dtype) for parameter in model.parameters()} == {"torch.float32"}
    assert model.classifier.out_features == 3  # type: ignore[union-attr]


def test_encoder_weights_are_kept(tiny: Path) -> None:
    """The encoder's tensors are those of the checkpoint."""
    before, after = AutoModel.from_pretrained(tiny), load_model(find_base(str(tiny)), "single_label", ["a", "b"])
    name = "encoder.layer.1.output.dense.weight"
    assert after.base_model.state_dict()[name].equal(before.state_dict()[name])


@pytest.mark.parametrize(("content", "message"), [("[]", "is not a JSON object"), ("{", "is not JSON")])
def test_config_that_is_no_object(copy: Path, content: str, message: str) -> None:
    """A config.json of another kind is one line."""
    (copy / "config.json").write_text(content)
    assert message in refusal(copy)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("auto_map", {"AutoModel": "code.Own"}),
        ("custom_pipelines", {"own": {"impl": "code.Own"}}),
        ("_attn_implementation_internal", "org/kernel"),
    ],
)
def test_fields_that_name_code_are_not_passed_on(copy: Path, tmp_path: Path, field: str, value: object) -> None:
    """The code is not run, also where the model is, and the saved configuration does not name it."""
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {field: value}))
    (copy / "code.py").write_text("raise SystemExit('this code ran')")
    model = load_model(find_base(str(copy)), "single_label", ["a", "b"])
    model.save_pretrained(tmp_path / "saved")
    assert field not in json.loads((tmp_path / "saved" / "config.json").read_text())
    assert model(torch.tensor([[2, 3]])).logits.shape == (1, 2)


@pytest.mark.parametrize(
    ("task", "problem", "head"),
    [
        ("multi_label", "multi_label_classification", "BertForSequenceClassification"),
        ("regression", "regression", "BertForSequenceClassification"),
        ("token_classification", None, "BertForTokenClassification"),
    ],
)
def test_head_of_each_task(tiny: Path, task: Task, problem: str | None, head: str) -> None:
    """Each task has its head and its problem type."""
    labels = ["label"] if task == "regression" else ["O", "B-x"]
    model = load_model(find_base(str(tiny)), task, labels)
    assert (model.config.problem_type, type(model).__name__) == (problem, head)
    assert model.config.id2label == dict(enumerate(labels))
