import random

from attnmask.recipes.data.split import split, templates

PLACES = ["French", "German", "Italian", "Basque", "Zulu", "Welsh"]
KINDS = ["library", "tool", "game", "font", "driver", "server", "client", "parser", "viewer", "editor"]
VERBS = ["reads", "writes", "shows", "sorts", "checks", "draws", "prints", "plays", "sends", "counts"]


def texts(count=2000):
    chance = random.Random(0)
    for number in range(count):
        kind, verb = chance.choice(KINDS), chance.choice(VERBS)
        middle = " and ".join(chance.sample(KINDS, chance.randrange(1, 4)))
        yield f"{kind} lib{number}-dev that {verb} {middle} for {chance.choice(PLACES)}, version {number}.{number % 7}"


def test_names_numbers_and_rare_words_are_taken_out():
    found = templates(list(texts()))
    assert all(not any(map(str.isdigit, template)) for template in found)
    assert not any(place.lower() in template for place in PLACES for template in found)
    assert "that" in found[0]


def test_no_template_is_on_two_sides():
    items = list(texts())
    template = dict(zip(items, templates(items), strict=True))
    train, watched, final = split(items, lambda item: item)
    assert watched
    assert final
    sides = [{template[item] for item in side} for side in (train, watched, final)]
    assert not sides[0] & sides[1]
    assert not sides[0] & sides[2]
    assert not sides[1] & sides[2]
    assert len(sides[1]) == len(watched)  # each held-out template once


def test_the_other_text_does_not_leak_either():
    items = [(item, f"{VERBS[number % 3]} everything") for number, item in enumerate(texts())]
    train, watched, final = split(items, lambda item: item[0], lambda item: item[1])
    known = {item[1] for item in train}
    assert known == {f"{verb} everything" for verb in VERBS[:3]}
    assert watched == final == []


def test_the_order_of_the_items_does_not_matter():
    items = list(texts())
    one, other = split(items, lambda item: item), split(items[::-1], lambda item: item)
    assert sorted(one[0]) == sorted(other[0])
