"""One HTTP request to a backend: its address, its connections and its response.

``settings.py`` has what an operator configures, ``address.py`` resolves where a request goes and with which key
(``this_machine.py``: and whether a proxy is used), ``client.py`` sends it with an HTTP client of ``connections.py`` and
reads the response, ``transport.py`` carries it over connections of aiohttp, ``sse.py`` decodes a stream of events,
``metrics.py`` records a request, and ``state.py`` holds what is kept from one request to the next. The lanes and
``remote/`` build the requests and process the responses; they import from here. Imports go from here to ``errors/``,
``headers/`` and ``stack/``.
"""
