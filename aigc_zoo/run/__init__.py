"""Runs: what a configuration needs to be played, the loop that plays it, and the generators that it leaves."""
