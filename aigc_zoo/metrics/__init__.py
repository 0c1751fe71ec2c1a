"""How good samples are, each value with the protocol that it was measured by."""
