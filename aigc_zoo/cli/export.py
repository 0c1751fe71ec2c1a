"""`zoo export`: a generator for others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click


@click.command("export")
@click.argument("source", metavar="RUN|FILE", type=click.Path(path_type=Path))
@click.option("--to", metavar="FOLDER|onnx", required=True, help="The folder; `onnx` is RUN/export, with --onnx.")
@click.option("--onnx", is_flag=True, help="Write ONNX as well; needs the extra [onnx].")
@click.option("--licence", default="", metavar="SPDX", help="What others may do with the weights, such as CC-BY-4.0.")
@click.pass_obj
def command(obj: Any, source: Path, to: str, onnx: bool, licence: str) -> None:
    """Write the generator of RUN, or of a FILE, for others: weights, a program, and what both are.

    generator.safetensors is for this library, generator.pt2 for torch.export.load, generator.onnx for any ONNX runtime,
    the last two as functions of the noise. published.json has digests, sizes, the licence and the metrics with their
    protocols. Each file is re-run and compared with the generator, to 1e-5 of the range of its samples.
    """
    from aigc_zoo.errors import DataError
    from aigc_zoo.run.export import export_generator

    if not source.exists():
        raise DataError(f"{source}: no such run or file")
    home = source if source.is_dir() else source.parent
    folder = home / "export" if to == "onnx" else Path(to)
    for path, error in export_generator(obj.catalogue(), source, folder, onnx=onnx or to == "onnx", licence=licence):
        click.echo(
            f"{path}  {path.stat().st_size / 2**20:.2f} MiB, re-run: differs by {error:.1e} of the range at most"
        )
    click.echo(folder / "published.json")
