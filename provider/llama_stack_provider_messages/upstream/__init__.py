"""One HTTP request to a backend that speaks the Messages API: its address, settings, connections and response.

What is sent, and what becomes of the answer, is decided by the lanes and by ``remote/``, which import from here.
Imports go from here to ``errors/`` and ``stack/``.
"""
