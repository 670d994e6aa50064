"""Identity of an authenticated caller, and the scope that each method requires."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

INFER, ADMIN = "infer", "admin"
SCOPES = frozenset({INFER, ADMIN})

# Health checks, also of the Open Inference Protocol, need no credential. Health.List is none of them: it tells the
# names of all models.
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
    """Limits of one client.

    Attributes:
        rate: calls per second; 0 for no limit.
        burst: size of the token bucket, in calls; at least 1 where there is a rate.
        concurrency: calls in flight; 0 for no limit.
    """

    rate: float = 0.0
    burst: float = 0.0
    concurrency: int = 0


@dataclass(frozen=True, slots=True)
class Identity:
    """An authenticated caller.

    Attributes:
        client: its name.
        scopes: a subset of `SCOPES`.
        limits: of the client.
    """

    client: str
    scopes: frozenset[str]
    limits: Limits


# Entries; a server has some thirty methods. Unbounded, callers could fill the memory with names of methods.
@lru_cache(maxsize=256)
def required_scope(method: str) -> str | None:
    """Return the scope that a method requires, by its full gRPC name; None where it requires no credential."""
    if method.startswith(_OPEN):
        return None
    return ADMIN if method.startswith(_ADMIN) else INFER


def parse_scopes(given: Iterable[str]) -> frozenset[str]:
    """Parse scopes, given one by one or separated by commas.

    Raises:
        ValueError: a scope is unknown or empty.
    """
    scopes = frozenset(scope.strip() for each in given for scope in each.split(","))
    if unknown := scopes - SCOPES:
        raise ValueError(f"unknown scope {min(unknown)!r}; give infer, admin, or both separated by a comma")
    return scopes
