"""What checking and recording cost, beside their targets.

    python benchmarks/check.py            prints the table, writes results/check-cpu.json and docs/benchmarks.md

A check is timed as a whole, the copying of the model counted; an audit with the building of the model. Recording is a ratio to the same forward pass alone.
"""

import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command does it

import torch
import transformers

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import attnmask as am
from attnmask.verify.audit import audit
from benchmarks.measure import Row, interleaved, processor, save_beside_targets, write_section

ROUNDS = 9
VOCABULARY = 1000
WIDTH, LAYERS, LENGTH = 512, 6, 256  # of the models that are recorded


def ids(length: int, vocabulary: int = VOCABULARY) -> torch.Tensor:
    return torch.randint(5, vocabulary, (1, length), generator=torch.Generator().manual_seed(0))


def llama(width: int, layers: int, vocabulary: int = VOCABULARY) -> torch.nn.Module:
    torch.manual_seed(0)
    heads = width // 64 if width > 64 else 4
    config = transformers.LlamaConfig(
        hidden_size=width,
        intermediate_size=11 * width // 4,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        vocab_size=vocabulary,
    )
    return transformers.LlamaForCausalLM(config).eval()


def took(rows: list[Row], work: str, seconds: float, run: Callable[[], object]) -> None:
    """A case that has a limit."""
    started, worked = time.perf_counter(), time.process_time()
    run()
    found, worked = time.perf_counter() - started, time.process_time() - worked
    rows.append((work, f"under {seconds:g} s", f"{found:.1f} s ({worked:.1f} s of all cores)", found < seconds))
    print(rows[-1], flush=True)


def checks(rows: list[Row]) -> None:
    small, large = llama(64, 4), llama(1024, 21, 16_000)
    millions = sum(weight.numel() for weight in large.parameters()) / 1e6
    check = partial(am.check, progress=False)
    took(
        rows,
        "Llama, 4 layers of width 64, 128 tokens: as given",
        1,
        lambda: check(small, ids(128), scenarios=["as given"]),
    )
    took(rows, "the same, quick", 3, lambda: check(small, ids(128)))
    took(rows, "the same, quick, 512 tokens", 15, lambda: check(small, ids(512)))
    took(rows, f"Llama of {millions:.0f} M parameters, 32 tokens: quick", 40, lambda: check(large, ids(32)))


def audits(rows: list[Row]) -> None:
    for name in ("Zamba2ForCausalLM", "NemotronHForCausalLM"):
        target = f"transformers:{name}"
        for scenarios in ("quick", "thorough"):
            run = partial(audit, target, scenarios=scenarios, progress=False)
            took(rows, f"attnmask audit {target}, {scenarios}", 10, run)


def recorded() -> dict[str, tuple[torch.nn.Module, dict[str, torch.Tensor]]]:
    """Models of a realistic width, and their inputs."""
    heads = WIDTH // 64
    gpt2 = transformers.GPT2Config(n_embd=WIDTH, n_layer=LAYERS, n_head=heads, vocab_size=VOCABULARY)
    bert = transformers.BertConfig(hidden_size=WIDTH, num_hidden_layers=LAYERS, num_attention_heads=heads)
    t5 = transformers.T5Config(d_model=WIDTH, num_layers=LAYERS, num_heads=heads, d_ff=4 * WIDTH)
    swin = transformers.Swinv2Config(image_size=256, window_size=8)
    text, torch_seed = {"input_ids": ids(LENGTH)}, torch.Generator().manual_seed(0)
    return {
        "GPT-2": (transformers.GPT2LMHeadModel(gpt2), text),
        "BERT": (transformers.BertModel(bert), text),
        "Llama": (llama(WIDTH, LAYERS), text),
        "T5": (transformers.T5ForConditionalGeneration(t5), {**text, "decoder_input_ids": ids(LENGTH)}),
        "Swin V2": (
            transformers.Swinv2Model(swin),
            {"pixel_values": torch.randn(1, 3, 256, 256, generator=torch_seed)},
        ),
    }


def recordings(rows: list[Row]) -> None:
    for name, (model, inputs) in recorded().items():
        plain = partial(model.eval(), **inputs)

        def beside(model: torch.nn.Module = model, plain: Callable[[], object] = plain) -> None:
            with am.record(model):
                plain()

        with torch.no_grad():
            seconds = interleaved({"plain": plain, "recorded": beside}, ROUNDS, progress=False)
        ratio = seconds["recorded"] / seconds["plain"]
        size = "256 x 256 pixels" if "Swin" in name else f"{LAYERS} layers of width {WIDTH}, {LENGTH} tokens"
        reached = f"{ratio:.2f} times ({1000 * seconds['plain']:.0f} ms alone)"
        rows.append((f"{name}, {size}: recorded", "under 2 times", reached, ratio < 2))
        print(rows[-1], flush=True)


def main() -> int:
    rows: list[Row] = []
    load = os.getloadavg()[0]
    audits(rows)
    checks(rows)
    recordings(rows)
    report(rows, load)
    return 0 if all(met for *_, met in rows) else 1


def report(rows: list[Row], load: float) -> None:
    table = save_beside_targets("check-cpu", rows)
    write_section("Checking and recording: what they cost", TEXT.format(table=table, processor=processor(), load=load))


TEXT = """
Written by `python benchmarks/check.py`, on two cores of {processor}, under a load of {load:.1f} when it
began. Checks and audits ran once, and the building of the
models is counted in the audits only; recording and the same forward pass alone took turns, and the medians are compared. The machine and the versions
are in `benchmarks/results/check-cpu.json`.

{table}

The threads of OpenMP wait passively here, as `attnmask audit` asks them to (`OMP_WAIT_POLICY=PASSIVE`, read when torch is
loaded): on a busy machine, threads that wait actively take the cores from those that work, and a check takes 10 times as long.

A check runs each test once, beside the sequence itself. Recording costs some microseconds for each operation that torch
executes, whatever its size: models of a few numbers, whose operations take as long, run 3 to 4 times as long recorded.
"""


if __name__ == "__main__":
    sys.exit(main())
