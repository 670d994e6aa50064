"""Settings of the model repository."""

from pydantic import Field

from bertwire_core.options import Config


class RepositoryConfig(Config):
    """Settings of the model repository."""

    default_model: str | None = Field(
        None,
        description="Of a repository, the model that answers where a request names none; goes before models.toml. "
        "Default: the only one, if it is.",
    )
    watch_seconds: float = Field(
        0.0,
        ge=0,
        le=86_400,
        description="Look for changes of the folder so often, in seconds, and take them over; 0 waits for SIGHUP.",
    )
