"""mosec: one worker with dynamic batches of at most 32 calls; started with `--port PORT --address 127.0.0.1`."""

from common import MAX_BATCH, Model
from mosec import Server, Worker


class Classify(Worker):
    """The model, in a process of its own."""

    def __init__(self) -> None:
        super().__init__()
        self._model = Model()

    def forward(self, data: list[dict[str, str]]) -> list[dict[str, object]]:
        """Answer the calls of a batch."""
        found = self._model.classify([each["text"] for each in data])
        return [{"label": label, "score": score} for label, score in found]


if __name__ == "__main__":
    server = Server()
    server.append_worker(Classify, num=1, max_batch_size=MAX_BATCH)
    server.run()
