import math
import random
from dataclasses import replace

import pytest

import attnmask as am
from attnmask.errors import InputError
from attnmask.model.transformer import Transformer
from attnmask.recipes import Settings, chat
from attnmask.recipes.data import chatterbot
from attnmask.recipes.learn.training import train
from attnmask.recipes.text import BEGIN, END

pytest.importorskip("chatterbot_corpus")


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    return chat.recipe(None, tmp_path_factory.mktemp("none"))


def test_the_corpus_holds_conversations_each_once():
    found = chatterbot.conversations("english")
    assert len(found) == len(set(found)) > 700
    assert all(len(turns) >= 2 and all(turns) for turns in found)
    assert sum(len(turns) > 2 for turns in found) > 70


def test_questions_without_an_answer_are_left_out(tmp_path, monkeypatch):
    (tmp_path / "klingon").mkdir()
    text = "conversations:\n- - Good  day\n  - Yes\n- a question alone\n- - one turn\n- - said\n  - ''\n- - Good day\n  - Yes\n"
    (tmp_path / "klingon" / "some.yml").write_text(text)
    monkeypatch.setattr(chatterbot, "_folder", lambda: tmp_path)
    assert chatterbot.conversations("klingon") == [("Good day", "Yes")]
    with pytest.raises(InputError, match=r"speaks some languages; got 'elvish'\. Take one of klingon"):
        chatterbot.conversations("elvish")


def test_every_turn_but_the_first_is_learned(recipe):
    turns = ("How are you?", "Fine.", "Good.")
    one = chat.example(recipe.tokenizer, turns)
    said = chat.text.decode(recipe.tokenizer, [[token for token in one.target if token not in (BEGIN, END)]])
    assert said == ["How are you?Fine.Good."]
    assert one.target[one.given - 1] == END  # what is learned begins behind the end of the first turn
    assert one.target.count(END) == 3
    assert len(one.turns) == len(one.target)
    assert [one.turns[place] for place, token in enumerate(one.target) if token == END] == [1, 2, 3]


def test_openings_are_on_one_side_and_known_answers_are_not_asked(recipe):
    known = {chat.words([turns[0]])[0] for turns in recipe.known}
    heard = {pair for turns in recipe.known for pair in chat.pairwise(chat.words(list(turns)))}
    assert len(recipe.asked) > 50
    assert {len(turns) for turns in recipe.asked} > {2, 3}
    for turns in recipe.asked:
        assert chat.words([turns[0]])[0] not in known
        assert tuple(chat.words(list(turns[-2:]))) not in heard


def test_the_mask_shows_the_last_turns_only_and_its_absence_is_seen(recipe):
    inputs = recipe.probe()
    turns = inputs["turns"][0].tolist()
    assert turns[-1] > chat.HISTORY  # or the history would hide nothing
    seen = am.table([[one - other <= chat.HISTORY for other in turns] for one in turns])
    config = replace(recipe.config, decoder_layers=1)
    assert am.check(Transformer(config), inputs, vary="target", allowed=am.causal() & seen).ok
    every = replace(config, history=None)
    assert not am.check(Transformer(every), inputs, vary="target", allowed=am.causal() & seen).ok
    assert am.check(Transformer(every), inputs, vary="target", allowed=am.causal()).ok


WORDS = [f"{one}{two}" for one in ("sun", "sea", "ice", "oak") for two in ("set", "way", "man", "bird", "fall")]


def rounds(count=400, seed=0):
    """Two words; then the one that comes behind the last in WORDS, turn for turn."""
    chance = random.Random(seed)
    for _ in range(count):
        place = chance.randrange(len(WORDS))
        yield (f"{chance.choice(WORDS)} {WORDS[place]}", after(place), after(place + 1))


def after(place):
    return WORDS[(place + 1) % len(WORDS)]


def test_it_learns_to_answer_from_what_was_said_before(tmp_path):
    recipe = chat.Chat(list(dict.fromkeys(rounds())), tmp_path)
    recipe.config = replace(recipe.config, dim=64, decoder_layers=2, hidden=128, dropout=0.0)
    settings = Settings(steps=160, evaluate_every=80, tokens=600, warm_up=10, rate=1e-2)
    trained = train(recipe, tmp_path, settings, {}, say=lambda line: None, bar=lambda step, fraction: None)
    assert trained.history[1]["held_out"] < trained.history[0]["held_out"]
    scores = recipe.score(trained.model)
    assert scores["exact"] >= 60
    assert scores["perplexity"] < scores["perplexity_unigram"]
    assert scores["chrf"] > scores["chrf_nearest"]
    assert recipe.samples(trained.model, 2).count("> ") == 2
    assert chat.answer(trained.model, tmp_path, f"{WORDS[3]} {WORDS[7]}\n{WORDS[8]}") == WORDS[9]
    with pytest.raises(InputError, match="answers to a conversation; got ' '"):
        chat.answer(trained.model, tmp_path, " ")


def test_what_was_said_before_on_the_turn_most_alike():
    known = [("what is the moon", "a stone"), ("what is the sun", "a star", "is it hot", "very")]
    assert chat.as_before(known, [("tell me", "the sun"), ("so hot",)]) == ["a star", "very"]


def test_unigrams_by_hand():
    known = [chat.Example([BEGIN, 5, END, 6, 6, END], given=3)]
    tested = [chat.Example([BEGIN, 6, END, 6, 5], given=3)]
    assert chat.unigram_perplexity(known, tested, 7) == pytest.approx(math.sqrt((10 / 3) * (10 / 1)))


def test_a_file_of_ones_own(tmp_path):
    (tmp_path / "own.tsv").write_text("".join("\t".join(turns) + "\n" for turns in rounds(300)))
    recipe = chat.recipe(str(tmp_path / "own.tsv"), tmp_path)
    assert len(recipe.known) > 200
    (tmp_path / "few.tsv").write_text("Hi\tHello\n")
    with pytest.raises(InputError, match="some conversations are held out; got 1, too few"):
        chat.recipe(str(tmp_path / "few.tsv"), tmp_path)
