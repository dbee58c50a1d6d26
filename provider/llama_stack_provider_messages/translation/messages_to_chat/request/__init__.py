"""Messages request -> chat request; ``request.py`` lists the steps in order.

``media/`` has images and documents, ``tools/`` the tools sent to the backend. Options for the reply are set here and
read in ``reply/``; the features and limits of backends are in ``backend/``. This folder imports from both.
"""
