"""Generation: caches, padding and beams change nothing but the search; chance comes from the generator alone."""

import itertools

import pytest
import torch

from attnmask.errors import InputError
from attnmask.model.generate import _beam_search, _Decoding, generate
from tests.model.small import SIZES, build, tokens

END = 0
PROMPTS = [[3], [5, 1, 7, 2, 2], [8, 4, 1], [9, 9]]
SOURCES = [[1, 2, 3], [4], [5, 6, 7, 8, 9, 1], [2, 2]]


def sources_of(kind):
    return SOURCES if kind == "both" else None


def by_hand(model, prompt, source, most):
    """Greedy search by one full pass per token, without a cache."""
    given = [] if source is None else [torch.tensor([source])]
    drawn = []
    while len(drawn) < most:
        with torch.no_grad():
            token = int(model(torch.tensor([prompt + drawn]), *given)[0, -1].argmax())
        if token == END:
            break
        drawn.append(token)
    return drawn


@pytest.mark.parametrize("kind", ["decoder", "both"])
@pytest.mark.parametrize("seed", range(4))
def test_greedy_takes_the_likeliest_token_of_each_full_pass(kind, seed):
    model, sources = build(kind, seed), sources_of(kind)
    found = generate(model, PROMPTS, sources, most=7, end=END)
    assert found == [by_hand(model, *pair, 7) for pair in zip(PROMPTS, sources or [None] * 4, strict=True)]


@pytest.mark.parametrize("kind", ["decoder", "both"])
@pytest.mark.parametrize("beams", [1, 2, 4])
@pytest.mark.parametrize("seed", range(3))
def test_a_batch_of_prompts_equals_each_alone(kind, beams, seed):
    model, sources = build(kind, seed), sources_of(kind)
    found = generate(model, PROMPTS, sources, most=6, end=END, beams=beams)
    for place, prompt in enumerate(PROMPTS):
        source = None if sources is None else [sources[place]]
        assert generate(model, [prompt], source, most=6, end=END, beams=beams) == [found[place]]


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("seed", range(3))
def test_a_conversation_goes_on_within_its_last_turn(beams, seed):
    model, turns = build(seed=seed, history=1), [[0], [0, 0, 1, 2, 3], [0, 1, 2], [0, 1]]
    found = generate(model, PROMPTS, most=6, end=END, beams=beams, turns=turns)
    for prompt, numbers, drawn in zip(PROMPTS, turns, found, strict=True):
        assert generate(model, [prompt], most=6, end=END, beams=beams, turns=[numbers]) == [drawn]
        if beams == 1:
            told = model(torch.tensor([prompt + drawn]), turns=[numbers + numbers[-1:] * len(drawn)])
            assert told[0, len(prompt) - 1 :].argmax(-1).tolist()[: len(drawn)] == drawn


def test_sequences_of_different_lengths_come_out_of_one_batch():
    lengths = {len(row) for seed in range(8) for row in generate(build(seed=seed), PROMPTS, most=6, end=END)}
    assert len(lengths) > 3  # or the tests above would not see what happens after an end


def mean_log_probability(model, prompt, source, continuation):
    given = [] if source is None else [torch.tensor([source])]
    with torch.no_grad():
        scores = model(torch.tensor([prompt + continuation]), *given).log_softmax(-1)[0, len(prompt) - 1 : -1]
    return float(scores.gather(1, torch.tensor(continuation)[:, None]).mean())


def continuations(vocabulary, most):
    """Every sequence that ends within ``most`` tokens, its end included, and every one that is cut there."""
    words = [token for token in range(vocabulary) if token != END]
    for length in range(most):
        yield from ([*row, END] for row in itertools.product(words, repeat=length))
    yield from (list(row) for row in itertools.product(words, repeat=most))


@pytest.mark.parametrize("kind", ["decoder", "both"])
@pytest.mark.parametrize("seed", range(6))
def test_beams_for_everything_find_the_best_of_all(kind, seed):
    vocabulary, most = 4, 3
    model = build(kind, seed, vocabulary=vocabulary)
    prompts = [[1], [2, 3, 1], [3, 3]]
    sources = [[1, 2], [3], [2, 2, 1]] if kind == "both" else None
    everything = list(continuations(vocabulary, most))
    found = generate(model, prompts, sources, most=most, end=END, beams=len(everything) + 3)
    for prompt, source, row in zip(prompts, sources or [None] * 3, found, strict=True):
        best = max(everything, key=lambda one: mean_log_probability(model, prompt, source, one))
        assert row == [token for token in best if token != END]


