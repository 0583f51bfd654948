"""Decoding: real models decode as they compute, and every way to keep or lose something between calls is seen."""

import numpy as np
import pytest
import torch
import transformers
from torch import nn
from transformers.modeling_outputs import CausalLMOutputWithPast

import attnmask as am
from attnmask.verify.checks.cache import NAME
from attnmask.verify.torch.transformers import build

IDS = torch.randint(3, 40, (1, 12), generator=torch.Generator().manual_seed(0))
WAYS = [
    "one by one",
    "several at once",
    "several, then one by one",
    "static",
    "static, several at once",
    "reordered",
    "left pads",
    "left pads, position_ids",
]


def tried(model, inputs=IDS, **options):
    """What each way to decode came to, by its name, and the sections that leak."""
    report = am.check(model, inputs, scenarios=[NAME], **options)
    outcomes = {one.name.removeprefix(f"{NAME}, "): one.outcome for one in report.tried}
    return outcomes, {section.name.removeprefix(f"{NAME}, "): section for section in report.sections}


def small(name, **settings):
    config = getattr(transformers, f"{name}Config")(vocab_size=64, hidden_size=32, num_hidden_layers=2, **settings)
    torch.manual_seed(0)
    return getattr(transformers, f"{name}ForCausalLM")(config).eval()


@pytest.mark.parametrize(
    "name",
    [
        "LlamaForCausalLM",
        "GPT2LMHeadModel",
        "OPTForCausalLM",
        "MistralForCausalLM",
        "Gemma2ForCausalLM",
        "Gemma3ForCausalLM",
    ],
)
def test_decoders_decode_in_every_way(name):
    """Mistral and Gemma slide over 6 of the 16 tokens."""
    built = build(name)
    assert tried(built.model, built.inputs)[0] == dict.fromkeys(WAYS, "none")


@pytest.mark.parametrize("name", ["T5ForConditionalGeneration", "BartForConditionalGeneration"])
def test_decoders_with_an_encoder_decode_too(name):
    built = build(name)
    outcomes, _ = tried(built.model, built.inputs, allowed=am.causal())
    assert outcomes == dict.fromkeys(WAYS[:-1], "none")
    report = am.check(built.model, built.inputs, allowed=am.everything(), vary="input_ids", scenarios=[NAME])
    assert report.tried[0].why == "an encoder has no cache"


def test_sound_decodes_behind_its_encoder():
    sizes = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2}
    config = transformers.WhisperConfig(
        vocab_size=64,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        num_mel_bins=8,
        max_source_positions=10,
        max_target_positions=40,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
        **sizes,
    )
    torch.manual_seed(0)
    model = transformers.WhisperForConditionalGeneration(config).eval()
    inputs = {"input_features": torch.randn(1, 8, 20), "decoder_input_ids": IDS}
    outcomes, _ = tried(model, inputs)
    assert {outcomes[way] for way in WAYS[:6]} == {"none"}


MAMBA2 = {"head_dim": 8, "num_heads": 8, "state_size": 16, "n_groups": 2, "chunk_size": 8}


def test_states_are_decoded():
    outcomes, _ = tried(small("Mamba2", **MAMBA2))
    assert {outcomes[way] for way in WAYS[:3]} == {"none"}
    assert outcomes["reordered"] == "none"


def test_mamba_forgets_its_state_where_several_tokens_come_at_once():
    """The mixer of transformers starts several tokens from an empty state."""
    outcomes, leaks = tried(small("Mamba", state_size=4))
    assert outcomes["one by one"] == outcomes["left pads"] == "none"
    section = leaks["several at once"]
    assert section.leaks[0][:2] == (4, 3)
    assert section.module == "backbone.layers.0.mixer (MambaMixer)"


def limited(lowest):
    """Mamba2 whose time steps have a lowest size in the scan over many tokens, but not in the step of one."""
    model = small("Mamba2", **MAMBA2, time_step_limit=(lowest, float("inf")))
    return tried(model)


