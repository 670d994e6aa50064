"""Building of verified, warmed-up models from bundles, on a thread of its own."""

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from bertwire_core.errors import UserError
from bertwire_runtime.bundle import Bundle, BundleError, open_bundle
from bertwire_server.model.model import Model
from bertwire_server.repository.folder import Found
from bertwire_server.repository.leases import free
from bertwire_server.threads import BEHIND, worker

T = TypeVar("T")


class Loader:
    """Opens, verifies and loads bundles one at a time; `public_key`, if any, must have signed them."""

    def __init__(self, public_key: Path | None, build: Callable[[Bundle], Model]) -> None:
        self._public_key, self._build = public_key, build
        self._worker = worker("loader", BEHIND)

    async def open(self, found: Found) -> Bundle:
        """Open and verify a bundle.

        Raises:
            UserError: it is altered, not signed, or named differently from its folders.
        """
        if found.bundle is not None:
            return found.bundle
        bundle = await self._run(open_bundle, found.path, self._public_key)
        manifest = bundle.manifest
        if (manifest.name, manifest.version) != found.key:
            raise BundleError(
                f"{found.path}: the bundle is {manifest.name} version {manifest.version}; give its folders these names"
            )
        return bundle

    async def load(self, bundle: Bundle) -> Model:
        """Load and warm up a model; raise `UserError` where that fails."""
        model = await self._run(self._build, bundle)
        try:
            await self._run(model.warm_up)
        except Exception:
            await free(model)
            raise
        return model

    async def _run(self, work: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._worker, work, *arguments)

    def shown(self, error: Exception, path: Path) -> str:
        """Return the reason of a refusal for clients: one line without local paths."""
        if not isinstance(error, UserError):
            return "the bundle cannot be loaded; the server's log has the cause"
        reason = str(error).replace(f"{path}: ", "").replace(f"{path}/", "")
        # Only whole words: the folder `models` must not match in `models.toml`.
        reason = re.sub(rf"(?<![\w/]){re.escape(str(path))}(?![\w/.])", "the folder", reason)
        return reason if self._public_key is None else reason.replace(str(self._public_key), "the public key")
