import numpy as np
import pytest

from attnmask.recipes import Settings, summarize
from attnmask.recipes.data.debian import Description

SHARED = "This text is in the description of each and every package of the collection that it belongs to."


def descriptions(count=900):
    things = ["library", "tool", "game", "font", "driver", "server", "client", "parser", "viewer", "editor"]
    for number in range(count):
        one, two, three = (things[number % 10], things[number // 10 % 10], things[number // 100 % 10])
        yield Description(
            f"{one} with {two} and {three}",
            [
                f"The package {number} holds the {one}, and beside it the {two} and the {three} that go with it well.",
                SHARED,
                f"It is number {number} of those for people who want the {one} without the {three}.",
            ],
        )


def test_boilerplate_and_short_texts_are_left_out():
    found = summarize.of_packages([*descriptions(30), Description("short", ["too short"])])
    assert len(found) == 30
    assert all(SHARED not in body for body, _ in found)


def test_only_the_beginning_is_read():
    long = " ".join(f"word{number}" for number in range(150))
    ((body, synopsis),) = summarize.of_packages([Description("a long one", [long])])
    assert (body.split()[-1], len(body.split()), synopsis) == ("word79", 80, "a long one")


def test_a_stretch_of_each_source_is_said_again(tmp_path):
    recipe = summarize.Summarize(summarize.of_packages(list(descriptions())), tmp_path)
    count = len(recipe.train) // 2
    for summary, echo in zip(recipe.train[:count], recipe.train[count:], strict=True):
        assert summary.target[0] != echo.target[0]  # what tells one from the other
        stretch, source = echo.source[:-1], summary.source[:-1]
        assert echo.target[1:] == echo.source
        assert any(source[start : start + len(stretch)] == stretch for start in range(len(source)))
    assert all(example.target[0] == summarize.pairs.BEGIN for example in recipe.held_out)


def test_a_bootstrap_of_nothing_holds_zero():
    low, high = summarize.bootstrap(np.random.default_rng(0).normal(0, 1, 500))
    assert low < 0 < high


def test_it_learns_and_is_compared_to_the_first_words(tmp_path):
    from attnmask.recipes.learn.training import train

    recipe = summarize.Summarize(summarize.of_packages(list(descriptions())), tmp_path)
    settings = Settings(steps=20, evaluate_every=10, tokens=1500, warm_up=5, rate=3e-3)
    trained = train(recipe, tmp_path, settings, {}, say=lambda line: None, bar=lambda step, fraction: None)
    assert trained.history[1]["held_out"] < trained.history[0]["held_out"]
    recipe.final = recipe.final[:8]
    scores = recipe.score(trained.model)
    margin = scores["rouge_l"] - scores["rouge_l_first_words"]
    assert scores["margin_low"] - 0.02 <= margin <= scores["margin_high"] + 0.02  # rounded to 0.01 each
    assert recipe.samples(trained.model, 2).count("reference") == 2
    assert summarize.answer(trained.model, tmp_path, "The package 1 holds the tool.")


def test_a_file_of_ones_own(tmp_path):
    pytest.importorskip("tokenizers")
    found = summarize.of_packages(list(descriptions()))
    lines = [f"{body}\t{synopsis}" for body, synopsis in found]
    (tmp_path / "own.tsv").write_text("\n".join(lines))
    recipe = summarize.recipe(str(tmp_path / "own.tsv"), tmp_path)
    assert len(recipe.pairs) + len(recipe.held_out) <= len(found)
