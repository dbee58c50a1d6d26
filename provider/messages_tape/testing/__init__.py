"""The pytest plugin, and what tests with tapes need: tape servers, stacks, the engine, and unused tape detection.

This folder imports only from folders listed before it: ``format/``, ``reading/``, ``secrets/``, ``core/``, ``files/``
and ``http/``.
"""
