"""The native lane: the client's bytes to an upstream that speaks the Messages API, and the upstream's bytes back.

``backend.py`` is the lane. Around it stand the few things that it changes or reads in the bytes that pass: the request
(``request.py``), the model's name in an answer (``model_name.py``), usage and the end of a stream (``observer.py``),
keys in an error event (``error_event.py``), and what one engine does differently from the API (``repair/``). How bytes
reach an upstream is the business of ``upstream/``; what a failure is called, of ``errors/``. Nothing imports from here
but ``impl.py``.
"""
