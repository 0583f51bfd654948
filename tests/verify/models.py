"""Small models with and without leaks, for the tests of verification."""

import torch
from torch import nn
from torch.nn import functional as F


class Embedded(nn.Module):
    """Token ids -> embedding -> ``mix`` -> features."""

    def __init__(self, vocabulary=40, dim=16):
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(vocabulary, dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, ids):
        return self.proj(self.mix(self.embed(ids)))


class Attends(Embedded):
    """One attention layer under ``visible(length)``, with everything that can go wrong as a subclass."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.qkv = nn.Linear(16, 48)

    def visible(self, length):
        return torch.ones(length, length, dtype=torch.bool).tril()

    def mix(self, x):
        q, k, v = self.qkv(x).chunk(3, -1)
        return (
            x
            + F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None], attn_mask=self.visible(x.shape[1]))[
                :, 0
            ]
        )


class Unmasked(Attends):
    def visible(self, length):
        return torch.ones(length, length, dtype=torch.bool)


class OneAhead(Attends):
    def visible(self, length):
        return torch.ones(length, length, dtype=torch.bool).tril(1)


class ZeroGate(Unmasked):
    """The leak is behind a gate that is zero at the start of training."""

    def __init__(self):
        super().__init__()
        self.gate = nn.Parameter(torch.zeros(1))

    def mix(self, x):
        return x + self.gate * super().mix(x)


class Detached(Embedded):
    """A mean over time that gradients do not see."""

    def mix(self, x):
        return x + x.mean(1, keepdim=True).detach()


class BehindNorm(Unmasked):
    """The sum of the outputs is constant: a cotangent of ones would see nothing."""

    def forward(self, ids):
        return F.layer_norm(self.mix(self.embed(ids)), (16,))


class WeakFill(Attends):
    """Adds -10 instead of hiding."""

    def mix(self, x):
        q, k, v = self.qkv(x).chunk(3, -1)
        bias = torch.full((x.shape[1], x.shape[1]), -10.0).triu(1)
        return x + torch.softmax(q @ k.mT / 4 + bias, -1) @ v


class TopToken(Embedded):
    """Expert-choice routing: the token with the largest score in the whole sequence is treated otherwise."""

    def mix(self, x):
        best = x[..., 0].argmax(1)
        chosen = F.one_hot(best, x.shape[1])[..., None]
        return torch.where(chosen.bool(), -x, x)


class FFTConvolution(Embedded):
    """Causal up to rounding: a zero-padded convolution in the frequency domain."""

    def mix(self, x):
        length = x.shape[1]
        kernel = 2.0 ** -torch.arange(length, dtype=x.dtype)[:, None].expand(length, x.shape[2])
        product = torch.fft.rfft(x, 2 * length, dim=1) * torch.fft.rfft(kernel, 2 * length, dim=0)
        return torch.fft.irfft(product, 2 * length, dim=1)[:, :length]


class Constant(Embedded):
    def mix(self, x):
        return torch.zeros_like(x)


class Noisy(Attends):
    """Adds noise, of the generator that everybody uses or of one of its own."""

    def __init__(self, own=False):
        super().__init__()
        self.own = own

    def mix(self, x):
        generator = GENERATOR if self.own else None
        return super().mix(x) + torch.rand(x.shape, generator=generator)


GENERATOR = torch.Generator()


class TwoStage(nn.Module):
    """An honest layer, then a leaking one, by name."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(40, 16)
        self.honest = MixesWith(1)
        self.leaking = MixesWith(2)

    def forward(self, ids):
        return self.leaking(self.honest(self.embed(ids)))


class MixesWith(nn.Module):
    def __init__(self, diagonal):
        super().__init__()
        self.diagonal = diagonal
        self.value = nn.Linear(16, 16)

    def forward(self, x):
        hidden = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(self.diagonal)
        return (
            x + F.scaled_dot_product_attention(x[:, None], x[:, None], self.value(x)[:, None], attn_mask=~hidden)[:, 0]
        )


class Padded(Attends):
    """An encoder with an attention_mask; ``honours`` says whether it is used."""

    def __init__(self, honours=True, causal=False):
        super().__init__()
        self.honours = honours
        self.causal = causal

    def forward(self, input_ids, attention_mask=None):
        x = self.embed(input_ids)
        q, k, v = self.qkv(x).chunk(3, -1)
        length = x.shape[1]
        visible = torch.ones(length, length, dtype=torch.bool)
        visible = visible.tril()[None] if self.causal else visible[None]
        if attention_mask is not None and self.honours:
            visible = visible & attention_mask[:, None, :].bool()
        return x + F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None], attn_mask=visible[:, None])[:, 0]
