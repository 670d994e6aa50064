"""What is known of a caller once its credential was accepted, and what each method asks of it."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

INFER, ADMIN = "infer", "admin"
SCOPES = frozenset({INFER, ADMIN})

# Whoever watches over a server has to see whether it lives without a credential; the two of Triton say no more. List is
# not among them: it tells the names of all models.
_OPEN = (
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/Watch",
    "/inference.GRPCInferenceService/ServerLive",
    "/inference.GRPCInferenceService/ServerReady",
)
_ADMIN = (
    "/bertwire.v1.ModelRepository/",
    "/inference.GRPCInferenceService/RepositoryModelLoad",
    "/inference.GRPCInferenceService/RepositoryModelUnload",
    "/inference.model_repository.ModelRepositoryService/RepositoryModelLoad",
    "/inference.model_repository.ModelRepositoryService/RepositoryModelUnload",
)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one client may take.

    Attributes:
        rate: calls per second in the long run; 0 for any number.
        burst: calls at once after a rest; at least 1 where there is a rate.
        concurrency: calls in flight; 0 for any number.
    """

    rate: float = 0.0
    burst: float = 0.0
    concurrency: int = 0


@dataclass(frozen=True, slots=True)
class Identity:
    """A caller whose credential was accepted.

    Attributes:
        client: its name.
        scopes: what it may do, of `SCOPES`.
        limits: what it may take.
    """

    client: str
    scopes: frozenset[str]
    limits: Limits


# Bounded, since anyone can ask for any method; a server has some thirty.
@lru_cache(maxsize=256)
def required_scope(method: str) -> str | None:
    """The scope that a method needs, by its full gRPC name; None where it is open to all."""
    if method.startswith(_OPEN):
        return None
    return ADMIN if method.startswith(_ADMIN) else INFER


def parse_scopes(given: Iterable[str]) -> frozenset[str]:
    """Reads scopes, each given alone or several with commas between.

    Raises:
        ValueError: one is unknown, or there is none.
    """
    scopes = frozenset(scope.strip() for each in given for scope in each.split(","))
    if unknown := scopes - SCOPES:
        raise ValueError(f"unknown scope {min(unknown)!r}; give infer, admin, or both separated by a comma")
    return scopes
