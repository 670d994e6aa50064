"""MLServer: a runtime of one's own with adaptive batches of at most 32 calls; started by `mlserver start FOLDER`."""

from common import Model
from mlserver import MLModel
from mlserver.codecs import StringCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Classify(MLModel):
    """The model; MLServer joins the inputs of a batch to one."""

    async def load(self) -> bool:
        """Load the model."""
        self._model = Model()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Answer the calls of a batch."""
        found = self._model.classify(StringCodec.decode_input(payload.inputs[0]))
        labels = StringCodec.encode_output("label", [label for label, _ in found])
        return InferenceResponse(model_name=self.name, outputs=[labels])
