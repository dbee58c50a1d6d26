"""The pytest plugin and what tests with tapes need: recorded upstreams, stacks, engines, and which tests name a tape.

Imports go to ``http/`` and below.
"""
