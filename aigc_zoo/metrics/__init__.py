"""Quality metrics of generated samples, each value with the protocol that it was measured by."""
