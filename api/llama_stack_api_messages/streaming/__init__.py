"""Sends a stream of events as an HTTP response: encoding, pings, client disconnects, read-ahead.

Nothing here reads or changes the content of events. Imports go from here to the package's root only.
"""
