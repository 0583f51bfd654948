"""A small decoder with a real and common bug: one of its layers builds its mask one diagonal too high.

    attnmask audit examples.leaky_decoder:broken     finds the layer
    attnmask audit examples.leaky_decoder:repaired   finds nothing

Trained on next-token prediction, the broken one reaches a wonderful loss: at every position it can read the answer.
"""

import torch
from torch import nn
from torch.nn import functional as F


class Layer(nn.Module):
    def __init__(self, dim: int, heads: int, diagonal: int) -> None:
        super().__init__()
        self.heads = heads
        self.diagonal = diagonal
        self.norm = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        self.mlp = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def attend(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, dim = x.shape
        q, k, v = self.qkv(self.norm(x)).view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        hidden = torch.ones(length, length, dtype=torch.bool).triu(self.diagonal)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=~hidden)  # (batch, heads, length, dim / heads)
        return self.out(y.transpose(1, 2).reshape(batch, length, dim))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attend(x)
        return x + self.mlp(x)


class Decoder(nn.Module):
    def __init__(self, diagonals: tuple[int, ...], vocabulary: int = 64, dim: int = 32, heads: int = 4) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, dim)
        self.layers = nn.ModuleList(Layer(dim, heads, diagonal) for diagonal in diagonals)
        self.head = nn.Linear(dim, vocabulary)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.embed(ids)
        for layer in self.layers:
            x = layer(x)
        return self.head(x)


def broken() -> nn.Module:
    torch.manual_seed(0)
    return Decoder(diagonals=(1, 2, 1))  # triu(2) leaves the next token visible


def repaired() -> nn.Module:
    torch.manual_seed(0)
    return Decoder(diagonals=(1, 1, 1))
