"""Explain DANet's two attentions on one image: the paper's Figures 4 to 6 for any checkpoint and size.

:mod:`danet_train.explain.positions` gives rows of the position attention (eq. 1 and 2) without the whole
map, :mod:`danet_train.explain.channels` the channel attention (eq. 3 and 4),
:mod:`danet_train.explain.explanation` all that one picture shows, and :mod:`danet_train.explain.picture`
draws it.
"""
