"""Opens, checks and saves the files of tapes, also where several processes record at once.

Imports go to ``core/`` and below.
"""
