"""README.txt of an exported model."""

from __future__ import annotations

from textwrap import fill

from models.objectives.base import Guide

WIDTH = 88
INDENT = 21  # of the second column


def readme(guide: Guide) -> str:
    """The files of the folder, and what each is for."""
    script = f"""\
Predicts the rows of a CSV file, each with {guide.each}. It needs only numpy and onnxruntime. Read
it and change it:"""
    parts = [
        _entry("predict.py", script),
        f"\n{' ' * (INDENT + 4)}python predict.py {guide.example}\n",
        _entry("answers.py", f"Turns the model's outputs into {guide.answers}."),
        *(_entry(name, text) for name, text in guide.modules.items()),
        _entry("header.py and the", "Read a CSV exactly as the service does."),
        "three that it needs\n",
        _entry(
            "model.onnx",
            "The model with its preprocessing, for any ONNX runtime. One input per column, [N, 1]: "
            f"double (NaN is missing) or string (empty is missing). Outputs: {guide.outputs}",
        ),
        _entry(
            "manifest.json",
            "The model's columns with their levels and ranges, its metrics, its training spec, and "
            f"{guide.kept}.",
        ),
        _entry("weights.safetensors", "The model's weights by name."),
        _entry(
            "oof.parquet",
            "The out-of-fold predictions from which its metrics were computed.",
        ),
    ]
    return "\n".join(parts) + "\n"


def _entry(name: str, text: str) -> str:
    indent = " " * INDENT
    return fill(text, WIDTH, initial_indent=name.ljust(INDENT), subsequent_indent=indent)
