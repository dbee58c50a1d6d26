"""One HTTP request to a backend that speaks the Messages API: its address, settings, connections and response.

The lanes and ``remote/`` build the requests and process the responses; they import from here. Imports go from here to
``errors/`` and ``stack/``.
"""
