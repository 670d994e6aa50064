"""Which batches a model runs before it takes traffic."""

from bertwire_server.model.queue import BatchLimits

# The shortest text that a model reads: two special tokens and one more.
SHORTEST_TOKENS = 3


def warm_up_shapes(limits: BatchLimits, max_length: int) -> list[list[int]]:
    """Batches to run at warm-up, each the token counts of its texts.

    A model's first runs are slow: threads start, and ONNX Runtime takes the memory that a batch needs and keeps it. So
    each kind of batch that the limits allow comes once, at its largest. They are few, since large ones take seconds.
    The smallest comes first, so that a bundle that cannot answer at all is refused soon.

    Args:
        limits: what a batch may hold.
        max_length: most tokens of a text.

    Returns:
        one short text, as an idle server gets it;
        one text of the greatest length;
        a short and a long text, where a padded graph has the most filler, and a packed one its groups apart;
        as many short texts as the limits allow, the most rows;
        a length of every size from short to the greatest, as mixed traffic has them;
        as many of the greatest length as the limits allow, the most tokens and so the most memory.
        Batches that come out alike come once.
    """

    def filled(length: int) -> list[int]:
        return [length] * max(1, min(limits.texts, limits.tokens // length))

    largest = filled(max_length)
    count = min(limits.texts, max(1, limits.tokens // max_length))
    steps = max(1, count - 1)
    mixed = [SHORTEST_TOKENS + (max_length - SHORTEST_TOKENS) * step // steps for step in range(count)]
    shapes = [[SHORTEST_TOKENS], [max_length], [SHORTEST_TOKENS, max_length], filled(SHORTEST_TOKENS), mixed, largest]
    if limits.texts < 2 or 2 * max_length > limits.tokens:
        shapes.remove([SHORTEST_TOKENS, max_length])
    unique: list[list[int]] = []
    for shape in shapes:
        if shape not in unique:
            unique.append(shape)
    return unique
