"""Command `bertwire keys new`."""

from pydantic import Field, field_validator

from bertwire_core.console import err
from bertwire_core.options import Config, command
from bertwire_server.access.identity import parse_scopes
from bertwire_server.access.keys import CLIENT_PATTERN, key_hash, new_key


class NewKeyConfig(Config):
    """Settings of `bertwire keys new`."""

    client: str = Field(pattern=CLIENT_PATTERN, description="Name of the client that will use the key.")
    scope: list[str] = Field(["infer"], description="What it may do: infer or admin; give it twice for both.")

    @field_validator("scope")
    @classmethod
    def _known(cls, scope: list[str]) -> list[str]:
        return sorted(parse_scopes(scope))


def run_new(config: NewKeyConfig) -> None:
    """Make an API key: print it to standard output, and its entry for the server's keys file to standard error.

    The key is shown this once and kept nowhere. The entry holds its hash alone.
    """
    key = new_key()
    scopes = ", ".join(f'"{each}"' for each in config.scope)
    entry = f'[[keys]]\nclient = "{config.client}"\nscopes = [{scopes}]\nsha256 = "{key_hash(key)}"'
    print(key)
    err.print(f"\n# for the file of bertwire serve --api-keys\n{entry}", markup=False, highlight=False, soft_wrap=True)


keys = {"new": command(NewKeyConfig, run_new)}
