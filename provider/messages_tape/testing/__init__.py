"""The pytest plugin, and what tests with tapes need: tape servers, stacks, the engine, and unused tape detection.

Imports go to ``http/`` and below.
"""
