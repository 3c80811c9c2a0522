"""Watching a sweep: a view model folded from events, and two ways to show it."""
