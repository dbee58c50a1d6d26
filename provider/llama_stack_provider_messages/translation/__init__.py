"""Translations between the Messages API and what the platform's backends speak: pure functions and objects."""
