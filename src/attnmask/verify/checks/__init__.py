"""What is looked at when a model is checked, one file each; the folder is the registry.

Every case is looked at through four kinds of evidence, each a file with ``evidence(case, ...)``:

    perturbation   what happens to outputs when what they must not see is replaced
    gradient       on which positions outputs depend, by derivatives
    life           whether outputs depend on anything at all, and which are no numbers
    rounding       whether a small influence is a leak, or rounding

The other files say in which situations a model is tried. Each has

    NAME                             how ``check(..., scenarios=[NAME])`` asks for it
    LEVEL                            "quick", or "thorough"
    sections(session) -> Sections    what was tried and found; a ``Skipped`` says why nothing could be
"""
