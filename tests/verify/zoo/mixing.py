"""Mixing over time without a mask: convolutions, pooling, recurrences, norms, sums and spectra."""

import torch
from torch import nn
from torch.nn import functional as F

from tests.verify.zoo.blocks import DIM, FUTURE, VOCABULARY, Leaking, Right, Shown, ids, mean_of_all, mean_so_far, mixes


def conv(**options):
    return lambda: nn.Conv1d(DIM, DIM, 3, **options)


def along(x, layer):
    """A layer that wants (batch, dim, length)."""
    return layer(x.mT).mT


def delayed(x, layer):
    """The layer over x with two zeros before it."""
    return along(F.pad(x, (0, 0, 2, 0)), layer)


def hurried(x, layer):
    """The layer over x with two zeros behind it."""
    return along(F.pad(x, (0, 0, 0, 2)), layer)


def transposed(start):
    return lambda x, layer: along(x, layer)[:, start : start + x.shape[1]]


def strided(first):
    """Two positions become one, which is repeated for two positions from ``first`` on."""

    def mix(x, layer):
        shorter = along(F.pad(x, (0, 0, 0, x.shape[1] % 2)), layer)
        return F.pad(shorter.repeat_interleave(2, 1), (0, 0, first, 0))[:, : x.shape[1]]

    return mix


def spectrum(padded, dtype=None):
    """Convolution by FFT, of a length at which it does or does not wrap round."""

    def mix(x):
        size = x.shape[1] * (2 if padded else 1)
        kernel = 0.8 ** torch.arange(x.shape[1], dtype=dtype or x.dtype)[:, None]
        product = torch.fft.rfft(x.to(dtype or x.dtype), size, dim=1) * torch.fft.rfft(kernel, size, dim=0)
        return torch.fft.irfft(product, size, dim=1)[:, : x.shape[1]].to(x.dtype)

    return mix


def scan(x, reverse=False):
    """h[t] = 0.7 h[t - 1] + x[t]."""
    state, states = torch.zeros_like(x[:, 0]), []
    for row in (x.flip(1) if reverse else x).unbind(1):
        state = 0.7 * state + row
        states.append(state)
    out = torch.stack(states, 1)
    return out.flip(1) if reverse else out


def doubling_scan(x):
    """The same recurrence in log2(length) steps."""
    step, decay = 1, 0.7
    while step < x.shape[1]:
        x = x + decay * F.pad(x, (0, 0, step, 0))[:, : x.shape[1]]
        step, decay = 2 * step, decay * decay
    return x


def state_space(x, gate):
    """A selective state space as one matrix of products of decays (the dual form)."""
    decay = F.logsigmoid(gate(x)[..., :1]).cumsum(1)
    steps = (decay - decay.mT).masked_fill(torch.ones(x.shape[1], x.shape[1]).triu(1).bool(), -torch.inf)
    return steps.exp() @ x


def squeezed(mean):
    """Squeeze and excitation: the gate of each channel is a mean over time."""
    return lambda x, gate: x * gate(mean(x)).sigmoid()


def standardised(x):
    """Cumulative normalisation: the first row is exactly zero, whatever stands there."""
    mean = mean_so_far(x)
    return (x - mean) / ((mean_so_far(x * x) - mean * mean).clamp(min=0) + 1e-3).sqrt()


def linear_attention(total):
    """exp features; keys and values are summed over all positions, or so far."""

    def mix(x, qkv):
        q, k, v = qkv(x).tanh().chunk(3, -1)
        q, k = q.exp(), k.exp()
        outer = total(k[..., None] * v[..., None, :])
        return (q[..., None, :] @ outer)[..., 0, :] / (q * total(k)).sum(-1, keepdim=True)

    return mix


def norm_first(make):
    """A norm that takes (batch, dim, length), so that its statistics run over time."""
    return mixes(along, norm=make)


def token_mixer(triangular):
    """An MLP over the axis of time."""

    def mix(x, layer):
        weight = layer.weight[: x.shape[1], : x.shape[1]]
        return (weight.tril() if triangular else weight) @ x

    return mix


def sum_of_all(x):
    return x.sum(1, keepdim=True)


def cumulative(x):
    return x.cumsum(1)


def recurrent(x, rnn):
    return rnn(x)[0]


