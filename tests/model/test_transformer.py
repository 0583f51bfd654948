"""The reference Transformer: nothing leaks, packing and caches change nothing, and each mask is in its place."""

import pytest
import torch
from torch.nn import functional as F

import attnmask as am
from attnmask.errors import InputError
from attnmask.model.transformer import Cache, Config, Transformer, rotated, rotations, same_sequence, sequence_mask
from tests.model.small import SIZES, Decodes, Packs, Padded, Trains, Translates, build, in_parts, tokens

LENGTHS = range(2, 10)  # one position alone can hide nothing; see test_the_first_token_sees_itself_alone


def ones(length, pads, side="right"):
    """A padding mask (1, length): 1 for real tokens."""
    mask = torch.ones(1, length, dtype=torch.long)
    mask[0, slice(length - pads, None) if side == "right" else slice(pads)] = 0
    return mask


@pytest.mark.parametrize("length", LENGTHS)
def test_an_encoder_sees_everything_but_padding(length):
    report = am.check(build("encoder"), tokens(1, length), allowed=am.everything())
    assert report.ok, report
    assert report.sections[0].observed == "everything()"
    for pads in range(1, length):
        inputs = {"input_ids": tokens(1, length), "attention_mask": ones(length, pads)}
        am.testing.assert_padding_ignored(Padded(build("encoder")), inputs)


@pytest.mark.parametrize("length", LENGTHS)
def test_a_decoder_sees_up_to_itself_behind_padding_on_either_side(length):
    report = am.check(Padded(build()), tokens(1, length))
    assert report.ok, report
    assert [section.name.split()[-2:] for section in report.sections][1:] == [["right", "pads"], ["left", "pads"]]
    assert report.sections[0].observed == "causal()"


@pytest.mark.parametrize("length", LENGTHS)
def test_a_decoder_in_training(length):
    am.testing.assert_causal(Trains(build()), tokens(1, length))


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("source_length", [1, 4])
def test_the_target_of_a_translation_is_causal(length, source_length):
    inputs = {"input_ids": tokens(1, source_length, seed=1), "decoder_input_ids": tokens(1, length)}
    report = am.check(Translates(build("both")), inputs)
    assert report.ok, report
    assert report.vary == "decoder_input_ids"
    assert len(report.sections) == 3


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("target_length", [1, 3])
def test_the_padding_of_a_source_is_ignored(length, target_length):
    target = tokens(1, target_length, seed=1)
    for pads in (0, 1, length - 1):
        inputs = {
            "input_ids": tokens(1, length),
            "attention_mask": ones(length, pads),
            "decoder_input_ids": target,
        }
        report = am.check(Translates(build("both")), inputs, vary="input_ids", allowed=am.everything())
        assert report.ok, report
        assert len(report.sections) == 1


@pytest.mark.parametrize("length", LENGTHS)
def test_packed_sequences_do_not_see_each_other(length):
    for first in range(1, length):
        allowed = am.causal() & am.documents(lengths=[first, length - first])
        packed = Packs(build(), [first, length - first])
        am.testing.assert_no_leak(packed, tokens(1, length), allowed=allowed)


def test_packed_sequences_of_an_encoder():
    report = am.check(Packs(build("encoder"), [3, 4]), tokens(1, 7), allowed=am.documents(lengths=[3, 4]))
    assert report.ok, report
    assert report.sections[0].observed == "documents(lengths=[3, 4])"


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("chunks", [1, 3])
def test_decoding_is_causal(length, chunks):
    am.testing.assert_causal(Decodes(build(), chunks), tokens(1, length))


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("chunks", [1, 3])
def test_decoding_ignores_pads_on_the_left(length, chunks):
    for pads in range(1, length):
        inputs = {"input_ids": tokens(1, length), "attention_mask": ones(length, pads, "left")}
        am.testing.assert_causal(Decodes(build(), chunks), inputs)


@pytest.mark.parametrize("kind", ["decoder", "both"])
def test_the_first_token_sees_itself_alone(kind):
    model, ids = build(kind), tokens(1, 9)
    source = () if kind == "decoder" else (tokens(1, 4, seed=1),)
    torch.testing.assert_close(model(ids[:, :1], *source), model(ids, *source)[:, :1], atol=1e-12, rtol=0)


