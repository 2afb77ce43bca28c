"""How the weights of `nano` are written and read."""

from __future__ import annotations

import json
from pathlib import Path

from vidmem.errors import ModelError


def load_nano(path: Path):
    """A safetensors file with the architecture in its metadata -> `vidmem.networks.nano.model.Nano`, float32, on the CPU.

    Raises `ModelError` when the file is missing, cut off, of another model, or does not fit its own architecture.
    """
    import torch
    from safetensors import SafetensorError, safe_open

    from vidmem.networks.nano.model import Nano, NanoConfig

    path = Path(path)
    if not path.is_file():
        raise ModelError(f"no weights at {path}; expected a safetensors file")
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except SafetensorError as error:
        raise ModelError(f"{path} is not a whole safetensors file ({error}); fetch it again") from error
    if metadata.get("model") != "nano" or "config" not in metadata:
        raise ModelError(f"{path} says model={metadata.get('model')!r}; expected 'nano' and its config in the metadata")
    try:
        config = NanoConfig.from_dict(json.loads(metadata["config"]))
    except (ValueError, RecursionError) as error:
        raise ModelError(
            f"{path} has an architecture that cannot be read ({str(error)[:200]}); fetch it again"
        ) from None
    with torch.device("meta"):  # so that nothing is allocated for a file that does not fit
        expected = {key: tensor.shape for key, tensor in Nano(config).state_dict().items()}
    missing, extra = sorted(expected.keys() - tensors.keys()), sorted(tensors.keys() - expected.keys())
    wrong = sorted(key for key in expected.keys() & tensors.keys() if expected[key] != tensors[key].shape)
    if missing or extra or wrong:
        raise ModelError(
            f"{path} does not fit its architecture: missing {missing[:3]}, unexpected {extra[:3]}, of another shape {wrong[:3]}"
        )
    model = Nano(config)
    model.load_state_dict({k: v.to(torch.float32) if v.is_floating_point() else v for k, v in tensors.items()})
    return model


def save_nano(model, path: Path, metadata: dict[str, str]) -> None:
    """Write the weights as float16 with the architecture and `metadata` inside the file."""
    import torch
    from safetensors.torch import save_file

    tensors = {
        k: (v.to(torch.float16) if v.is_floating_point() else v).contiguous() for k, v in model.state_dict().items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, {"model": "nano", "config": json.dumps(model.config.to_dict()), **metadata})
