"""Does a model leak? What calls really use (``record``), what outputs really depend on (``check``), and both (``audit``).

    model, inputs -> subjects/   ready to be run on variants of the inputs, whatever their axes and library
                  -> session     what the checks ask of it
                  -> checks/     one file for each situation, and for each kind of evidence
                  -> judging/    what is allowed in one case, and what follows from the evidence
                  -> report

``torch/`` and ``jax/`` are what only those libraries allow: derivatives, a look inside, recordings, caches.
"""
