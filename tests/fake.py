"""A small real gRPC server whose failures a test decides."""

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc

from bertwire.v1 import classifier_pb2 as pb
from bertwire.v1 import embedder_pb2
from bertwire.v1 import repository_pb2 as repository
from bertwire.v1.classifier_pb2_grpc import ClassifierServicer, add_ClassifierServicer_to_server
from bertwire.v1.embedder_pb2_grpc import EmbedderServicer, add_EmbedderServicer_to_server
from bertwire.v1.repository_pb2_grpc import ModelRepositoryServicer, add_ModelRepositoryServicer_to_server

Failure = tuple[grpc.StatusCode, str]


class Broken(Exception):
    """Ends a stream with a code and a message."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code


class FakeServer(ClassifierServicer, EmbedderServicer, ModelRepositoryServicer):
    """Labels a text `long` above 20 characters, else `short`, and finds texts with `bad` in them invalid.

    The vector of a text are its numbers of characters and words, a half and a quarter.

    Attributes:
        fail: called with each request; a code and a message that it gives fail the call. May wait.
        requests: all requests so far.
        embedded: all requests of `Embed` and of its streams.
        explained: all requests of `Explain`; the first fails where there is a pushback.
        metadata: what came with each call and each stream of it.
        pushback: what a failing call says of when to try again, as `grpc-retry-pushback-ms`; None: nothing.
        answer: called with each request of a stream; gives the responses to send now, and ends the stream by `Broken`.
        streamed: all requests of streams so far.
        streams: how many streams were opened.
        model: what the server says of its model; its task decides on the form of the answers.
        address: where the server listens.
        version: the model version of its replies.
    """

    def __init__(self, address: str = "localhost:0") -> None:
        self.fail: Callable[[pb.ClassifyRequest], Failure | None] = lambda _: None
        self.requests: list[pb.ClassifyRequest] = []
        self.embedded: list[embedder_pb2.EmbedRequest] = []
        self.explained: list[pb.ExplainRequest] = []
        self.metadata: list[dict[str, str | bytes]] = []
        self.pushback: str | None = None
        self.answer: Callable[[pb.ClassifyStreamRequest], Iterable[pb.ClassifyStreamResponse]] = self.answered
        self.streamed: list[pb.ClassifyStreamRequest] = []
        self.streams = 0
        self.model = pb.Model(name="fake", version="7", state=pb.MODEL_STATE_READY, task="single_label")
        self.version = "7"
        self._lock = threading.Lock()
        options = [("grpc.max_receive_message_length", 1 << 20), ("grpc.so_reuseport", 0)]
        self._server = grpc.server(ThreadPoolExecutor(16), options=options)
        add_ClassifierServicer_to_server(self, self._server)
        add_EmbedderServicer_to_server(self, self._server)
        add_ModelRepositoryServicer_to_server(self, self._server)
        self.address = f"localhost:{self._server.add_insecure_port(address)}"
        self._server.start()

    def Classify(self, request: pb.ClassifyRequest, context: grpc.ServicerContext) -> pb.ClassifyResponse:  # noqa: N802
        """Answers or fails."""
        with self._lock:
            self.requests.append(request)
            self.metadata.append(dict(context.invocation_metadata()))
        if failure := self.fail(request):
            if self.pushback is not None:
                context.set_trailing_metadata((("grpc-retry-pushback-ms", self.pushback),))
            context.abort(*failure)
        for index, text in enumerate(request.texts):
            if "bad" in text:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"text {index} is bad")
        return self._response(request)

    def Embed(  # noqa: N802
        self, request: embedder_pb2.EmbedRequest, context: grpc.ServicerContext
    ) -> embedder_pb2.EmbedResponse:
        """Answers, or fails for a bad text."""
        with self._lock:
            self.embedded.append(request)
            self.metadata.append(dict(context.invocation_metadata()))
        if any("bad" in text for text in request.texts):
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "a text is bad")
        return self._vectors(request)

    def EmbedStream(  # noqa: N802
        self, request_iterator: Iterator[embedder_pb2.EmbedStreamRequest], context: grpc.ServicerContext
    ) -> Iterator[embedder_pb2.EmbedStreamResponse]:
        """Answers each, or fails it for a bad text."""
        self.metadata.append(dict(context.invocation_metadata()))
        for each in request_iterator:
            self.embedded.append(each.request)
            if any("bad" in text for text in each.request.texts):
                failure = pb.Failure(code=grpc.StatusCode.INVALID_ARGUMENT.value[0], message="a text is bad")
                yield embedder_pb2.EmbedStreamResponse(id=each.id, failure=failure)
            else:
                yield embedder_pb2.EmbedStreamResponse(id=each.id, response=self._vectors(each.request))

    def _vectors(self, request: embedder_pb2.EmbedRequest) -> embedder_pb2.EmbedResponse:
        size = request.dimensions if request.HasField("dimensions") else 4
        found = [
            embedder_pb2.Embedding(
                values=[len(text), len(text.split()), 0.5, 0.25][:size],
                token_count=len(text),
                truncated=len(text) > 40,
                timing=pb.Timing(queue_us=1, tokenize_us=2, run_us=3),
            )
            for text in request.texts
        ]
        return embedder_pb2.EmbedResponse(model=request.model or "fake", model_version=self.version, embeddings=found)

    def Explain(self, request: pb.ExplainRequest, context: grpc.ServicerContext) -> pb.ExplainResponse:  # noqa: N802
        """Explains a text by its first character alone, once it need not fail."""
        self.explained.append(request)
        self.metadata.append(dict(context.invocation_metadata()))
        if self.pushback is not None and len(self.explained) == 1:
            context.set_trailing_metadata((("grpc-retry-pushback-ms", self.pushback),))
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "later")
        spans = [
            pb.Attribution(start=0, end=1, logit=0.5, score=0.25),
            pb.Attribution(start=2, end=4, in_text_pair=request.HasField("text_pair"), logit=-0.25, score=-0.125),
        ]
        return pb.ExplainResponse(
            model="fake",
            model_version=self.version,
            label=request.label or "long",
            logit=2,
            score=0.75,
            spans=spans,
            rules=["refund"] if "refund" in request.text else [],
        )

    def ClassifyStream(  # noqa: N802
        self, request_iterator: Iterator[pb.ClassifyStreamRequest], context: grpc.ServicerContext
    ) -> Iterator[pb.ClassifyStreamResponse]:
        """Answers as `answer` says."""
        self.streams += 1
        self.metadata.append(dict(context.invocation_metadata()))
        for request in request_iterator:
            self.streamed.append(request)
            try:
                yield from self.answer(request)
            except Broken as broken:
                if broken.code is grpc.StatusCode.OK:
                    return
                context.abort(broken.code, str(broken))

    def GetModel(self, request: pb.GetModelRequest, context: grpc.ServicerContext) -> pb.Model:  # noqa: N802
        """The model under any name, but none `x`."""
        if request.model == "x":
            context.abort(grpc.StatusCode.NOT_FOUND, f"no model {request.model!r}")
        return self.model

    def ListModels(self, request: pb.ListModelsRequest, context: grpc.ServicerContext) -> pb.ListModelsResponse:  # noqa: ARG002, N802
        """The one model."""
        return pb.ListModelsResponse(models=[self.model])

    def LoadModel(  # noqa: N802
        self, request: repository.LoadModelRequest, context: grpc.ServicerContext
    ) -> repository.LoadModelResponse:
        """The model in the version asked for; bundles of a name with `broken` in it cannot be served."""
        if "broken" in request.model:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "the seal is broken")
        self.model.version = request.model_version or self.model.version
        return repository.LoadModelResponse(models=[self.model])

    def UnloadModel(  # noqa: N802
        self, request: repository.UnloadModelRequest, context: grpc.ServicerContext
    ) -> repository.UnloadModelResponse:
        """Notes it as the model's state."""
        if request.model != self.model.name:
            context.abort(grpc.StatusCode.NOT_FOUND, f"no model {request.model!r}")
        self.model.state = pb.MODEL_STATE_UNLOADING
        return repository.UnloadModelResponse()

    def Reload(  # noqa: N802
        self,
        request: repository.ReloadRequest,  # noqa: ARG002
        context: grpc.ServicerContext,  # noqa: ARG002
    ) -> repository.ReloadResponse:
        """The one model, which cannot be served now."""
        self.model.MergeFrom(pb.Model(state=pb.MODEL_STATE_UNAVAILABLE, reason="no [file]"))
        return repository.ReloadResponse(models=[self.model])

    def answered(self, request: pb.ClassifyStreamRequest) -> list[pb.ClassifyStreamResponse]:
        """The usual response to a request of a stream."""
        return [pb.ClassifyStreamResponse(id=request.id, response=self._response(request.request))]

    def _response(self, request: pb.ClassifyRequest) -> pb.ClassifyResponse:
        results = [_result(text, request, self.model.task) for text in request.texts]
        return pb.ClassifyResponse(model=request.model or "fake", model_version=self.version, results=results)

    def stop(self) -> None:
        """Stops the server at once."""
        self._server.stop(None).wait()


def _result(text: str, request: pb.ClassifyRequest, task: str) -> pb.Result:
    labels = [("long", 0.75), ("short", 0.25)] if len(text) > 20 else [("short", 0.9), ("long", 0.1)]
    if task == "regression":
        labels = [("length", len(text) + 0.5)]
    least = request.threshold if request.HasField("threshold") else {"multi_label": 0.2}.get(task, 0.0)
    scores = [
        pb.LabelScore(label=label, score=score, predicted=score >= least and (task == "multi_label" or not place))
        for place, (label, score) in enumerate(labels)
    ]
    by_token = task == "token_classification"
    return pb.Result(
        labels=[] if by_token else scores[: request.top_k] if request.HasField("top_k") else scores,
        entities=[pb.Entity(label="WORD", start=0, end=len(text.split()[0]), score=0.5)] if by_token else [],
        logits=[1.5, -0.5] if request.logits else [],
        token_count=len(text),
        truncated=len(text) > 40,
        timing=pb.Timing(queue_us=1, tokenize_us=2, run_us=3),
    )
