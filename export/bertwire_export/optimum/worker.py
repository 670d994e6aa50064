"""Convert in Optimum's environment, without bertwire: `worker.py CHECKPOINT OUTPUT TASK OPSET`.

Where the conversion fails, the last line on standard error is the reason.
"""

import sys


def convert(checkpoint: str, output: str, task: str, opset: int) -> None:
    """Write OUTPUT/model.onnx from the folder CHECKPOINT; nothing is fetched and no code of the checkpoint's runs."""
    from optimum.exporters.onnx import main_export

    main_export(
        checkpoint,
        output,
        task=task,
        opset=opset,
        framework="pt",
        dtype="fp32",
        library_name="transformers",
        local_files_only=True,
        trust_remote_code=False,
        # bertwire's gate compares the graph with PyTorch on real texts; random ones here would add nothing.
        do_validation=False,
    )


if __name__ == "__main__":
    try:
        convert(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
    except Exception as error:  # any of Optimum's, transformers' and torch's
        sys.exit(f"{type(error).__name__}: {' '.join(str(error).split())}")
