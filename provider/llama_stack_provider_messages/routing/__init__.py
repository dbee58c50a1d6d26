"""Selects the model and the lane of each request.

There are two lanes: native (the request is passed through to the backend's own Messages API) and translated (it is
converted to chat completions). ``catalog.py`` resolves and lists model names; the token limits in the list are from
``limits.py``. ``lanes.py`` selects the lane and defines its result, the route, and the interface of a lane; if neither
configuration nor provider decides, it probes the backend (``probe.py``). Imports go to ``upstream/`` and below; the
lanes import from here.
"""
