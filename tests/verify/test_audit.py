"""Audits of real Hugging Face classes and of the examples; targets that cannot be loaded."""

import json
import sys

import pytest

import attnmask as am
from attnmask.errors import TargetError
from attnmask.verify.audit import audit
from attnmask.verify.target import load
from attnmask.verify.torch.transformers import build

# class -> the masks that its attention calls use on 16 tokens, and what each varied input may reach
CLASSES = {
    "GPT2LMHeadModel": ({"causal()"}, {"input_ids": "causal()"}),
    "LlamaForCausalLM": ({"causal()"}, {"input_ids": "causal()"}),
    "MistralForCausalLM": ({"window(5)"}, {"input_ids": "causal()"}),
    "GemmaForCausalLM": ({"causal()"}, {"input_ids": "causal()"}),
    "RoFormerForCausalLM": ({"causal()"}, {"input_ids": "causal()"}),
    "BertModel": ({"everything()"}, {"input_ids": "everything()"}),
    "DistilBertModel": ({"everything()"}, {"input_ids": "everything()"}),
    "T5ForConditionalGeneration": (
        {"everything()", "causal()"},
        {"decoder_input_ids": "causal()", "input_ids": "everything()"},
    ),
    "BartForConditionalGeneration": (
        {"everything()", "causal()"},
        {"decoder_input_ids": "causal()", "input_ids": "everything()"},
    ),
}


@pytest.mark.parametrize("name", CLASSES)
def test_hugging_face_classes(name):
    masks, allowed = CLASSES[name]
    found = audit(f"transformers:{name}")
    assert found.ok, found.text()
    assert {mask for scenario, mask, _, _ in found.masks() if scenario == "as given"} == masks
    assert {report.vary: report.allowed for report in found.reports} == allowed
    padded = [section for report in found.reports for section in report.sections if "pads" in section.name]
    assert len(padded) == 2 * len(found.reports)


# What is not text to text: class -> what of each input may reach an output
OTHER_CLASSES = {
    "ViTModel": {"pixel_values": "everything()"},
    "ViTForImageClassification": {"pixel_values": "everything()"},
    "CLIPModel": {"input_ids": "causal()", "pixel_values": "everything()"},
    "CLIPTextModel": {"input_ids": "causal()"},
    "WhisperForConditionalGeneration": {"decoder_input_ids": "causal()", "input_features": "everything()"},
    "Wav2Vec2ForCTC": {"input_values": "everything()"},
    "PatchTSTModel": {"past_values": "everything()"},
    "TimeSeriesTransformerForPrediction": {"past_values": "everything()"},
    "BertForSequenceClassification": {"input_ids": "everything()"},
    "GPT2ForSequenceClassification": {"input_ids": "everything()"},
    "GPT2ForTokenClassification": {"input_ids": "causal()"},
    "BertForMultipleChoice": {"input_ids": "everything()"},
    "BertGenerationDecoder": {"input_ids": "causal()"},
    "XLNetLMHeadModel": {"input_ids": "everything()"},  # looks both ways by design
}


@pytest.mark.parametrize("name", OTHER_CLASSES)
def test_classes_of_every_kind_run(name):
    found = audit(f"transformers:{name}", scenarios="quick")
    assert found.ok, found.text()
    assert {report.vary: report.allowed for report in found.reports} == OTHER_CLASSES[name]


def test_where_nothing_is_forbidden_it_is_said():
    assert "nothing is forbidden here" in audit("transformers:BertModel", scenarios=["as given"]).text()


