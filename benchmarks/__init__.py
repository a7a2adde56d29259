"""Measurements, and the tables that the README and the docs show of them.

What measures (``calibration``, ``engines``, ``gpu``, ``streaming``, ``training``) writes JSON into
``results``. ``tables`` makes every table from it and writes them between markers: ``python -m
benchmarks.tables``. ``records`` shows what danet's own commands wrote. Everything is run from the root of the
repository.
"""
