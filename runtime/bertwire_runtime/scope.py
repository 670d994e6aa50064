"""Read when a bundle's model abstains."""

from bertwire_core.scope import Scope, read_centroids
from bertwire_runtime.bundle import Bundle, BundleError


def read_scope(bundle: Bundle) -> Scope | None:
    """Return when the model abstains; None where it never does. Raise `BundleError` for a faulty file."""
    abstention = bundle.manifest.abstention
    if abstention is None:
        return None
    try:
        centroids = read_centroids(bundle.read(abstention.file))
    except ValueError as error:
        raise BundleError(f"{bundle.path}: {abstention.file.name} {error}; export it again") from None
    return Scope(centroids, abstention.entropy_weight, abstention.threshold)
