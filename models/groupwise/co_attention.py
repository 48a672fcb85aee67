"""Messages between the images of a group by bilinear co-attention (Eqs. 4, 5 and 7)."""

import torch
from torch import nn

from models.groupwise.attention import attend_alike
from models.groupwise.config import CoAttentionForm, Similarity


class CoAttention(nn.Module):
    """Sends each node the others' features, position by position where they are most alike.

    With W = P Q^T of rank C / d, `e_ij = g_i W g_j^T` and `m_ji = softmax_rows(e_ij) g_j`. The paper prints Q as
    C/d x C and uses Q^T, which does not fit g_j; both are C x C/d here. `similarity` and `average` as in
    `models.groupwise.config`.

    Shapes:
        nodes_GKNC: groups, images, positions, channels.
        returns: `[G, K, N, C]`, for each image the sum over all others, or their mean.
    """

    def __init__(
        self,
        channels: int,
        reduction: int,
        form: CoAttentionForm,
        *,
        gate: bool = False,
        similarity: Similarity = "product",
        average: bool = False,
    ) -> None:
        super().__init__()
        width = max(channels // reduction, 1)
        self.form, self.similarity, self.average = form, similarity, average
        self.P = nn.Linear(channels, width, bias=False)
        self.Q = nn.Linear(channels, width, bias=False)
        self.gate = nn.Linear(channels, 1, bias=False) if gate else None

    def forward(self, nodes_GKNC: torch.Tensor, present_GK: torch.Tensor) -> torch.Tensor:
        """Returns the sum, or the mean, of the messages from all other images that are present."""
        total_GKNC = torch.zeros_like(nodes_GKNC)
        p, q = self.P(nodes_GKNC), self.Q(nodes_GKNC)
        for shift in range(1, nodes_GKNC.shape[1]):
            # Image i hears image i + shift, for all i at once.
            query, key = self._edge(p, q, shift)
            source_GKNC = nodes_GKNC.roll(-shift, dims=1)
            flat = attend_alike(query.flatten(0, 1), key.flatten(0, 1), source_GKNC.flatten(0, 1), self.similarity)
            message_GKNC = flat.view_as(nodes_GKNC)
            if self.gate is not None:
                message_GKNC = message_GKNC * torch.sigmoid(self.gate(message_GKNC))
            total_GKNC = total_GKNC + message_GKNC * present_GK.roll(-shift, dims=1)[..., None, None]
        if not self.average:
            return total_GKNC
        num_others_GK = present_GK.sum(dim=1, keepdim=True) - present_GK.long()
        return total_GKNC / num_others_GK.clamp(min=1)[..., None, None]

    def _edge(self, p: torch.Tensor, q: torch.Tensor, shift: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns queries and keys whose products are `e_ij`, with j = i + shift around the group."""
        source_p, source_q = p.roll(-shift, dims=1), q.roll(-shift, dims=1)
        if self.form == "directed":
            return p, source_q
        if self.form == "symmetric":
            return torch.cat([p, q], dim=-1) / 2, torch.cat([source_q, source_p], dim=-1)
        size = p.shape[1]
        comes_first = (torch.arange(size, device=p.device) + shift < size)[:, None, None]
        return torch.where(comes_first, p, q), torch.where(comes_first, source_q, source_p)
