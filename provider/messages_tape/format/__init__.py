"""A tape as a file: the model, the YAML it is written in, its JSON Schema, and the limits on what is read.

Imports nothing from the other folders.
"""
