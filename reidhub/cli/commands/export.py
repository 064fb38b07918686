"""``reidhub export``: write a file for another runtime, and check it with that runtime."""

import json
from dataclasses import asdict
from typing import Any

import click

from reidhub.cli.examples import Command
from reidhub.cli.options import architecture_option, json_option, model_argument, print_defaults


@click.command(
    "export",
    cls=Command,
    examples="""
    # Write an ONNX file that takes any number of images
    reidhub export osnet_x1_0.msmt17 --format onnx --dynamic
    # Write your own checkpoint for OpenVINO, with weights of half the size
    reidhub export my.pth --format openvino --half
    """,
)
@model_argument
@click.option(
    "--format",
    type=click.Choice(["onnx", "openvino", "torch-export", "safetensors"]),
    required=True,
    help="Kind of file; safetensors holds the weights alone.",
)
@click.option("--dynamic", is_flag=True, help="The file takes any number of images; else one at a time.")
@click.option("--half", is_flag=True, help="Store the weights as float16; images and embeddings stay float32.")
@click.option("--opset", metavar="N", type=int, help="Version of the ONNX operators, 9 or later; 18 by default.")
@click.option(
    "--with-preprocessing",
    is_flag=True,
    help="The file takes RGB in 0..1 and normalises it itself, as ultralytics needs it.",
)
@click.option(
    "-o",
    "--output",
    "path",
    type=click.Path(),
    help="File, or folder with a slash at its end; by default the checkpoint's name in the current folder.",
)
@click.option("--force", is_flag=True, help="Replace an existing file.")
@architecture_option
@json_option
def command(model: str, *, as_data: bool, **options: Any) -> None:
    """Write a file for another runtime, and check it with that runtime.

    NAME-or-FILE is the name of a checkpoint (osnet_x1_0.msmt17) or of a model (osnet_x1_0: its default checkpoint), or
    the path of a checkpoint file (my.pth).

    onnxruntime, OpenVINO or PyTorch runs the file with 1, 2 and 16 images. It is kept only if it computes the same
    embeddings as the model: with a relative error of at most 1e-5, or 1e-2 with --half. Otherwise the exit code is 1.
    """
    print_defaults((model,))
    from reidhub.api.exporting import export

    exported = export(model, **options)
    if as_data:
        values = {**asdict(exported), "path": str(exported.path), "trtexec": exported.trtexec}
        click.echo(json.dumps(values, indent=1))
    else:
        click.echo(exported.path)
    if exported.path.suffix == ".xml":
        click.echo(f"{exported.path.with_suffix('.bin')} belongs to it", err=True)
    click.echo(f"checked with {exported.runtime}: largest relative error {exported.error:.1e}", err=True)
    if exported.trtexec:
        click.echo(f"for TensorRT: {exported.trtexec}", err=True)
    for notice in exported.metadata.notices:
        click.echo(f"note: {notice}", err=True)
