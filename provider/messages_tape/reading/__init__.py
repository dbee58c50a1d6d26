"""What the bodies and streams of a tape say: their documents, the answer they add up to, text for people.

Imports go to ``format/``, and to the translation's fold of Messages events.
"""
