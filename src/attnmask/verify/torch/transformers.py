"""Hugging Face models, built small with random weights from their configuration classes; nothing is downloaded."""

from __future__ import annotations

import inspect
from typing import Any, NamedTuple

import torch
import transformers

from attnmask.define.mask import Mask
from attnmask.define.masks.causal import causal
from attnmask.define.masks.everything import everything
from attnmask.errors import TargetError

LENGTH = 16  # positions of the inputs
SOURCE_LENGTH = 12  # positions of an encoder-decoder's source
FIRST_WORD = 5  # lower ids are special

# Settings by the names that configurations use for them; a configuration gets those that it has.
SMALL: dict[str, int] = {
    **dict.fromkeys(("vocab_size", "vocab_size_per_layer_input"), 128),
    **dict.fromkeys(("hidden_size", "n_embd", "d_model", "dim", "emb_dim", "word_embed_proj_dim", "embedding_size"), 32),
    **dict.fromkeys(("intermediate_size", "ffn_dim", "d_ff", "n_inner", "hidden_dim", "moe_intermediate_size"), 64),
    **dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim", "shared_expert_intermediate_size"), 64),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers", "encoder_layers", "decoder_layers"), 2),
    **dict.fromkeys(("num_decoder_layers", "num_encoder_layers"), 2),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads"), 4),
    **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 4),
    **dict.fromkeys(("num_key_value_heads", "num_kv_heads", "num_experts_per_tok", "moe_k"), 2),
    **dict.fromkeys(("head_dim", "d_kv", "kv_channels", "rotary_dim", "qk_nope_head_dim", "qk_rope_head_dim"), 8),
    **dict.fromkeys(("v_head_dim", "swa_head_dim", "global_head_dim", "hidden_size_per_layer_input"), 8),
    **dict.fromkeys(("q_lora_rank", "kv_lora_rank"), 16),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"), 4),
    **dict.fromkeys(("sliding_window", "attention_window", "window_size", "local_attention", "attention_chunk_size"), 6),
}
SPECIAL = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1, "forced_eos_token_id": None}


class Built(NamedTuple):
    """A model, inputs for it, and what each varied input may reach."""

    model: torch.nn.Module
    inputs: dict[str, torch.Tensor]
    allowed: dict[str, Mask]


def build(class_name: str, *, seed: int = 0) -> Built:
    """A small model of a Hugging Face class with random weights, and random inputs for it."""
    model_class = getattr(transformers, class_name, None)
    if model_class is None or not hasattr(model_class, "config_class"):
        raise TargetError(
            "a transformers target names a model class",
            f"transformers:{class_name}",
            f"Write for example transformers:GPT2LMHeadModel{_nearest(class_name)}",
        )
    config = small_config(model_class.config_class, decoder=_is_decoder(class_name))
    torch.manual_seed(seed)
    try:
        model = model_class(config).eval()
    except Exception as error:
        raise TargetError(
            "the class can be built from its configuration alone",
            f"{class_name}: {type(error).__name__}: {str(error)[:200]}",
            "Write a factory that builds it, and audit package.module:factory",
        ) from error
    return Built(model, *_inputs(model, class_name, config, seed))


def small_config(config_class: type[Any], *, decoder: bool) -> Any:
    """A configuration with small sizes for everything that it has a size for."""
    default = config_class()
    values = {name: value for name, value in SMALL.items() if isinstance(getattr(default, name, None), int)}
    values |= {name: value for name, value in SPECIAL.items() if hasattr(default, name)}
    if decoder and hasattr(default, "is_decoder") and not default.is_encoder_decoder:
        values["is_decoder"] = True
    for name in getattr(default, "sub_configs", {}):
        part = getattr(default, name, None)
        if part is not None:
            values[name] = small_config(type(part), decoder=decoder).to_dict()
    return config_class(**values)


def _is_decoder(class_name: str) -> bool:
    return class_name.endswith(("ForCausalLM", "LMHeadModel")) and "Masked" not in class_name


def _inputs(
    model: torch.nn.Module, class_name: str, config: Any, seed: int
) -> tuple[dict[str, torch.Tensor], dict[str, Mask]]:
    generator = torch.Generator().manual_seed(seed)
    vocabulary = getattr(config.get_text_config(), "vocab_size", SMALL["vocab_size"])

    def ids(length: int) -> torch.Tensor:
        return torch.randint(FIRST_WORD, vocabulary, (1, length), generator=generator)

    known = inspect.signature(model.forward).parameters
    if "input_ids" not in known:
        raise TargetError(
            "a transformers target takes token ids",
            f"{class_name}.forward({', '.join(known)})",
            "Write a factory that returns (model, inputs), and audit package.module:factory",
        )
    if config.is_encoder_decoder:
        allowed = {"decoder_input_ids": causal(), "input_ids": everything()}
        return {"input_ids": ids(SOURCE_LENGTH), "decoder_input_ids": ids(LENGTH)}, allowed
    generates = _is_decoder(class_name) or _always_causal(model)
    return {"input_ids": ids(LENGTH)}, {"input_ids": causal() if generates else everything()}


def _always_causal(model: torch.nn.Module) -> bool:
    """Whether a class without a language-model head in its name still is a decoder: its attention says so."""
    flags = [getattr(part, "is_causal", None) for part in model.modules()]
    return True in flags and False not in flags


def _nearest(class_name: str) -> str:
    import difflib

    names = [name for name in dir(transformers) if name.endswith(("LM", "Model", "Generation"))]
    found = difflib.get_close_matches(class_name, names, n=3)
    return f"; near this name are {', '.join(found)}" if found else ""
