"""Loads what the media of a request need before it is translated: the text of PDFs, and what is at addresses.

``loader.py`` is the way in. Fetching has bounds on size, time, redirects and where an address may lead; a PDF is read
in a child process, which can be bounded and stopped. Imports go to ``translation/`` only.
"""
