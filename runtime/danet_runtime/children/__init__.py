"""Child processes: what may hang or crash there can be ended, and takes nothing along.

What runs inside of one imports nothing heavy from here: not even numpy.
"""
