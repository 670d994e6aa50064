"""The `bertwire.v1.Classifier` service: converts, asks, converts. What it promises stands in `classifier.proto`."""

import grpc.aio

from bertwire.v1.classifier_pb2 import ClassifyRequest, ClassifyResponse
from bertwire.v1.classifier_pb2_grpc import ClassifierServicer
from bertwire_server.inference import Inference
from bertwire_server.protocols.messages import deadline, query, response


class Classifier(ClassifierServicer):
    """Answers over gRPC."""

    def __init__(self, inference: Inference) -> None:
        self._inference = inference

    async def Classify(  # noqa: N802 - the protocol's name
        self, request: ClassifyRequest, context: grpc.aio.ServicerContext[ClassifyRequest, ClassifyResponse]
    ) -> ClassifyResponse:
        """Classifies the texts of one call."""
        self._inference.check_count(len(request.texts))
        answered = await self._inference.predict(query(request, deadline(context)))
        return await response(answered.model.manifest, answered.predictions, request)
