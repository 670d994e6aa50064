"""What an encoder learns from an episode."""

from torch import Tensor, nn

from bertwire_core.pooled import PooledClassifier

# Logits for a cosine of 1 within episodes, as in sentence-transformers' losses over a batch. Halved, the loss stays
# high where classes are told apart already, and keeps on pushing them.
_SCALE = 20.0


class EpisodeLoss(nn.Module):
    """The loss of an episode (Snell et al. 2017, arXiv 1703.05175), with cosines in place of distances."""

    def __init__(self, model: PooledClassifier) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        way: Tensor,
        query: Tensor,
        token_type_ids: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Return the `loss`, a scalar: how well the mean of each class's shots recognizes the queries.

        Args:
            input_ids: int64 [texts, tokens].
            attention_mask: int64 [texts, tokens].
            way: number of the class of each text, int64 [texts].
            query: whether a text is to be recognized, bool [texts].
            token_type_ids: int64 [texts, tokens], for models that read them.
        """
        encoded = self.model.encode(input_ids, attention_mask, token_type_ids)
        vectors = self.model.read(encoded, attention_mask).float()
        sums = vectors.new_zeros(int(way.max()) + 1, vectors.shape[1]).index_add(0, way[~query], vectors[~query])
        prototypes = nn.functional.normalize(sums, dim=-1)
        # No matrix product, which mixed precision would round to the 8 bits of bf16.
        cosines = (vectors[query][:, None] * prototypes).sum(dim=-1)
        return {"loss": nn.functional.cross_entropy(_SCALE * cosines, way[query])}
