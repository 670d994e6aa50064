"""Makes models of bundles, in a thread of its own. What it gives back has been verified and warmed up."""

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
    """Opens, verifies and loads one bundle after the other."""

    def __init__(self, public_key: Path | None, build: Callable[[Bundle], Model]) -> None:
        """Starts a thread.

        Args:
            public_key: what bundles must be signed by; None takes any.
            build: loads a model that is not warm yet, blocking.
        """
        self._public_key, self._build = public_key, build
        self._worker = worker("loader", BEHIND)

    async def open(self, found: Found) -> Bundle:
        """Opens and verifies a bundle.

        Raises:
            UserError: it is not what was sealed, signed, or said by its folder's name.
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
        """Loads and warms up a model; raises `UserError` where that cannot be done."""
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
        """What a client may know of why a bundle was refused: one line without this machine's paths."""
        if not isinstance(error, UserError):
            return "the bundle cannot be loaded; the server's log has the cause"
        reason = str(error).replace(f"{path}: ", "").replace(f"{path}/", "")
        # Whole words: a folder given as `models` is not the beginning of `models.toml`.
        reason = re.sub(rf"(?<![\w/]){re.escape(str(path))}(?![\w/.])", "the folder", reason)
        return reason if self._public_key is None else reason.replace(str(self._public_key), "the public key")
