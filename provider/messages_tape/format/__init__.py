"""A tape as a file: the model, the YAML text, the JSON Schema, and the JSON values that can be stored.

Imports nothing from the other folders.
"""
