"""Hugging Face models, built small with random weights from their configuration classes; nothing is downloaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
import transformers

from attnmask.errors import TargetError
from attnmask.verify.target import Relation
from attnmask.verify.torch.model_inputs import Made, Maker
from attnmask.verify.torch.relations import is_decoder, relations

MOST_WEIGHTS = 200_000_000

# Settings by the names that configurations use for them; a configuration gets those that it has.
SMALL: dict[str, int] = {
    **dict.fromkeys(("vocab_size", "vocab_size_per_layer_input"), 128),
    **dict.fromkeys(
        ("hidden_size", "n_embd", "d_model", "dim", "emb_dim", "word_embed_proj_dim", "embedding_size"), 32
    ),
    **dict.fromkeys(("intermediate_size", "ffn_dim", "d_ff", "n_inner", "hidden_dim", "moe_intermediate_size"), 64),
    **dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim", "shared_expert_intermediate_size"), 64),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers", "encoder_layers", "decoder_layers"), 2),
    **dict.fromkeys(("num_decoder_layers", "num_encoder_layers"), 2),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads"), 4),
    **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 4),
    **dict.fromkeys(("num_key_value_heads", "num_kv_heads", "num_experts_per_tok", "moe_k"), 2),
    **dict.fromkeys(("hidden_size_per_layer_input", "mamba_n_heads", "mamba_num_heads", "mamba_head_dim"), 8),
    **dict.fromkeys(("mamba_d_state", "ssm_state_size"), 16),
    **dict.fromkeys(("q_lora_rank", "kv_lora_rank"), 16),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"), 4),
    **dict.fromkeys(("chunk_size", "mamba_chunk_size", "mamba2_chunk_size"), 4),  # so that inputs cross it, and fill it
    **dict.fromkeys(("image_size", "img_size"), 32),
    **dict.fromkeys(("patch_size", "prediction_length", "patch_length", "patch_stride"), 4),
    **dict.fromkeys(("max_source_positions", "context_length"), 16),
    **dict.fromkeys(("num_mel_bins", "input_feat_per_channel"), 16),
    **dict.fromkeys(
        ("sliding_window", "attention_window", "window_size", "local_attention", "attention_chunk_size"), 6
    ),
}
HEAD_SIZES: dict[str, int] = {
    **dict.fromkeys(("head_dim", "d_kv", "kv_channels", "rotary_dim", "qk_nope_head_dim", "qk_rope_head_dim"), 8),
    **dict.fromkeys(("v_head_dim", "swa_head_dim", "global_head_dim"), 8),
}
REQUIRED = (
    "num_experts_per_tok",
    "n_routed_experts",
    "moe_intermediate_size",
    "head_dim",
    "prediction_length",
    "context_length",
)  # also where the default is None
UNGROUPED = {"num_key_value_heads": 4, "num_kv_heads": 4}
LAYERS = {name: size for name, size in SMALL.items() if "layer" in name}
LISTED = {name: size for name, size in (SMALL | HEAD_SIZES).items() if name not in LAYERS}
KINDS = dict.fromkeys(("layers_block_type", "layer_types"), 2)  # layers of each kind in a list of them
# Which settings fit together differs between architectures: the first that builds and runs is taken.
ATTEMPTS = (
    SMALL | HEAD_SIZES,
    SMALL | HEAD_SIZES | UNGROUPED,
    SMALL,
    SMALL | UNGROUPED,
    SMALL | HEAD_SIZES | UNGROUPED | dict.fromkeys(LAYERS, 8),  # hybrids with attention in every fourth layer
    SMALL | {"head_dim": 8, "num_heads": 8},  # state-space models that are twice as wide inside
    SMALL | dict.fromkeys(("hidden_size", "d_model"), 512),  # where rotations of images need 128 for each head
    LISTED | KINDS,  # where a list counts the layers
    LISTED,
    LAYERS,
)
UNSET = ("vocab_size", "num_key_value_heads")  # settings that some leave to the user
SPECIAL = {
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
    "forced_eos_token_id": None,
}


LAGS = [1, 2, 3]  # of models of time series


class Built(NamedTuple):
    """A model, inputs for it, and what of each varied input may reach an output."""

    model: torch.nn.Module
    inputs: dict[str, Any]
    relations: Mapping[str | None, Relation]


def build(class_name: str, *, seed: int = 0) -> Built:
    """A small model of a Hugging Face class with random weights, and random inputs for it."""
    model_class = getattr(transformers, class_name, None)
    if model_class is None or not hasattr(model_class, "config_class"):
        raise TargetError(
            "a transformers target names a model class",
            f"transformers:{class_name}",
            f"Write for example transformers:GPT2LMHeadModel{_nearest(class_name)}",
        )
    errors = []
    for sizes, required in (*((sizes, REQUIRED) for sizes in ATTEMPTS), (ATTEMPTS[0], (*REQUIRED, *UNSET))):
        try:
            return _attempt(model_class, class_name, sizes, required, seed)
        except TargetError:
            raise
        except Exception as error:  # anything can go wrong in a constructor that is given unusual sizes
            errors.append(error)
    raise TargetError(
        "the class can be built small from its configuration alone",
        f"{class_name}: {type(errors[0]).__name__}: {str(errors[0])[:200]}",
        "Write a factory that builds it, and audit package.module:factory",
    ) from errors[0]


def _attempt(
    model_class: type[Any], class_name: str, sizes: dict[str, int], required: tuple[str, ...], seed: int
) -> Built:
    config = small_config(model_class.config_class, sizes, required, decoder=is_decoder(class_name))
    with torch.device("meta"):  # no memory yet
        size = sum(weight.numel() for weight in model_class(config).parameters())
    if size > MOST_WEIGHTS:
        raise ValueError(f"{size} weights are too many for a small model")
    torch.manual_seed(seed)
    model = model_class(config).eval()
    made = _first_that_runs(model, Maker(model, config, seed))
    return Built(model, made.inputs, dict(relations(model, config, made)))


def _first_that_runs(model: torch.nn.Module, maker: Maker) -> Made:
    error: Exception | None = None
    for made in maker.ways():
        try:
            with torch.no_grad():
                model(**made.inputs)
            return made
        except Exception as raised:  # what an optional argument is needed for, a model says as it likes
            error = error or raised
    raise error or TargetError(
        "a transformers target takes ids, images, spectrograms, waveforms or time series",
        f"{type(model).__name__}.forward({', '.join(maker.known)})",
        "Write a factory that returns (model, inputs), and audit package.module:factory",
    )


def small_config(config_class: type[Any], sizes: dict[str, int], required: tuple[str, ...], *, decoder: bool) -> Any:
    """A configuration with small sizes for everything that it has a size for, or must get one."""
    default = config_class()
    settable = [name for name in sizes if not isinstance(getattr(config_class, name, None), property)]
    values: dict[str, Any] = {name: sizes[name] for name in settable if isinstance(getattr(default, name, None), int)}
    values |= {name: sizes[name] for name in required if hasattr(default, name) and name in sizes}
    values |= _few_layers(default, sizes)
    special = {name: value for name, value in SPECIAL.items() if hasattr(default, name)}
    if hasattr(default, "lags_sequence"):
        values["lags_sequence"] = LAGS
    if decoder and hasattr(default, "is_decoder") and not default.is_encoder_decoder:
        values["is_decoder"] = True
    for name in getattr(default, "sub_configs", {}):
        part = getattr(default, name, None)
        if part is not None:
            two_sided = name == "decoder"
            small = small_config(type(part), sizes, required, decoder=decoder or two_sided).to_dict()
            values[name] = small | ({"add_cross_attention": True} if two_sided else {})
    return config_class(**values, **special)


def _few_layers(default: Any, sizes: dict[str, int]) -> dict[str, Any]:
    """The first layers of each kind, and how many these are, where a list says the kind of each layer."""
    name = next((name for name in KINDS if name in sizes and isinstance(getattr(default, name, None), list)), None)
    if name is None:
        return {}
    kinds = getattr(default, name)
    few = [kind for place, kind in enumerate(kinds) if kinds[:place].count(kind) < sizes[name]]
    return {name: few, "num_hidden_layers": len(few)}


def _nearest(class_name: str) -> str:
    import difflib

    names = [name for name in dir(transformers) if name.endswith(("LM", "Model", "Generation"))]
    found = difflib.get_close_matches(class_name, names, n=3)
    return f"; near this name are {', '.join(found)}" if found else ""
