"""Which model answers a request, on which lane, and why.

``aliases.py`` and ``catalog.py`` know the names of models, ``lanes.py`` chooses between the two lanes, asking a backend
(``probe.py``) where nothing else tells, and ``route.py`` is the result. How a lane answers does not belong here.
Imports go to ``upstream/`` and below; the lanes import from here.
"""