@pytest.mark.parametrize("kind", ["decoder", "both"])
def test_a_wider_beam_may_find_what_greedy_does_not(kind):
    model = build(kind)
    sources = sources_of(kind)
    greedy = generate(model, PROMPTS, sources, most=5, end=END)
    wide = generate(model, PROMPTS, sources, most=5, end=END, beams=5)
    assert greedy != wide


@pytest.mark.parametrize("kind", ["decoder", "both"])
@pytest.mark.parametrize("seed", range(3))
def test_one_beam_is_greedy(kind, seed):
    model, sources = build(kind, seed), sources_of(kind)
    with torch.no_grad():
        found = _beam_search(_Decoding(model, PROMPTS, sources, 1), 1, 6, END)
    assert found == generate(model, PROMPTS, sources, most=6, end=END)


DRAWS = 4000


def frequencies(model, prompt, **options):
    """How often each token is the first to be drawn."""
    generator = torch.Generator().manual_seed(0)
    rows = generate(model, [prompt] * DRAWS, most=1, end=END, generator=generator, **options)
    drawn = torch.tensor([row[0] if row else END for row in rows])
    return torch.bincount(drawn, minlength=SIZES["vocabulary"]) / DRAWS


def chances(model, prompt, temperature=1.0):
    with torch.no_grad():
        return (model(torch.tensor([prompt]))[0, -1] / temperature).softmax(-1)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_draws_follow_the_temperature(temperature):
    model, prompt = build(), [5, 1, 7]
    wanted = chances(model, prompt, temperature)
    assert wanted.max() < 0.9  # something is left to chance
    found = frequencies(model, prompt, temperature=temperature)
    torch.testing.assert_close(found.double(), wanted, atol=4 * 0.5 / DRAWS**0.5, rtol=0)


@pytest.mark.parametrize("top_p", [1e-6, 0.3, 0.6, 0.9])
def test_draws_are_among_the_likeliest_tokens(top_p):
    model, prompt = build(), [5, 1, 7]
    ordered, order = chances(model, prompt).sort(descending=True)
    count = int((ordered.cumsum(0) < top_p).sum()) + 1  # the fewest that together have this chance
    wanted = torch.zeros(SIZES["vocabulary"], dtype=torch.float64)
    wanted[order[:count]] = ordered[:count] / ordered[:count].sum()
    found = frequencies(model, prompt, temperature=1.0, top_p=top_p)
    assert set(found.nonzero()[:, 0].tolist()) <= set(order[:count].tolist())
    torch.testing.assert_close(found.double(), wanted, atol=4 * 0.5 / DRAWS**0.5, rtol=0)


def test_the_generator_decides_the_draws():
    def drawn(seed):
        generator = torch.Generator().manual_seed(seed)
        return generate(build(), PROMPTS, most=8, end=END, temperature=1.5, generator=generator)

    torch.manual_seed(0)
    first = drawn(1)
    torch.manual_seed(1)
    assert drawn(1) == first
    assert drawn(2) != first


def test_a_model_in_training_stays_in_training_and_is_run_without_dropout():
    model = build(dropout=0.5).train()
    first = generate(model, PROMPTS, most=6, end=END)
    assert model.training
    assert generate(model, PROMPTS, most=6, end=END) == first == generate(model.eval(), PROMPTS, most=6, end=END)
    assert not model.training


def test_at_most_so_many_tokens_and_none_after_the_end():
    model = build()
    for most in (1, 2, 5):
        for beams in (1, 3):
            rows = generate(model, PROMPTS, most=most, end=END, beams=beams)
            assert all(len(row) <= most and END not in row for row in rows)
    never = int(tokens(1, 1)[0, 0])
    assert generate(model, PROMPTS, most=3, end=never) == [
        row[: row.index(never)] if never in row else row for row in generate(model, PROMPTS, most=3, end=-1)
    ]


@pytest.mark.parametrize(("prompts", "most"), [([], 3), ([[1], []], 3), ([[1]], 0)])
def test_errors_name_the_rule(prompts, most):
    with pytest.raises(InputError, match="prompts hold a token each, and most is at least 1; got"):
        generate(build(), prompts, most=most, end=END)
