"""Selects the model and the lane of each request.

There are two lanes: native (the request is passed through to the backend's own Messages API) and translated (it is
converted to chat completions). ``aliases.py`` and ``catalog.py`` resolve and list model names. ``lanes.py`` selects the
lane; if neither configuration nor provider decides, it probes the backend (``probe.py``). ``route.py`` has the result
and the interface of a lane. Imports go to ``upstream/`` and below; the lanes import from here.
"""
