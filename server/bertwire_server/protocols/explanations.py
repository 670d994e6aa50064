"""Conversion between messages of `Explain` and what they mean."""

from bertwire.v1 import classifier_pb2 as pb
from bertwire_server.explain import Explained
from bertwire_server.protocols.messages import priority, truncation
from bertwire_server.query import Query


def explain_query(request: pb.ExplainRequest, until: float | None) -> Query:
    """Return the query of a request's text; raise `InvalidRequest` where it is invalid."""
    return Query(
        texts=[(request.text, request.text_pair) if request.HasField("text_pair") else request.text],
        model=request.model,
        version=request.model_version,
        priority=priority(request.priority),
        deadline=until,
        truncation=truncation(request.truncation),
    )


def explain_response(explained: Explained) -> pb.ExplainResponse:
    """Return the response of an explained text."""
    manifest, label, whole = explained.manifest, explained.label, explained.whole.output
    logit, score = float(whole.logits[label]), float(whole.scores[label])
    response = pb.ExplainResponse(
        model=manifest.name,
        model_version=manifest.version,
        label=manifest.labels[label],
        logit=logit,
        score=score,
        truncated=whole.truncated,
        rules=whole.rules,
    )
    for part, prediction in explained.parts:
        output = prediction.output
        response.spans.add(
            start=part.start,
            end=part.end,
            in_text_pair=bool(part.text),
            logit=logit - float(output.logits[label]),
            score=score - float(output.scores[label]),
        )
    return response