def test_a_limit_of_the_scan_that_the_step_does_not_have():
    """What makes Zamba2 and NemotronH depart."""
    outcomes, leaks = limited(0.5)
    assert leaks["one by one"].module == "backbone.layers.0.mixer (Mamba2Mixer)"
    assert outcomes["several at once"] == "none"  # the scan again
    assert limited(0.0)[0]["one by one"] == "none"


def test_experts_without_a_kernel_for_float64_are_decoded_in_float32():
    sizes = {"intermediate_size": 32, "num_attention_heads": 2, "num_key_value_heads": 2}
    model = small("Mixtral", **sizes, num_local_experts=4, num_experts_per_tok=2)
    with pytest.raises(RuntimeError, match="Double"):
        model.double()(IDS)
    assert set(tried(model.float())[0].values()) == {"none"}


class Kept:
    """Keys and values of all tokens so far, and which tokens are real."""

    def __init__(self):
        self.keys = self.values = None

    def update(self, keys, values):
        if self.keys is not None:
            keys, values = torch.cat([self.keys, keys], 1), torch.cat([self.values, values], 1)
        self.keys, self.values = keys, values
        return keys, values

    def reorder_cache(self, rows):
        self.keys, self.values = self.keys[rows], self.values[rows]


class KeptUnordered(Kept):
    def reorder_cache(self, rows):
        pass


class KeptBackwards(Kept):
    """The rows are scattered where they should be gathered."""

    def reorder_cache(self, rows):
        super().reorder_cache(torch.argsort(rows))


class ForgetsTheLast(Kept):
    def update(self, keys, values):
        if self.keys is not None and self.keys.shape[1] > 4:
            self.keys, self.values = self.keys[:, 1:], self.values[:, 1:]
        return super().update(keys, values)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(16, 48)

    def forward(self, x, visible, kept):
        q, k, v = self.qkv(x).chunk(3, -1)
        k, v = kept.update(k, v)
        scores = (q @ k.mT / 4).masked_fill(~visible[..., -k.shape[1] :], -torch.inf)
        return x + scores.softmax(-1).nan_to_num() @ v


class Decodes(nn.Module):
    """One layer with a cache; what can go wrong are methods."""

    cache = Kept

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.place = nn.Embedding(40, 16), nn.Embedding(64, 16)
        self.attention = Attention()

    def forward(self, input_ids, attention_mask=None, position_ids=None, past_key_values=None, use_cache=False):
        kept = past_key_values or self.cache()
        before = 0 if kept.keys is None else kept.keys.shape[1]
        if position_ids is None:
            position_ids = self.places(before, input_ids.shape[1])[None]
        x = self.embed(input_ids) + self.place(position_ids)
        visible = self.visible(before, input_ids.shape[1])[None]
        if attention_mask is not None:
            visible = visible & self.real(attention_mask, before)[:, None].bool()
        x = self.attention(x, visible, kept)
        return CausalLMOutputWithPast(logits=x, past_key_values=kept if use_cache else None)

    def places(self, before, new):
        return torch.arange(before, before + new)

    def visible(self, before, new):
        return torch.ones(before + new, before + new).tril()[before:].bool()

    def real(self, mask, before):
        return mask


class CountsAgain(Decodes):
    def places(self, before, new):
        return torch.arange(new)


class SeesTheChunk(Decodes):
    """New tokens see each other, onto a warm cache only."""

    def visible(self, before, new):
        return super().visible(before, new) | torch.tensor(before > 0)


class AlignsWithTheFirst(Decodes):
    """The mask of a shorter call starts with the first key."""

    def visible(self, before, new):
        return torch.ones(new, before + new).tril().bool() if before else super().visible(before, new)


class ForgetsPads(Decodes):
    """The padding mask counts in the first call only."""

    def real(self, mask, before):
        return torch.ones_like(mask) if before else mask


class KeepsNoOrder(Decodes):
    cache = KeptUnordered


