"""Small models and the ways to run them, for the tests of the reference Transformer."""

import torch

from attnmask.model.transformer import Cache, Config, Transformer

SIZES = {"vocabulary": 12, "dim": 16, "heads": 4, "kv_heads": 2, "hidden": 24, "dropout": 0.0}
KINDS = {
    "encoder": {"encoder_layers": 2, "decoder_layers": 0},
    "decoder": {"encoder_layers": 0, "decoder_layers": 2},
    "both": {"encoder_layers": 2, "decoder_layers": 2},
}


def build(kind="decoder", seed=0, **changed):
    """A model in float64 whose scores are far apart, so that rounding decides nothing."""
    model = Transformer(Config(**{**SIZES, **KINDS[kind], **changed}))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.copy_(torch.randn(weight.shape, generator=generator) * (2 / weight.shape[1]) ** 0.5)
    return model.double().eval()


def tokens(*shape, seed=0, first=1):
    """Token ids; 0 is kept for padding and for the end."""
    return torch.randint(first, SIZES["vocabulary"], shape, generator=torch.Generator().manual_seed(seed))


def in_parts(model, target, chunks, **given):
    """The scores of a target that arrives in parts, through a cache."""
    cache = Cache()
    return torch.cat([model(part, cache=cache, **given) for part in target.split(chunks, dim=1)], dim=1)


class Padded(torch.nn.Module):
    """A model that is told its padding as Hugging Face's are, by 1 for a real token and 0 for a pad on either side."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask=None):
        return self.model(input_ids, **(sides(attention_mask) if attention_mask is not None else {}))


class Translates(torch.nn.Module):
    """The same for a model with an encoder and a decoder."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, decoder_input_ids, attention_mask=None, decoder_attention_mask=None):
        given = sides(decoder_attention_mask) if decoder_attention_mask is not None else {}
        source_lengths = attention_mask.sum(1).tolist() if attention_mask is not None else None
        return self.model(decoder_input_ids, input_ids, source_lengths=source_lengths, **given)


class Trains(torch.nn.Module):
    """A model that stays in training, whose plans differ from those of forward alone."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def train(self, mode=True):
        return super().train(True)

    def forward(self, ids):
        assert self.model.training
        with torch.enable_grad():
            return self.model(ids)


class Packs(torch.nn.Module):
    """A model that is given several sequences in one row, one row at a time."""

    def __init__(self, model, lengths):
        super().__init__()
        self.model, self.lengths = model, lengths

    def forward(self, ids):
        return torch.cat([self.model(row[None], lengths=self.lengths) for row in ids])


class Decodes(torch.nn.Module):
    """A model that is given its tokens in parts, behind pads on the left if there are any."""

    def __init__(self, model, chunks):
        super().__init__()
        self.model, self.chunks = model, chunks

    def forward(self, input_ids, attention_mask=None):
        given = {} if attention_mask is None else {"starts": (attention_mask == 0).sum(1).tolist()}
        return in_parts(self.model, input_ids, self.chunks, **given)


def sides(attention_mask):
    """The keyword that says the padding: lengths for pads on the right, starts for pads on the left."""
    pads = (attention_mask == 0).sum(1)
    if bool((attention_mask[:, 0] == 0).any()):
        return {"starts": pads.tolist()}
    return {"lengths": (attention_mask.shape[1] - pads).tolist()}
