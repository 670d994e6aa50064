"""The options of pruning."""

from pydantic import Field

from bertwire_core.errors import UserError
from bertwire_trainer.stage import StageOptions


class PruneOptions(StageOptions):
    """How much of the encoder stays."""

    prune: bool = Field(False, description="Remove layers or feed-forward neurons of the encoder before it is trained.")
    prune_layers: int | None = Field(None, ge=1, description="Layers of the encoder to keep: the first ones.")
    prune_width: float | None = Field(
        None, gt=0, lt=1, description="Share of the feed-forward neurons of each layer to keep: those that say most."
    )

    def require_complete(self) -> None:
        """Raise `UserError` where nothing is to be removed."""
        if self.prune_layers is None and self.prune_width is None:
            raise UserError("--prune needs --prune-layers or --prune-width")
