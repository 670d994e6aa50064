"""Classify texts: `python classify.py ADDRESS TEXT...`; README.md says how to make the stubs."""

import sys

import classifier_pb2
import classifier_pb2_grpc
import grpc


def main(address: str, *texts: str) -> int | str:
    """Print the best label of each text; return what went wrong, or 0."""
    with grpc.insecure_channel(address) as channel:
        stub = classifier_pb2_grpc.ClassifierStub(channel)
        request = classifier_pb2.ClassifyRequest(texts=texts, top_k=1)
        try:
            response = stub.Classify(request, timeout=5)
        except grpc.RpcError as error:
            return f"{error.code().name}: {error.details()}"
    for text, result in zip(texts, response.results, strict=True):
        print(result.labels[0].label, round(result.labels[0].score, 3), text)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