@pytest.mark.parametrize(
    ("broken", "leaks"),
    [
        ({"causal": False}, {(q, k) for q in range(6) for k in range(q + 1, 6)}),
        ({"ahead": 1}, {(q, q + 1) for q in range(5)}),
        ({"ahead": 2}, {(q, k) for q in range(6) for k in (q + 1, q + 2) if k < 6}),
    ],
)
@pytest.mark.parametrize("kind", ["decoder", "both"])
def test_broken_masks_are_caught(kind, broken, leaks):
    model = build(kind, encoder_layers=int(kind == "both"), decoder_layers=1, **broken)
    ids = tokens(1, 6)
    inputs = {"decoder_input_ids": ids, "input_ids": tokens(1, 4, seed=1)} if kind == "both" else ids
    report = am.check(Translates(model) if kind == "both" else model, inputs)
    assert report.verdict == "leak"
    assert (report.leaks[0].query, report.leaks[0].key) == (0, 1)
    assert {(leak.query, leak.key) for leak in report.sections[0].leaks} == leaks
    assert report.module.endswith("decoder.0.attention (Attention)")


def test_a_broken_mask_is_caught_in_packed_rows_and_in_training():
    allowed = am.causal() & am.documents(lengths=[2, 3])
    assert not am.check(Packs(build(ahead=1), [2, 3]), tokens(1, 5), allowed=allowed).ok
    assert not am.check(Trains(build(causal=False)), tokens(1, 5)).ok


SIZES_OF = ([4, 1, 6, 3], [2, 5, 1, 4])  # of the targets and of the sources


def padded_and_packed(sizes, seed):
    rows = [tokens(size, seed=seed + place) for place, size in enumerate(sizes)]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True), torch.cat(rows)[None]


def losses(model, scores, target):
    """The mean loss over the tokens, and the gradients of all parameters."""
    loss = F.cross_entropy(scores, target)
    return loss, torch.autograd.grad(loss, list(model.parameters()))


@pytest.mark.parametrize("kind", ["decoder", "both"])
def test_packed_equals_padded(kind):
    model = build(kind).train()
    sizes, source_sizes = SIZES_OF
    padded, packed = padded_and_packed(sizes, 0)
    more_padded, more_packed = {}, {}
    if kind == "both":
        source_padded, source_packed = padded_and_packed(source_sizes, 10)
        more_padded = {"source": source_padded, "source_lengths": source_sizes}
        more_packed = {"source": source_packed, "source_lengths": source_sizes}
    real = torch.arange(padded.shape[1]) < torch.tensor(sizes)[:, None]
    wanted = (packed[0] * 5) % SIZES["vocabulary"]
    one = model(padded, lengths=sizes, **more_padded)[real]
    other = model(packed, lengths=sizes, **more_packed)[0]
    torch.testing.assert_close(one, other, atol=1e-10, rtol=0)
    (loss, slopes), (other_loss, other_slopes) = losses(model, one, wanted), losses(model, other, wanted)
    torch.testing.assert_close(loss, other_loss, atol=1e-10, rtol=0)
    for (name, _), slope, other_slope in zip(model.named_parameters(), slopes, other_slopes, strict=True):
        torch.testing.assert_close(
            slope, other_slope, atol=1e-10, rtol=0, msg=lambda text, name=name: f"{name}: {text}"
        )
        assert slope.abs().max() > 0, name


def test_packed_equals_padded_in_an_encoder():
    model, sizes = build("encoder"), SIZES_OF[0]
    padded, packed = padded_and_packed(sizes, 0)
    real = torch.arange(padded.shape[1]) < torch.tensor(sizes)[:, None]
    torch.testing.assert_close(model(padded, lengths=sizes)[real], model(packed, lengths=sizes)[0], atol=1e-10, rtol=0)