def both_ways(make):
    """The outputs of both directions add up to DIM."""
    return lambda: make(DIM, DIM // 2, batch_first=True, bidirectional=True)


class Normalised(nn.Module):
    """Cumulative normalisation as the last thing: row 0 is zero for every input."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, DIM)

    def forward(self, input_ids):
        return standardised(self.embed(input_ids))


CAUSAL_CONV = mixes(delayed, conv=conv())
LAYER_NORM = mixes(lambda x, norm: norm(x), norm=lambda: nn.LayerNorm(DIM))

LEAKING = [
    Leaking(
        "symmetric convolution",
        "padding on both sides",
        mixes(along, conv=conv(padding=1)),
        CAUSAL_CONV,
        module="mix.conv",
    ),
    Leaking("convolution, wrong side", "all padding stands behind", mixes(hurried, conv=conv()), CAUSAL_CONV),
    Leaking(
        "strided convolution",
        "a stride whose frames see their own second half",
        mixes(strided(0), conv=lambda: nn.Conv1d(DIM, DIM, 2, 2)),
        mixes(strided(1), conv=lambda: nn.Conv1d(DIM, DIM, 2, 2)),
    ),
    Leaking(
        "transposed convolution",
        "trimmed at the start where the end is right",
        mixes(transposed(2), conv=lambda: nn.ConvTranspose1d(DIM, DIM, 3)),
        mixes(transposed(0), conv=lambda: nn.ConvTranspose1d(DIM, DIM, 3)),
    ),
    Leaking(
        "average pooling",
        "pooling over neighbours on both sides",
        mixes(along, pool=lambda: nn.AvgPool1d(3, 1, 1)),
        mixes(delayed, pool=lambda: nn.AvgPool1d(3, 1)),
        module="mix.pool",
    ),
    Leaking(
        "maximum pooling",
        "the maximum over neighbours on both sides",
        mixes(along, pool=lambda: nn.MaxPool1d(3, 1, 1)),
        mixes(delayed, pool=lambda: nn.MaxPool1d(3, 1)),
        module="mix.pool",
    ),
    Leaking(
        "circular convolution",
        "a convolution by FFT that wraps round",
        mixes(spectrum(False)),
        mixes(spectrum(True)),
        rounding=1e-5,
    ),
    Leaking(
        "Fourier mixing",
        "the real part of the spectrum over time (FNet)",
        mixes(lambda x: torch.fft.fft(x, dim=1).real),
        mixes(cumulative),
    ),
    Leaking(
        "flip",
        "the sequence is added to itself reversed",
        mixes(lambda x: x.flip(1)),
        mixes(lambda x: x),
        pairs=((0, 9),),
    ),
    Leaking(
        "roll",
        "a shift of tokens that wraps round",
        mixes(lambda x: x.roll(1, 1)),
        mixes(lambda x: F.pad(x, (0, 0, 1, 0))[:, :-1]),
        pairs=((0, 9),),
    ),
    Leaking(
        "shift the wrong way",
        "each token is given its successor",
        mixes(lambda x: F.pad(x, (0, 0, 0, 1))[:, 1:]),
        mixes(lambda x: F.pad(x, (0, 0, 1, 0))[:, :-1]),
    ),
    Leaking(
        "bidirectional LSTM",
        "a recurrence in both directions",
        mixes(recurrent, rnn=both_ways(nn.LSTM)),
        mixes(recurrent, rnn=lambda: nn.LSTM(DIM, DIM, batch_first=True)),
        module="mix.rnn",
    ),
    Leaking(
        "bidirectional GRU",
        "a recurrence in both directions",
        mixes(recurrent, rnn=both_ways(nn.GRU)),
        mixes(recurrent, rnn=lambda: nn.GRU(DIM, DIM, batch_first=True)),
        module="mix.rnn",
    ),
    Leaking("reversed scan", "a recurrence from the right", mixes(lambda x: scan(x, reverse=True)), mixes(scan)),
    Leaking(
        "sum from the right",
        "a cumulative sum from the last token on",
        mixes(lambda x: x.flip(1).cumsum(1).flip(1)),
        mixes(cumulative),
    ),
    Leaking(
        "mean subtracted",
        "the mean of the sequence is subtracted",
        mixes(lambda x: x - mean_of_all(x)),
        mixes(lambda x: x - mean_so_far(x)),
    ),
    Leaking(
        "detached mean",
        "a mean that gradients do not see",
        mixes(lambda x: mean_of_all(x).detach()),
        mixes(lambda x: mean_so_far(x).detach()),
    ),
    Leaking(
        "detached maximum",
        "a maximum over time that gradients do not see",
        mixes(lambda x: x.detach().amax(1, keepdim=True).expand_as(x)),
        mixes(lambda x: x.detach().cummax(1).values),
        pairs=FUTURE,
    ),
    Leaking(
        "group norm",
        "statistics over channels and time",
        norm_first(lambda: nn.GroupNorm(2, DIM)),
        LAYER_NORM,
        module="mix.norm",
    ),
    Leaking(
        "instance norm",
        "statistics of each channel over time",
        norm_first(lambda: nn.InstanceNorm1d(DIM, affine=True)),
        LAYER_NORM,
        module="mix.norm",
    ),
    Leaking(
        "layer norm, wrong axis",
        "normalised over time where features are meant",
        mixes(lambda x: F.layer_norm(x.mT, x.mT.shape[-1:]).mT),
        LAYER_NORM,
    ),
    Leaking(
        "batch norm in training",
        "statistics over the batch and time, in training only",
        norm_first(lambda: nn.BatchNorm1d(DIM)),
        LAYER_NORM,
        module="mix.norm",
        shown=Shown(training=True),
    ),
    Leaking(
        "squeeze and excitation",
        "gates from a mean over time",
        mixes(squeezed(mean_of_all), gate=lambda: nn.Linear(DIM, DIM)),
        mixes(squeezed(mean_so_far), gate=lambda: nn.Linear(DIM, DIM)),
    ),
    Leaking(
        "token mixer",
        "a full matrix over time",
        mixes(token_mixer(False), layer=lambda: nn.Linear(64, 64)),
        mixes(token_mixer(True), layer=lambda: nn.Linear(64, 64)),
    ),
    Leaking(
        "linear attention of all",
        "the sum of keys and values is over all positions",
        mixes(linear_attention(sum_of_all), qkv=lambda: nn.Linear(DIM, 3 * DIM)),
        mixes(linear_attention(cumulative), qkv=lambda: nn.Linear(DIM, 3 * DIM)),
    ),
]

RIGHT = [
    Right("FFT convolution", "causal up to rounding", mixes(spectrum(True)), ids(12), rounding=1e-5),
    Right(
        "FFT in float32",
        "casts to float32 inside, so that float64 does not help",
        mixes(spectrum(True, torch.float32)),
        ids(12),
        rounding=1e-5,
    ),
    Right("causal convolution", "all padding stands before", CAUSAL_CONV, ids(11)),
    Right(
        "dilated depthwise convolution",
        "every third token, each channel alone",
        mixes(lambda x, layer: along(F.pad(x, (0, 0, 6, 0)), layer), conv=conv(dilation=3, groups=DIM)),
        ids(11),
    ),
    Right("scan", "a recurrence step by step", mixes(scan), ids()),
    Right("doubling scan", "a recurrence in log2(length) steps", mixes(doubling_scan), ids(11)),
    Right(
        "state space",
        "a selective state space in its dual form",
        mixes(state_space, gate=lambda: nn.Linear(DIM, DIM)),
        ids(),
    ),
    Right("cumulative normalisation", "the first row is constant", mixes(standardised), ids()),
    Right("nothing but cumulative normalisation", "a constant output row", Normalised, ids()),
    Right(
        "linear attention",
        "sums so far",
        mixes(linear_attention(cumulative), qkv=lambda: nn.Linear(DIM, 3 * DIM)),
        ids(),
    ),
    Right(
        "causal pooling", "the maximum of three tokens so far", mixes(delayed, pool=lambda: nn.MaxPool1d(3, 1)), ids()
    ),
    Right(
        "cumulative maximum", "a maximum so far, without gradients", mixes(lambda x: x.detach().cummax(1).values), ids()
    ),
    Right(
        "batch norm in evaluation",
        "running statistics only, also in training",
        mixes(lambda x, norm: along(x, norm.eval()), norm=lambda: nn.BatchNorm1d(DIM)),
        ids(),
    ),
    Right(
        "weight norm",
        "a convolution whose weight is computed",
        mixes(delayed, conv=lambda: nn.utils.parametrizations.weight_norm(conv()())),
        ids(),
    ),
    Right(
        "RMS norm",
        "normalised over features",
        mixes(lambda x, norm: norm(x).cumsum(1), norm=lambda: nn.RMSNorm(DIM)),
        ids(),
    ),
    Right(
        "gated unit",
        "one half opens the other",
        mixes(lambda x, up: F.glu(up(x)).cumsum(1), up=lambda: nn.Linear(DIM, 2 * DIM)),
        ids(),
    ),
]
