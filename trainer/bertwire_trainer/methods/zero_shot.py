"""Zero-shot classification: a text is of the label whose description it is most similar to; nothing is trained."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, field_validator

from bertwire_core.files import unicode_name
from bertwire_core.pooling import Pooling
from bertwire_trainer.descriptions import read_descriptions
from bertwire_trainer.method import Fitted, Job
from bertwire_trainer.methods.classes import WITH_CLASSES, ClassOptions

if TYPE_CHECKING:
    from bertwire_core.pooled import PooledClassifier

_PLACE = "{}"


class ZeroShotOptions(ClassOptions):
    """What stands for each label."""

    method = "zero-shot"

    label_descriptions: Path | None = Field(
        None,
        description="What each label means: a JSON object from labels to descriptions, or a table with the columns "
        "label and description. Labels that train lacks become labels of the model. A label without a description is "
        "described by its name.",
    )
    label_template: str = Field(
        _PLACE,
        description="Text around the name of a label without a description, such as 'This text is about {}.'; in the "
        "name spaces replace _.",
    )

    @field_validator("label_template")
    @classmethod
    def _has_place(cls, value: str) -> str:
        if value.count(_PLACE) != 1:
            raise ValueError(f"it must have {_PLACE} once, where the name of the label goes")
        return value

    def labels(self) -> list[str]:
        """Return the labels that have a description."""
        return list(self._described())

    def texts(self, labels: list[str]) -> list[str]:
        """Return the text that stands for each of `labels`."""
        described = self._described()
        return [described.get(each) or self.label_template.replace(_PLACE, each.replace("_", " ")) for each in labels]

    def recorded(self) -> dict[str, Any]:
        """Return the options; of the file its name and the SHA-256 of its bytes."""
        recorded = super().recorded()
        if (path := self.label_descriptions) is not None:
            sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
            recorded["label_descriptions"] = {"source": unicode_name(path), "sha256": sha256}
        return recorded

    def _described(self) -> dict[str, str]:
        return {} if self.label_descriptions is None else read_descriptions(self.label_descriptions)


class ZeroShot:
    """Compare the embedding of a text with those of the labels' descriptions; dev fits the scale of the logits."""

    Options = ZeroShotOptions
    tasks = WITH_CLASSES
    pooling: Pooling | None = Pooling("mean", normalize=True)

    def fit(self, job: Job, options: ZeroShotOptions) -> Fitted:
        """Embed the description of each label as a row of the linear layer."""
        import numpy
        import torch

        from bertwire_core.vectors import normalized
        from bertwire_data.labelled import Labelled
        from bertwire_trainer.cosine import set_cosine_head
        from bertwire_trainer.predict import embed
        from bertwire_trainer.tokens import tokenize

        model: PooledClassifier = job.model  # type: ignore[assignment]  # a method with a pooling gets this one
        model.to("cuda" if torch.cuda.is_available() else "cpu")
        labels = job.data.labels
        described = Labelled("labels", job.data.task, options.texts(labels), labels, [*range(1, len(labels) + 1)])
        tokens = tokenize(model, job.tokenizer, described, numpy.arange(len(labels)))
        (vectors,) = embed(model, job.tokenizer, tokens, "embed labels")
        scale = set_cosine_head(job, model, normalized(vectors))
        return Fitted(model.to("cpu"), job.tokenizer, None, chosen={"scale": scale})