@pytest.mark.parametrize("chunks", [1, 2, 5, 9, [4, 1, 1, 1, 2], [1, 8]])
@pytest.mark.parametrize("kind", ["decoder", "both"])
def test_decoding_with_a_cache_equals_the_full_pass(kind, chunks):
    model, target = build(kind), tokens(3, 9)
    given = {} if kind == "decoder" else {"source": tokens(3, 5, seed=1), "source_lengths": [5, 2, 4]}
    torch.testing.assert_close(in_parts(model, target, chunks, **given), model(target, **given), atol=1e-10, rtol=0)


@pytest.mark.parametrize("chunks", [1, 4, 9])
def test_decoding_behind_pads_equals_each_row_alone(chunks):
    model, target, starts = build(), tokens(3, 9), [0, 4, 8]
    scores = in_parts(model, target, chunks, starts=starts)
    for row, start in enumerate(starts):
        alone = model(target[row : row + 1, start:])
        torch.testing.assert_close(scores[row : row + 1, start:], alone, atol=1e-10, rtol=0)


def test_the_source_is_read_once():
    model, cache = build("both"), Cache()
    target, source = tokens(1, 4), tokens(1, 3, seed=1)
    whole = model(target, source)
    first = model(target[:, :2], source, cache=cache)
    with torch.no_grad():
        model.encoder[0].widen.weight.zero_()  # an encoder that ran again would show it
    rest = model(target[:, 2:], cache=cache)
    torch.testing.assert_close(torch.cat([first, rest], dim=1), whole, atol=1e-10, rtol=0)


