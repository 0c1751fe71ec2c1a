"""`zoo export`: export a generator to safetensors, torch.export or ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click


@click.command("export")
@click.argument("source", metavar="RUN|FILE", type=click.Path(path_type=Path))
@click.option("--to", metavar="FOLDER|onnx", required=True, help="Output folder; `onnx` means --onnx and RUN/export.")
@click.option("--onnx", is_flag=True, help="Also export to ONNX; needs the extra [onnx].")
@click.option("--licence", default="", metavar="SPDX", help="Licence of the weights, such as CC-BY-4.0.")
@click.pass_obj
def command(obj: Any, source: Path, to: str, onnx: bool, licence: str) -> None:
    """Export the generator of RUN, or a generator FILE, to safetensors, torch.export or ONNX.

    generator.safetensors is read by this library, generator.pt2 by torch.export.load and generator.onnx by any ONNX
    runtime; the last two are functions of the noise. published.json states digests, sizes, licence, and metrics with
    their protocols. Each file is run and must match the generator to 1e-5 of the range of its samples.
    """
    from aigc_zoo.run.export import export_generator, export_to

    folder = export_to(source, None if to == "onnx" else to)
    for path, error in export_generator(obj.catalogue(), source, folder, onnx=onnx or to == "onnx", licence=licence):
        size = f"{path.stat().st_size / 2**20:.2f} MiB"
        click.echo(f"{path}  {size}, output differs by {error:.1e} of the range at most")
    click.echo(folder / "published.json")