def test_options_reach_the_check():
    found = audit("transformers:T5ForConditionalGeneration", vary="decoder_input_ids", length=9, scenarios=["as given"])
    assert [report.vary for report in found.reports] == ["decoder_input_ids"]
    assert found.reports[0].sections[0].allowed_cells.shape == (9, 9)
    found = audit("transformers:GPT2LMHeadModel", batch=2, mode="train", scenarios=["as given"])
    assert [section.name for section in found.reports[0].sections] == ["sequence 0, as given", "sequence 1, as given"]
    found = audit(
        "transformers:BertModel",
        output=lambda result: result[0],
        inputs={"input_ids": [[5, 6, 7, 8]]},
        scenarios=["as given"],
    )
    assert found.reports[0].sections[0].allowed_cells.shape == (4, 4)
    assert {mask for _, mask, _, _ in found.masks()} >= {"everything()"}


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("Zamba2ForCausalLM", ["linear_attention"] * 2 + ["hybrid"] * 2),
        ("NemotronHForCausalLM", ["linear_attention", "moe", "full_attention", "mlp"]),
    ],
)
def test_a_list_of_layers_is_cut_to_a_few_of_each_kind(name, kinds):
    model = build(name).model
    assert model.config.layers_block_type == kinds
    assert model.config.chunk_size < 16  # the inputs are more than one chunk
    assert sum(weight.numel() for weight in model.parameters()) < 1_000_000


def test_the_example_with_a_leak_is_found_and_the_repaired_one_is_not():
    found = audit("examples.leaky_decoder:broken")
    assert not found.ok
    assert found.verdict == "leak"
    assert found.reports[0].module == "layers.1 (Layer)"
    assert (found.reports[0].leaks[0].query, found.reports[0].leaks[0].key) == (0, 1)
    assert ("as given", "window(None, 1)", "torch.sdpa", ["layers.1"]) in found.masks()
    assert audit("examples.leaky_decoder:repaired").ok


def test_a_model_under_a_tighter_mask_than_it_keeps():
    found = audit("transformers:GPT2LMHeadModel", allowed=am.window(2))
    assert not found.ok
    assert (found.reports[0].leaks[0].query, found.reports[0].leaks[0].key) == (3, 0)


def test_reports_are_written_together(tmp_path):
    found = audit("examples.leaky_decoder:broken")
    paths = found.save(tmp_path / "new" / "folder")
    assert [path.name for path in paths] == ["examples-leaky-decoder-broken.html", "examples-leaky-decoder-broken.json"]
    data = json.loads(paths[1].read_text())
    assert data["ok"] is False
    assert {"scenario": "as given", "mask": "window(None, 1)", "api": "torch.sdpa", "modules": ["layers.1"]} in data[
        "masks"
    ]
    html = paths[0].read_text()
    assert "window(None, 1)" in html
    assert "src=" not in html
    assert "href=" not in html


def test_factories_may_return_inputs_and_relations(tmp_path, monkeypatch):
    (tmp_path / "made_here.py").write_text(
        "import torch, attnmask as am\n"
        "from torch import nn\n"
        "def floats(): return nn.GRU(4, 4, batch_first=True), torch.randn(1, 6, 4)\n"
        "def related(): return nn.Embedding(9, 4), torch.randint(0, 9, (1, 6)), am.window(0)\n"
        "def bare(): return nn.Linear(3, 3)\n"
        "number = 3\n"
        "def fails(): return nn.Linear(3, 3), torch.randn(1, 4, 5)\n"
    )
    monkeypatch.chdir(tmp_path)
    assert audit("made_here:floats").ok
    assert audit("made_here:related").ok
    for target, got in {
        "made_here:bare": "which gave Linear",
        "made_here:number": "number is 3",
        "made_here:missing": "missing is None",
        "made_here:fails": "RuntimeError",
    }.items():
        with pytest.raises(TargetError) as caught:
            audit(target)
        assert got in caught.value.got
    assert str(tmp_path) not in sys.path


@pytest.mark.parametrize(
    ("target", "got"),
    [
        ("GPT2LMHeadModel", "'GPT2LMHeadModel'"),
        (":x", "':x'"),
        ("no.such.module:f", "ModuleNotFoundError"),
        ("transformers:GPT2LMHeadModle", "transformers:GPT2LMHeadModle"),
        ("transformers:GPT2Config", "transformers:GPT2Config"),
        ("transformers:Blip2QFormerModel", "Blip2QFormerModel.forward(query_embeds"),
    ],
)
def test_targets_that_cannot_be_loaded(target, got):
    with pytest.raises(TargetError) as caught:
        load(target)
    assert got in caught.value.got
    assert caught.value.fix
