"""Other spellings of a mask: random rewritings that change no position, as people and tracers write them."""

from random import Random

from attnmask.define.language import Apply, Const, Index, Lookup, Node, sort_of, unnamed
from attnmask.define.mask import Mask

Q, K = Index("q"), Index("k")


def rewritten(mask: Mask, random: Random, steps: int = 4) -> Mask:
    """The mask after some rewritings at random places."""
    node = unnamed(mask.node)
    for _ in range(steps):
        node = somewhere(node, random)
    return Mask(node)


def somewhere(node: Node, random: Random) -> Node:
    """One rewriting, at the node or at one of its parts."""
    parts = node.args if isinstance(node, Apply) else node.at if isinstance(node, Lookup) else ()
    inner = [place for place, part in enumerate(parts) if not isinstance(part, Const)]
    if isinstance(node, Apply) and node.op in ("//", "%"):
        inner = inner[:1]  # divisors stay numbers
    if inner and random.random() < 0.7:
        place = random.choice(inner)
        part = parts[place]
        written = linearly(part, random) if isinstance(node, Lookup) else somewhere(part, random)
        new = (*parts[:place], written, *parts[place + 1 :])
        return Apply(node.op, new) if isinstance(node, Apply) else Lookup(node.table, new)
    rules = TERMS if sort_of(node) == "int" else COMPARED.get(getattr(node, "op", ""), ()) + TRUTHS
    return random.choice(rules)(node, random)


def linearly(at: Node, random: Random) -> Node:
    """Another spelling of a look-up's position; only sums are seen to stay inside a table."""
    return random.choice(LINEAR)(at, random)


def op(name: str, *args: Node) -> Apply:
    return Apply(name, args)


def number(random: Random) -> Const:
    return Const(random.randint(1, 5))


def term(random: Random) -> Node:
    return random.choice([Q, K, op("-", Q, K), op("*", Const(2), K), number(random)])


def truth(random: Random) -> Node:
    return random.choice(
        [op("<=", K, Q), op("<", op("-", Q, K), number(random)), op("==", op("%", K, Const(2)), Const(0))]
    )


def add_and_take(x: Node, random: Random) -> Node:
    y = term(random)
    return op("-", op("+", x, y), y)


def same_choice(x: Node, random: Random) -> Node:
    return op("where", truth(random), x, x)


def halved(x: Node, random: Random) -> Node:
    n = number(random)
    return op("//", op("+", op("*", n, x), Const(random.randint(0, n.value - 1))), n)


def by_cases(x: Node, random: Random) -> Node:
    """A minimum, maximum, size or remainder in other words; anything else plus nothing."""
    match x:
        case Apply("minimum", (y, z)):
            return op("where", op("<", y, z), y, z)
        case Apply("maximum", (y, z)):
            return op("where", op("<", y, z), z, y)
        case Apply("abs", (y,)):
            return random.choice(
                [op("maximum", y, op("-", Const(0), y)), op("where", op("<", y, Const(0)), op("-", Const(0), y), y)]
            )
        case Apply("%", (y, n)):
            return op("-", y, op("*", n, op("//", y, n)))
    return op("+", x, Const(0))


LINEAR = (
    add_and_take,
    lambda x, random: op("-", Const(0), op("-", Const(0), x)),
    lambda x, random: op("*", Const(1), x),
    lambda x, random: op("-", op("*", Const(2), x), x),
)
TERMS = (
    *LINEAR,
    same_choice,
    halved,
    by_cases,
    lambda x, random: op("minimum", x, op("+", x, number(random))),
)


def shifted_sides(node: Apply, random: Random) -> Node:
    y = term(random)
    return op(node.op, *(op("+", side, y) for side in node.args))


def multiplied(node: Apply, random: Random) -> Node:
    n = number(random)
    return op(node.op, *(op("*", n, side) for side in node.args))


def turned(node: Apply, random: Random) -> Node:
    x, y = (op("-", Const(0), side) for side in node.args)
    return op(node.op, y, x)


def at_most(node: Apply, random: Random) -> Node:
    x, y = node.args
    return random.choice(
        [
            op("<", x, op("+", y, Const(1))),
            op("~", op("<", y, x)),
            op("<=", Const(0), op("-", y, x)),
            op("|", op("<", x, y), op("==", x, y)),
            op("==", op("minimum", x, y), x),
            op("==", op("maximum", op("-", x, y), Const(0)), Const(0)),
        ]
    )


def less(node: Apply, random: Random) -> Node:
    x, y = node.args
    return random.choice(
        [
            op("<=", op("+", x, Const(1)), y),
            op("~", op("<=", y, x)),
            op("<", Const(0), op("-", y, x)),
            op("&", op("<=", x, y), op("~", op("==", x, y))),
        ]
    )


def equal(node: Apply, random: Random) -> Node:
    x, y = node.args
    return random.choice(
        [
            op("==", y, x),
            op("==", op("-", x, y), Const(0)),
            op("&", op("<=", x, y), op("<=", y, x)),
            op("&", op("~", op("<", x, y)), op("~", op("<", y, x))),
            op("==", op("abs", op("-", x, y)), Const(0)),
        ]
    )


COMPARED = {
    "<=": (shifted_sides, multiplied, turned, at_most, at_most),
    "<": (shifted_sides, multiplied, turned, less, less),
    "==": (shifted_sides, multiplied, turned, equal, equal),
}


def other_order(node: Node, random: Random) -> Node:
    if not isinstance(node, Apply) or node.op not in ("&", "|"):
        return op("~", op("~", node))
    parts = list(node.args)
    random.shuffle(parts)
    return Apply(node.op, tuple(parts))


def opposite_of_opposites(node: Node, random: Random) -> Node:
    if not isinstance(node, Apply) or node.op not in ("&", "|"):
        return op("~", op("~", node))
    return op("~", Apply("|" if node.op == "&" else "&", tuple(op("~", part) for part in node.args)))


def in_two_cases(node: Node, random: Random) -> Node:
    case = truth(random)
    return op("|", op("&", node, case), op("&", node, op("~", case)))


TRUTHS = (
    other_order,
    opposite_of_opposites,
    in_two_cases,
    lambda a, random: op("&", a, a),
    lambda a, random: op("|", a, op("&", a, truth(random))),
    lambda a, random: op("&", a, op("|", truth(random), a)),
    lambda a, random: op("&", a, Const(True)),
    lambda a, random: op("|", Const(False), a),
    lambda a, random: op("&", a, op("<=", Const(0), K)),
    lambda a, random: op("|", a, op("<", K, Const(0))),
    lambda a, random: op("==", op("where", a, Const(1), Const(0)), Const(1)),
)
