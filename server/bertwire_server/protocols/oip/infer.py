"""ModelInfer."""

from functools import partial
from time import perf_counter

from bertwire.oip.inference_pb2 import ModelInferRequest, ModelInferResponse
from bertwire_server.errors import RequestError
from bertwire_server.inference import Answered, Inference
from bertwire_server.protocols.catalog import Catalog
from bertwire_server.protocols.deadlines import within
from bertwire_server.protocols.oip.outputs import Outputs, asked, require_outputs
from bertwire_server.protocols.oip.parameters import priority, timeout
from bertwire_server.protocols.oip.statistics import Statistics
from bertwire_server.protocols.oip.tensors import Texts, read_texts
from bertwire_server.query import Priority, Query


class Inferrer:
    """Answers requests and counts them."""

    def __init__(
        self, inference: Inference, catalog: Catalog, statistics: Statistics, *, allow_timeout_override: bool
    ) -> None:
        self._inference, self._catalog, self._statistics = inference, catalog, statistics
        self._allow_timeout_override = allow_timeout_override

    async def infer(self, request: ModelInferRequest, until: float | None) -> ModelInferResponse:
        """Answer one request by the deadline `until` on the clock of `time.perf_counter`; None for none.

        Raises:
            RequestError: the request failed; the subclass says how.
        """
        start = perf_counter()
        try:
            microseconds = timeout(request.parameters) if self._allow_timeout_override else 0
            if not microseconds:
                return await self._answer(request, start, until)
            what = f"timeout of {microseconds} microseconds"
            return await within(microseconds / 1e6, what, until, partial(self._answer, request, start))
        except Exception:
            self._count_failure(request, start)
            raise

    async def _answer(self, request: ModelInferRequest, start: float, until: float | None) -> ModelInferResponse:
        names = asked(request)
        texts = read_texts(request, self._inference.check_count)
        answered = await self._inference.predict(_query(request, texts, until), partial(require_outputs, names))
        answer_start = perf_counter()
        response = await _response(request, texts, answered, names)
        end = perf_counter()
        self._statistics.succeeded(answered, end - start, end - answer_start)
        return response

    def _count_failure(self, request: ModelInferRequest, start: float) -> None:
        try:
            with self._catalog.lease(request.model_name, request.model_version) as model:
                self._statistics.failed(model, perf_counter() - start)
        except RequestError:
            return  # no model to count it for


def _query(request: ModelInferRequest, texts: Texts, until: float | None) -> Query:
    return Query(
        texts=texts.texts,
        model=request.model_name,
        version=request.model_version,
        priority=priority(request.parameters) if request.parameters else Priority.NORMAL,
        deadline=until,
    )


async def _response(
    request: ModelInferRequest, texts: Texts, answered: Answered, names: dict[str, int]
) -> ModelInferResponse:
    manifest = answered.model.manifest
    response = ModelInferResponse(model_name=manifest.name, model_version=manifest.version, id=request.id)
    await Outputs(response, manifest, answered.predictions, texts.rank, raw=texts.raw).add(names)
    return response
