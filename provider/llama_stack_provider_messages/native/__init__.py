"""The native lane: the client's bytes to an upstream that speaks the Messages API, and the upstream's bytes back.

``lane.py`` is the lane, and ``stream.py`` passes a stream on. The other modules each change or read one thing in the
bytes: the request (``request.py``), the model's name in a response (``model_name.py``), usage and the end of a stream
(``observer.py``), keys in an error event (``error_event.py``), and llama.cpp's deviations from the API (``repair/``).
``upstream/`` sends the HTTP requests and knows how SSE lines end, ``errors/`` translates failures. Only ``impl.py``
imports from here.
"""
