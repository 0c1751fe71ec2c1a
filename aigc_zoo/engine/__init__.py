"""The training engine: the trainer, random streams, ranks and sampling. It knows no GAN and no modality."""
