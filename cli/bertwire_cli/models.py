"""The commands `bertwire models list`, `load`, `unload` and `reload`."""

from collections.abc import Sequence
from dataclasses import asdict

from pydantic import Field
from rich.table import Table
from rich.text import Text

from bertwire_client.admin import DEFAULT_LOAD_TIMEOUT, Admin
from bertwire_client.connection import ConnectionConfig
from bertwire_client.replies import ModelInfo
from bertwire_core.console import err, out, print_json
from bertwire_core.errors import UserError
from bertwire_core.options import argument, command

# The reason of a model that was unloaded on request.
_BY_HAND = "unloaded"


class ServerConfig(ConnectionConfig):
    """Settings of the commands for all models of a server."""

    address: str = argument("The server's host:port, or unix:PATH.")
    timeout: float = Field(DEFAULT_LOAD_TIMEOUT, gt=0, le=86_400, description="Seconds that the server may take.")
    as_json: bool = Field(False, description="Print JSON, for programs.", json_schema_extra={"flag": "--json"})

    def admin(self) -> Admin:
        """Return the client."""
        return Admin(self.address, timeout=self.timeout, **self.credentials())


class ModelConfig(ServerConfig):
    """Settings of the commands for one model."""

    model: str = argument("The model's name in the repository.")
    model_version: str = Field("", description="One version of it; default: all of them.")


def run_list(config: ServerConfig) -> None:
    """List the models that can be asked."""
    with config.admin() as admin:
        _show(admin.list_models(), as_json=config.as_json)


def run_load(config: ModelConfig) -> None:
    """Load what the repository holds of a model.

    Ends once that takes the traffic. Where a bundle cannot be served, what was served before goes on.
    """
    with config.admin() as admin, err.status(f"Loading {config.model}"):
        models = admin.load(config.model, config.model_version)
    _show(models, as_json=config.as_json)


def run_unload(config: ModelConfig) -> None:
    """Take a model, or one version of it, out of service.

    Calls that it has are answered. Shows what is left.
    """
    with config.admin() as admin, err.status(f"Unloading {config.model}"):
        admin.unload(config.model, config.model_version)
        models = admin.list_models()
    _show(models, as_json=config.as_json)


def run_reload(config: ServerConfig) -> None:
    """Look at the whole repository again.

    Loads what is new or changed, and unloads what has gone. Ends with status 1 where something was refused; what was
    served before goes on.
    """
    with config.admin() as admin, err.status("Reloading"):
        models = admin.reload()
    _show(models, as_json=config.as_json)
    if refused := [f"{each.name} {each.version}" for each in models if each.reason and each.reason != _BY_HAND]:
        raise UserError(f"refused: {', '.join(refused)}; see the reasons, mend or remove them, and reload")


def _show(models: Sequence[ModelInfo], *, as_json: bool) -> None:
    if as_json:
        print_json([asdict(model) for model in models], indent=2)
        return
    table = Table()
    for name in ("model", "version", "state", "task", "variant", "provider"):
        table.add_column(name, overflow="fold")
    for each in models:
        names = [each.version, *each.aliases, *(["default"] if each.default else [])]
        cells = (each.name, ", ".join(names), each.state, each.task, each.variant, each.provider)
        # As `Text`, so that rich does not parse square brackets as markup.
        table.add_row(*map(Text, cells))
    out.print(table)
    # Below the table, whose narrow columns would break it up.
    for each in models:
        unproven = "its bundle has no probe: not proven on this machine" if each.variant and not each.proven else ""
        for note in filter(None, (each.reason, each.fallback_reason, unproven)):
            out.print(f"{each.name} {each.version}: {note}", highlight=False, markup=False, soft_wrap=True)


models = {
    "list": command(ServerConfig, run_list),
    "load": command(ModelConfig, run_load),
    "unload": command(ModelConfig, run_unload),
    "reload": command(ServerConfig, run_reload),
}
