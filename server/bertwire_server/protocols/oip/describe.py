"""Metadata of the server and its models."""

import json
from collections.abc import Iterable, Sequence
from importlib.metadata import version

from bertwire.oip import inference_pb2 as pb
from bertwire.oip import model_config_pb2 as config_pb
from bertwire_runtime.bundle import Manifest
from bertwire_server.model.model import Model
from bertwire_server.protocols.oip.parameters import DEFAULT_PRIORITY, PRIORITY_LEVELS
from bertwire_server.protocols.oip.schema import Tensor, inputs, outputs

_PLATFORM = "bertwire"
# The supported protocol extensions, by Triton's names.
_EXTENSIONS = ("classification", "model_repository", "model_configuration", "schedule_policy", "statistics")
_CPU, _GPU = config_pb.ModelInstanceGroup.KIND_CPU, config_pb.ModelInstanceGroup.KIND_GPU
_TYPES = {"BYTES": config_pb.TYPE_STRING, "FP32": config_pb.TYPE_FP32, "BOOL": config_pb.TYPE_BOOL}


def server_metadata() -> pb.ServerMetadataResponse:
    """Return the server's metadata."""
    return pb.ServerMetadataResponse(name="bertwire", version=version("bertwire"), extensions=_EXTENSIONS)


def model_metadata(manifest: Manifest, versions: Sequence[str]) -> pb.ModelMetadataResponse:
    """Return a model's metadata; `versions` are all ready versions of its name."""

    def metadata(tensors: Iterable[Tensor]) -> list[pb.ModelMetadataResponse.TensorMetadata]:
        return [
            pb.ModelMetadataResponse.TensorMetadata(
                name=each.name, datatype=each.datatype, shape=[-1, each.width(manifest)]
            )
            for each in tensors
        ]

    return pb.ModelMetadataResponse(
        name=manifest.name,
        versions=versions,
        platform=_PLATFORM,
        inputs=metadata(inputs(manifest)),
        outputs=metadata(outputs(manifest).values()),
    )


def model_config(model: Model, max_texts: int, *, allow_timeout_override: bool) -> config_pb.ModelConfig:
    """Return a model's configuration."""
    manifest = model.manifest
    kind = _GPU if model.engine.provider == "cuda" else _CPU
    return config_pb.ModelConfig(
        name=manifest.name,
        platform=_PLATFORM,
        backend=_PLATFORM,
        max_batch_size=max_texts,
        input=[config_pb.ModelInput(name=t.name, data_type=_TYPES[t.datatype], dims=[1]) for t in inputs(manifest)],
        output=[
            config_pb.ModelOutput(name=each.name, data_type=_TYPES[each.datatype], dims=[each.width(manifest)])
            for each in outputs(manifest).values()
        ],
        instance_group=[config_pb.ModelInstanceGroup(name=manifest.name, count=1, kind=kind)],
        dynamic_batching=config_pb.ModelDynamicBatching(
            priority_levels=PRIORITY_LEVELS,
            default_priority_level=DEFAULT_PRIORITY,
            default_queue_policy=config_pb.ModelQueuePolicy(allow_timeout_override=allow_timeout_override),
        ),
        parameters={name: config_pb.ModelParameter(string_value=text) for name, text in _facts(model).items()},
        model_transaction_policy=config_pb.ModelTransactionPolicy(decoupled=False),
    )


def _facts(model: Model) -> dict[str, str]:
    manifest, variant = model.manifest, model.engine.variant
    return {
        "task": manifest.task,
        "labels": json.dumps(manifest.labels, ensure_ascii=False),
        "max_length": str(manifest.most_tokens),
        "variant": variant.name,
        "precision": variant.precision,
    }
