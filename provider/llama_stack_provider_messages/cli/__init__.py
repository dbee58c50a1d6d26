"""The command line ``messages``: checks a run.yaml, starts and stops a stack, and prepares clients for it.

``main.py`` has the group and the table of commands. Each command is a click command named ``command`` in its own
module, which is imported when the command is used. The room may import from every other room; nothing imports from it.
The code of a running server is not here: these commands read files, start processes and send HTTP requests.
"""