class OrdersBackwards(Decodes):
    cache = KeptBackwards


class Slides(Decodes):
    cache = ForgetsTheLast


@pytest.mark.parametrize(
    ("model", "way", "pair", "module"),
    [
        (CountsAgain, "one by one", (6, 5), "CountsAgain"),
        (SeesTheChunk, "several at once", (4, 3), "attention (Attention)"),
        (AlignsWithTheFirst, "one by one", (6, 5), "attention (Attention)"),
        (Slides, "one by one", (6, 5), "attention (Attention)"),
        (ForgetsPads, "left pads", (6, 5), "attention (Attention)"),
        (ForgetsPads, "left pads, position_ids", (6, 5), "attention (Attention)"),
        (KeepsNoOrder, "reordered", (6, 5), "attention (Attention)"),
        (OrdersBackwards, "reordered", (6, 5), "attention (Attention)"),
    ],
)
def test_what_is_lost_between_calls_is_found_and_located(model, way, pair, module):
    section = tried(model())[1][way]
    assert section.leaks[0][:2] == pair
    assert section.module == module


def test_a_right_decoder_of_ones_own():
    outcomes, leaks = tried(Decodes())
    assert not leaks
    assert [way for way in WAYS if outcomes[way] == "untested"] == ["static", "static, several at once"]


class SeesUnusedSlots(transformers.LlamaForCausalLM):
    """Everything in a cache of a fixed size is visible."""

    def forward(self, input_ids, past_key_values=None, **options):
        if isinstance(past_key_values, transformers.StaticCache):
            before = int(past_key_values.get_seq_length())
            kv_len = past_key_values.get_max_length()
            size = input_ids.shape[1]
            visible = torch.ones(size, kv_len).tril(before).bool() | (torch.arange(kv_len) >= before + size + 2)
            options["attention_mask"] = visible[None, None]
        return super().forward(input_ids, past_key_values=past_key_values, **options)


def test_unused_slots_that_are_seen():
    sizes = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1}
    model = SeesUnusedSlots(transformers.LlamaConfig(**sizes, num_attention_heads=2, num_key_value_heads=2))
    outcomes, leaks = tried(model.eval())
    assert leaks.keys() == {"static", "static, several at once"}
    assert leaks["static"].leaks[0].query in (0, 6)
    assert outcomes["one by one"] == "none"


def test_a_decoder_behind_an_encoder_that_counts_again():
    built = build("BartForConditionalGeneration")
    places = built.model.model.decoder.embed_positions
    places.forward = lambda ids, past_key_values_length=0, position_ids=None: type(places).forward(places, ids, 0)
    leaks = tried(built.model, built.inputs)[1]
    assert leaks["one by one"].leaks[0][:2] == (8, 7)


@pytest.mark.parametrize(
    ("model", "inputs", "options", "why"),
    [
        (lambda x: np.cumsum(x, 1), np.ones((1, 8, 2)), {}, "only torch modules are decoded"),
        (nn.Linear(4, 4), torch.randn(1, 8, 4), {}, "the model takes no past_key_values"),
        (Decodes(), IDS, {"allowed": am.everything()}, "outputs may depend on later positions"),
        (Decodes(), IDS, {"allowed": am.causal() & am.documents(lengths=[6, 6])}, "a cache holds one document"),
    ],
)
def test_what_cannot_be_decoded_is_told(model, inputs, options, why):
    report = am.check(model, inputs, scenarios=[NAME], **options)
    assert report.verdict.startswith("untested")
    assert why in report.tried[0].why


def test_inputs_that_go_along_are_cut_for_each_call():
    """Positions that are given, and embeddings instead of ids."""
    places = torch.arange(12)[None] * 2
    assert not tried(Decodes(), {"input_ids": IDS, "position_ids": places})[1]
    llama = build("LlamaForCausalLM").model
    assert not tried(llama, {"inputs_embeds": torch.randn(1, 12, 32)})[1]
