"""Metrics of generated samples."""

from collections.abc import Iterable

from aigc_zoo.spec import Component, hookimpl

ZOO_API = 1

# module -> (name, summary, paper); the target has the name of the metric, with underscores
METRICS = {
    "fidelity": (
        ("fid", "Frechet distance of features", "arXiv:1706.08500"),
        (
            "kid",
            "KID: squared distance of features under a cubic kernel, unbiased with few samples",
            "arXiv:1801.01401",
        ),
        ("isc", "Inception Score: how certain and how varied the classes of samples are", "arXiv:1606.03498"),
        ("prc", "Precision and recall of the data's manifold", "arXiv:1904.06991"),
    ),
    "neighbours": (
        ("dac", "Density and coverage", "arXiv:2002.09797"),
        ("variance-ratio", "Variance of features relative to the data's", ""),
        ("duplicates", "Fraction of samples with a near-duplicate", ""),
        ("memorization", "Distance to training samples relative to that of held-out ones", "arXiv:2004.05675"),
    ),
    "modes": (
        ("modes", "Classes that are found among samples, and the divergence of their frequencies", "arXiv:1611.02163"),
        ("mixture", "Modes of a mixture of points that are found, and the divergence of their frequencies", ""),
    ),
    "pairs": (
        ("psnr", "Peak signal-to-noise ratio of translated images and their targets", ""),
        ("ssim", "Structural similarity of translated images and their targets", "doi:10.1109/TIP.2003.819861"),
        ("ms-ssim", "Structural similarity over five scales", "doi:10.1109/ACSSC.2003.1292216"),
        ("cycle-error", "Distance of sources from what they become there and back", "arXiv:1703.10593"),
        ("identity-error", "Distance of targets from what the translator makes of them", "arXiv:1703.10593"),
    ),
}


@hookimpl
def zoo_components() -> Iterable[Component]:
    for module, rows in METRICS.items():
        for name, summary, paper in rows:
            target = f"{__name__}.{module}:{name.replace('-', '_')}"
            yield Component(kind="metric", name=name, target=target, summary=summary, paper=paper)
