"""Loads what a request's media need: the text of PDFs, and what stands at addresses."""

from .loader import MediaLoader

__all__ = ["MediaLoader"]