def test_grouped_heads_equal_repeated_weights():
    grouped = build("both")
    full = build("both", kv_heads=SIZES["heads"])
    size = SIZES["dim"] // SIZES["heads"]
    weights = grouped.state_dict()
    for name, weight in weights.items():
        if name.endswith("key_value.weight"):
            heads = weight.view(2, SIZES["kv_heads"], size, SIZES["dim"])  # keys and values, each by head
            weights[name] = heads.repeat_interleave(SIZES["heads"] // SIZES["kv_heads"], dim=1).flatten(0, 2)
    full.load_state_dict(weights)
    given = {"source": tokens(2, 6, seed=1), "lengths": [5, 3], "source_lengths": [2, 6]}
    torch.testing.assert_close(grouped(tokens(2, 5), **given), full(tokens(2, 5), **given), atol=1e-10, rtol=0)


def scores_at(position):
    """Products of one query and one key, standing at every pair of the given positions."""
    query, key = torch.randn(2, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    turns = rotations(position, 8, query)
    return rotated(query.expand(len(position), 8), turns) @ rotated(key.expand(len(position), 8), turns).T


def test_scores_depend_on_the_distance_alone():
    scores = scores_at(torch.arange(12))
    torch.testing.assert_close(scores, scores_at(torch.arange(12) + 1000), atol=1e-10, rtol=0)
    for distance in range(-11, 12):
        diagonal = scores.diagonal(distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), atol=1e-10, rtol=0)
    assert scores[0].unique().numel() == 12  # and on the distance they do depend


def test_the_record_shows_each_mask_in_its_place():
    model = build("both", encoder_layers=1, decoder_layers=1)
    with am.record(model) as log:
        model(tokens(2, 5), tokens(2, 7), lengths=[5, 3], source_lengths=[7, 4])
    assert [(call.module, call.name) for call in log.calls] == [
        ("encoder.0.attention", "padding([7, 4])"),
        ("decoder.0.attention", "causal() & padding([5, 3])"),
        ("decoder.0.cross", "padding([7, 4])"),
    ]
    assert [call.findings for call in log.calls] == [[], [], []]


def test_masks_in_notation_narrow_the_layers_in_turn():
    model = build(decoder_layers=3, masks="window(1); everything()")
    with am.record(model) as log:
        model(tokens(1, 6))
    assert [call.name for call in log.calls] == ["window(1)", "causal()", "window(1)"]
    report = am.check(build(decoder_layers=1, masks="window(1, 3)"), tokens(1, 6), allowed=am.window(1))
    assert report.ok, report
    torch.testing.assert_close(in_parts(model, tokens(2, 6), [3, 1, 2]), model(tokens(2, 6)), atol=1e-10, rtol=0)


def test_masks_in_notation_count_from_the_first_token_of_each_sequence():
    model = build(masks="sinks(1) | grid([2, 3], 2).shift(q=-1, k=-1); dilated(2)")
    rows, sizes = [tokens(size, seed=size) for size in (5, 2, 7)], [5, 2, 7]
    alone = [model(row[None])[0] for row in rows]
    torch.testing.assert_close(model(torch.cat(rows)[None], lengths=sizes)[0], torch.cat(alone), atol=1e-10, rtol=0)
    padded = torch.stack([F.pad(row, (7 - len(row), 0)) for row in rows])
    scores = in_parts(model, padded, [4, 1, 2], starts=[2, 5, 0])
    for row, start in enumerate((2, 5, 0)):
        torch.testing.assert_close(scores[row, start:], alone[row], atol=1e-10, rtol=0)


TURNS = [0, 0, 0, 1, 1, 2, 2, 3, 4, 5, 5]


def within_turns(history):
    """The same mask, row by row in plain Python."""
    return am.table([[abs(one - other) <= history for other in TURNS] for one in TURNS])


@pytest.mark.parametrize("history", [0, 1, 2])
@pytest.mark.parametrize("layers", [1, 2])
def test_a_layer_sees_so_many_turns_before_its_own(history, layers):
    inputs = {"target": tokens(1, len(TURNS)), "turns": torch.tensor([TURNS])}
    reach = am.causal() & within_turns(history * layers)
    report = am.check(build(history=history, decoder_layers=layers), inputs, vary="target", allowed=reach)
    assert report.ok, report
    assert not am.check(build(decoder_layers=layers), inputs, vary="target", allowed=reach).ok


def test_turns_that_nobody_masks_change_nothing():
    ids = tokens(1, len(TURNS))
    torch.testing.assert_close(build()(ids, turns=[TURNS]), build()(ids), atol=0, rtol=0)


def test_packed_conversations_equal_each_alone():
    model, sizes = build(history=1), [11, 1, 6]
    rows = [tokens(1, size, seed=size) for size in sizes]
    packed = model(torch.cat(rows, dim=1), lengths=sizes, turns=[[turn for size in sizes for turn in TURNS[:size]]])
    alone = torch.cat([model(row, turns=[TURNS[: row.shape[1]]]) for row in rows], dim=1)
    torch.testing.assert_close(packed, alone, atol=1e-12, rtol=0)
    assert (packed - torch.cat([build()(row) for row in rows], dim=1)).abs().max() > 1e-3


def test_tied_embeddings_read_what_they_write():
    model = build()
    hidden = model.features(tokens(1, 4))
    torch.testing.assert_close(model(tokens(1, 4)), hidden @ model.embedding.weight.T)
    assert sum(weight.shape[0] == SIZES["vocabulary"] for weight in model.parameters()) == 1


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: sequence_mask([4, 2, 1], 2, 4), "one entry per row.*got .4, 2, 1. for a batch of 2 x 4"),
        (lambda: sequence_mask([5, 2], 2, 4), "one entry per row"),
        (lambda: sequence_mask([2, 2], 1, 5), "fill one row.*got .2, 2. for a batch of 1 x 5"),
        (lambda: same_sequence(None, [2, 3]), "pack as many sequences; got .None, 2."),
        (lambda: same_sequence([2, 3, 1], [2, 3]), "pack as many sequences; got .3, 2.. Pack both or none"),
        (lambda: build("both")(tokens(1, 4)), "takes a source"),
        (lambda: Config(vocabulary=5, dim=36, heads=8), "divides dim.*got dim 36, heads 8, kv_heads 4"),
        (lambda: Config(vocabulary=5, heads=8, kv_heads=3), "kv_heads divides heads"),
        (lambda: Transformer(Config(vocabulary=5, masks="windw(3)")), "windw"),
    ],
)
def test_errors_name_the_rule(call, words):
    with pytest.raises((InputError, am.errors.MaskError), match=words):
        call()
