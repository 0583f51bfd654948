"""What an output of a Hugging Face class may depend on, by what the class is made for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from attnmask.define.masks.causal import causal
from attnmask.define.masks.everything import everything
from attnmask.verify.subjects.arrays import main_output
from attnmask.verify.target import Relation
from attnmask.verify.torch.model_inputs import Made

# The inputs that have content, and which part of a model with several encoders reads them.
READERS = {
    "decoder_input_ids": "text",
    "input_ids": "text",
    "pixel_values": "vision",
    "input_features": "audio",
    "input_values": "audio",
    "past_values": "series",
}
# Configurations of encoders of texts that read from left to right, though nothing in the model says so.
IN_ORDER = frozenset(
    f"{name}_text_model" for name in ("clip", "clipseg", "groupvit", "metaclip_2", "owlv2", "owlvit", "xclip")
)
ONE_OUTPUT = ("ForSequenceClassification", "ForMultipleChoice")


def relations(model: torch.nn.Module, config: Any, made: Made) -> Iterator[tuple[str | None, Relation]]:
    """For each input that has content, the decoder's first."""
    two_sides = getattr(config, "is_encoder_decoder", False) and "decoder_input_ids" in made.inputs
    for name in (name for name in READERS if name in made.inputs):
        one_side = name == "input_ids" and not two_sides
        by_order = name == "decoder_input_ids" or (one_side and _generates(model, config))
        options: dict[str, Any] = {"output": _rows(model, made, name)}
        if name in made.axes:
            options |= {"batch_axis": 0, "length_axis": made.axes[name]}
        yield name, Relation(causal() if by_order else everything(), options)


def is_decoder(class_name: str) -> bool:
    """Whether a class is made to continue texts, by its name."""
    return class_name.endswith(("ForCausalLM", "LMHeadModel", "WithLMHead", "Decoder")) and "Masked" not in class_name


def _generates(model: torch.nn.Module, config: Any) -> bool:
    """Whether a class reads from left to right: some language models are made to look both ways."""
    name = type(model).__name__
    both_ways = getattr(config, "attn_type", None) == "bi" or getattr(config, "causal", None) is False
    in_order = config.get_text_config().model_type in IN_ORDER or is_decoder(name) or _always_causal(model)
    return in_order and not both_ways and not name.endswith(ONE_OUTPUT)


def _always_causal(model: torch.nn.Module) -> bool:
    """Whether a class without a language-model head in its name still is a decoder: its attention says so."""
    flags = [getattr(part, "is_causal", None) for part in model.modules()]
    return True in flags and False not in flags


def _rows(model: torch.nn.Module, made: Made, name: str) -> Callable[[Any], Any]:
    """Takes a result to (batch, rows, ...): of several encoders that of the one; one output per sequence is one row."""
    part = f"{READERS[name]}_model_output"

    def chosen(result: Any) -> Any:
        own = result.get(part) if hasattr(result, "get") else None
        return main_output(result if own is None else own)

    with torch.no_grad():
        shape = chosen(model(**made.inputs)).shape
    one_each = len(shape) == 2 and shape[1] != made.inputs[name].shape[-1]
    return (lambda result: chosen(result)[:, None]) if one_each else chosen
