"""A tape as a file: the model, the YAML text, the JSON Schema, and the JSON values that can be stored.

This folder is the first of the list: it imports from no other folder.
"""
