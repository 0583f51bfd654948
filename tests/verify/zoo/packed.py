"""Documents in one sequence that see each other."""

import torch
from torch import nn
from torch.nn import functional as F

import attnmask as am
from tests.verify.zoo.blocks import DIM, Leaking, Packed, Right, Shown, attends, future, ids, mixes, softmax

POSITIONS = [0, 1, 2, 3, 0, 1, 2, 0, 1, 2]
NUMBERS = [0, 0, 0, 0, 1, 1, 1, 2, 2, 2]
OTHERS = [0, 0, 1, 1, 1, 1, 1, 1, 1, 1]
OTHER_POSITIONS = [0, 1, 0, 1, 2, 3, 4, 5, 6, 7]


def packed(*positions):
    return {"input_ids": ids(10, len(positions)), "position_ids": torch.tensor(positions)}


ONE, TWO = packed(POSITIONS), packed(OTHER_POSITIONS, POSITIONS)
ALLOWED = am.documents(NUMBERS) & am.causal()
ALLOWED_TWO = am.documents([OTHERS, NUMBERS]) & am.causal()


def documents(positions):
    """The number of each position's document: a new one starts at every 0."""
    return (positions == 0).cumsum(-1)


def within(numbers):
    """Causal attention inside each document."""

    def weights(scores, positions):
        mine = numbers(positions)
        apart = mine[:, :, None] != mine[:, None, :]
        return softmax(scores.masked_fill((apart | future(scores.shape[-1]))[:, None], -torch.inf))

    return weights


def joined(scores, positions):
    """Positions start again, and nothing else says where a document ends."""
    return softmax(scores.masked_fill(future(scores.shape[-1]), -torch.inf))


def one_late(positions):
    """Each border stands one token too late."""
    return documents(F.pad(positions, (1, 0), value=1)[:, :-1])


def of_first_row(positions):
    return documents(positions[:1])


def convolved(stops):
    """A causal convolution of two tokens that does or does not stop at a border."""

    def mix(x, here, before, positions):
        earlier = F.pad(before(x), (0, 0, 1, 0))[:, :-1]
        return here(x) + (earlier * (positions[..., None] > 0) if stops else earlier)

    return mix


def recurrent(resets):
    """A state that is or is not set back at a border."""

    def mix(x, positions):
        state, states = torch.zeros_like(x[:, 0]), []
        for row, place in zip(x.unbind(1), positions.unbind(1), strict=True):
            state = row + 0.7 * (state * (place > 0)[:, None] if resets else state)
            states.append(state)
        return torch.stack(states, 1)

    return mix


def averaged(visible):
    """The mean so far, of the document or of the whole row."""

    def mix(x, positions):
        mine = documents(positions)
        same = (mine[:, :, None] == mine[:, None, :]) | (not visible)
        weights = (same & ~future(x.shape[1])).to(x)
        return weights / weights.sum(-1, keepdim=True) @ x

    return mix


def linear():
    return nn.Linear(DIM, DIM)


def entry(name, about, broken, repaired, pairs=((4, 0),), inputs=ONE, allowed=ALLOWED, **more):
    return Leaking(name, about, broken, repaired, inputs, pairs=pairs, allowed=allowed, **more)


RIGHT_ATTENTION = attends(within(documents), Packed)

LEAKING = [
    entry(
        "documents joined", "position ids start again, but nothing is masked", attends(joined, Packed), RIGHT_ATTENTION
    ),
    entry(
        "documents one token late",
        "each border is off by one",
        attends(within(one_late), Packed),
        RIGHT_ATTENTION,
        ((4, 1),),
    ),
    entry(
        "documents of the first row",
        "one row's documents serve the whole batch",
        attends(within(of_first_row), Packed),
        RIGHT_ATTENTION,
        ((4, 2),),
        TWO,
        ALLOWED_TWO,
        shown=Shown(row=1, batch=2),
    ),
    entry(
        "convolution over borders",
        "the window of a first token holds the last of the document before",
        mixes(convolved(False), Packed, here=linear, before=linear),
        mixes(convolved(True), Packed, here=linear, before=linear),
        ((4, 3),),
    ),
    entry(
        "state over borders",
        "a recurrence is not set back",
        mixes(recurrent(False), Packed),
        mixes(recurrent(True), Packed),
    ),
    entry(
        "mean over borders",
        "a mean so far goes on over the documents",
        mixes(averaged(False), Packed),
        mixes(averaged(True), Packed),
    ),
]

RIGHT = [
    Right("packed documents", "a mask from position ids", RIGHT_ATTENTION, ONE, allowed=ALLOWED),
    Right("packed rows", "each row has documents of its own", RIGHT_ATTENTION, TWO, allowed=ALLOWED_TWO),
]
