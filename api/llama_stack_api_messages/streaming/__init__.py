"""A stream of events as an HTTP response: encoding, pings in silence, clients that leave, reading ahead.

What the events say is decided elsewhere; nothing here reads them. Imports go from here to the package's root only.
"""
