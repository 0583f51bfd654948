from dataclasses import replace

import pytest

from attnmask.errors import InputError
from attnmask.recipes import pairs, translate
from attnmask.recipes.data import django
from attnmask.recipes.text import BEGIN, END, PAD, UNKNOWN

pytest.importorskip("django")


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    return translate.recipe("django:it", tmp_path_factory.mktemp("none"))


def test_django_has_hundreds_of_pairs():
    pairs = django.pairs("it")
    assert len(pairs) > 500
    assert all(one and two and one != two for one, two in pairs)


def test_an_unknown_language_is_refused():
    with pytest.raises(InputError, match="Django is translated into many languages; got 'xx'"):
        django.pairs("xx")


def test_examples_begin_and_end(recipe):
    assert len(recipe.train) == len(recipe.pairs)
    for example in recipe.train[:50]:
        assert example.target[0] == BEGIN
        assert example.target[-1] == example.source[-1] == END
        assert not {PAD, UNKNOWN} & {*example.target, *example.source}


def test_the_tokenizer_gives_the_text_back(recipe):
    source, target = recipe.pairs[5]
    assert pairs.text.decode(recipe.tokenizer, [recipe.train[5].source, recipe.train[5].target]) == [source, target]


def test_the_tokenizer_learns_from_training_texts_only(recipe, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(pairs.text, "learn", lambda texts, vocabulary: seen.extend(texts) or recipe.tokenizer)
    again = translate.recipe("django:it", tmp_path)
    assert sorted(seen) == sorted(side for pair in again.pairs for side in pair)
    assert not {source for source, _ in again.final} & set(seen)


def test_baselines_stand_beside_the_score(recipe, tmp_path):
    from attnmask.model.transformer import Transformer

    recipe.final = recipe.final[:10]
    config = replace(recipe.config, dim=32, heads=2, kv_heads=1, encoder_layers=1, decoder_layers=1, hidden=64)
    scores = recipe.score(Transformer(config))
    names = {"bleu", "bleu_copy", "bleu_dictionary", "bleu_nearest", "bleu_far", "texts_far", "texts"}
    assert scores.keys() == names
    assert 0 < scores["texts_far"] <= 10
    assert scores["bleu"] < scores["bleu_dictionary"]


def test_too_few_pairs_are_refused(tmp_path):
    (tmp_path / "few.tsv").write_text("one\tuno\ntwo\tdue\n")
    with pytest.raises(InputError, match="some templates are held out; got 2 pairs"):
        translate.recipe(str(tmp_path / "few.tsv"), tmp_path)
