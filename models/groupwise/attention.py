"""Attention of every position to every other one, in bounded memory."""

import torch
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from models.groupwise.config import Similarity

COSINE_SCALE = 10.0
"""What cosines are multiplied with before the softmax: the most alike of positions weigh e^20 times the least alike."""

MAX_LOGITS = 1 << 25
"""Logits that may exist at once: 128 MiB in float32. The fused kernels of an accelerator keep none."""


def attend(
    query_BNc: torch.Tensor,
    key_BMc: torch.Tensor,
    value_BMC: torch.Tensor,
    *,
    scale: float = 1.0,
    max_logits: int = MAX_LOGITS,
) -> torch.Tensor:
    """Returns `softmax(scale * query key^T) value`, the softmax over the M positions of each row, `[B, N, C]`.

    More than `max_logits` logits are worked on in blocks of rows, which the backward pass makes anew.
    """
    num_rows = max(1, max_logits // (len(query_BNc) * key_BMc.shape[1]))
    if num_rows >= query_BNc.shape[1]:
        return _attend(query_BNc, key_BMc, value_BMC, scale)
    blocks = [
        checkpoint(_attend, block_BRc, key_BMc, value_BMC, scale, use_reentrant=False)
        for block_BRc in torch.split(query_BNc, num_rows, dim=1)
    ]
    return torch.cat(blocks, dim=1)


def attend_alike(
    query_BNc: torch.Tensor, key_BMc: torch.Tensor, value_BMC: torch.Tensor, similarity: Similarity
) -> torch.Tensor:
    """Returns what each position hears of those most like it, as `similarity` says (`models.groupwise.config`)."""
    if similarity == "product":
        return attend(query_BNc, key_BMc, value_BMC)
    return attend(centred_unit(query_BNc), centred_unit(key_BMc), value_BMC, scale=COSINE_SCALE)


def centred_unit(rows_BNc: torch.Tensor) -> torch.Tensor:
    """Returns rows without what all positions of a map have in common, each of length 1.

    Features behind a ReLU are nearly parallel, so that the longest one wins every softmax of plain products: all
    positions then hear the same one. The product of two such rows is a cosine.
    """
    return F.normalize(rows_BNc - rows_BNc.mean(dim=1, keepdim=True), dim=-1)


def _attend(query_BNc: torch.Tensor, key_BMc: torch.Tensor, value_BMC: torch.Tensor, scale: float) -> torch.Tensor:
    # Fused kernels want four dimensions: there is one head.
    query, key, value = query_BNc[:, None], key_BMc[:, None], value_BMC[:, None]
    return F.scaled_dot_product_attention(query, key, value, scale=scale)[:, 0]
