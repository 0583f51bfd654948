"""``record``: which mask did each attention call of a model really use?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attnmask.errors import require

if TYPE_CHECKING:
    from attnmask.verify.torch.recorder import Recorder


def record(model: Any) -> Recorder:
    """Record the mask of every attention call while a torch model runs.

    Works below the public functions, on the operations that are really executed: fused kernels of
    ``scaled_dot_product_attention``, ``softmax`` followed by a product with the values, and the fast paths of
    ``nn.MultiheadAttention`` and ``nn.TransformerEncoder``. What cannot be seen: kernels that torch does not know
    (flash-attn, xformers) and compiled graphs; run the model uncompiled.

        with am.record(model) as log:
            model(inputs)
        print(log)                  # decoder.layers.0.self_attn: causal() via torch.mha, 8 queries x 8 keys

    Args:
        model: the module whose parts give the calls their names.
    """
    require("torch", "torch")
    from attnmask.verify.torch.recorder import Recorder

    return Recorder(model)
