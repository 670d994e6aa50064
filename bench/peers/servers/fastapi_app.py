"""FastAPI: each call runs the model for its one text."""

import os

import uvicorn
from common import Model
from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()
model = Model()


class Asked(BaseModel):
    """A call."""

    text: str


@app.post("/inference")
async def classify(asked: Asked) -> dict[str, object]:
    """Answer in the event loop: threads would only take the one core from one another."""
    label, score = model.classify([asked.text])[0]
    return {"label": label, "score": score}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ["PEER_PORT"]), log_level="warning", access_log=False)
