"""A Messages request -> a chat request; ``request.py`` is the list of the steps, in order.

``media/`` has images and documents, ``tools/`` the tools that the backend is offered. What the answer has to look like
is decided here and read in ``reply/``; what a kind of backend takes is in ``backend/``. Imports go to both of them.
"""
