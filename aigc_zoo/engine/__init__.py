"""The one trainer: turns, random streams, ranks. It knows no GAN and no modality."""
