"""The first-party families. They reach the core as strangers do: through entry points, `spec` and `game`."""
