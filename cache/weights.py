"""Weights files: found whole, checked by sha256, read without running anything that is in them. Never trains or
changes them.
"""

from __future__ import annotations

import hashlib
import http.client
import pickle
import tempfile
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cache.errors import WeightsError

if TYPE_CHECKING:
    import torch

    from cache.encoders.base import EncoderSpec


def sha256_of(path: Path) -> str:
    """sha256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of(tensors: Mapping[str, torch.Tensor]) -> str:
    """sha256 over names, shapes and values of tensors, in the order of their names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}\n".encode())
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()


def check_official(path: Path, spec: EncoderSpec) -> tuple[str, bool]:
    """A file's sha256, and whether it is the official one; never, where there is none.

    Raises:
        WeightsError: it cannot be read, or has the official name but not the official content.
    """
    try:
        sha256 = sha256_of(path)
    except OSError as error:
        raise WeightsError(
            f"{path}: expected a weights file, found none that can be read ({error.strerror})."
        ) from error
    official = sha256 == spec.weights_sha256
    if spec.weights_sha256 and path.name == spec.weights_file and not official:
        raise WeightsError(
            f"{path}: expected the official file of that name (sha256 {spec.weights_sha256[:12]}…), found "
            f"{sha256[:12]}…. The file is damaged or is another one: fetch it again (harness encoders fetch "
            f"{spec.name}), or give other weights another name."
        )
    return sha256, official


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a checkpoint (.pth, .pt or .safetensors); nothing in the file is run.

    Raises:
        WeightsError: not a checkpoint, damaged, or it holds code.
    """
    import torch

    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        found: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, KeyError, pickle.UnpicklingError) as error:
        reason = str(error).split("\n")[0][:200]
        raise WeightsError(
            f"{path}: expected a checkpoint of tensors, found something that cannot be read as one without "
            f"running code ({reason}). "
            "Get the file again, or save its state_dict alone."
        ) from error
    except Exception as error:  # safetensors raises its own type
        raise WeightsError(
            f"{path}: expected a checkpoint of tensors, found {type(error).__name__}: {error}. Get the file again."
        ) from error
    for key in ("model", "state_dict"):
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
    if not isinstance(found, dict) or not all(
        isinstance(k, str) and isinstance(v, torch.Tensor) for k, v in found.items()
    ):
        raise WeightsError(
            f"{path}: expected names with tensors, found {type(found).__name__}. Save the model's state_dict."
        )
    return found


def load_into(module: torch.nn.Module, tensors: Mapping[str, torch.Tensor], path: Path, advice: str) -> None:
    """Loads tensors into a module; every name and shape must fit.

    Raises:
        WeightsError: names the first that do not.
    """
    wanted = module.state_dict()
    missing = [n for n in wanted if n not in tensors]
    shapes = [n for n in wanted if n in tensors and tensors[n].shape != wanted[n].shape]
    if missing or shapes:
        some = [f"{n} is missing" for n in missing[:3]]
        some += [f"{n} is {tuple(tensors[n].shape)}, not {tuple(wanted[n].shape)}" for n in shapes[:3]]
        raise WeightsError(
            f"{path}: expected the {len(wanted)} tensors of this encoder; {len(missing)} are missing and "
            f"{len(shapes)} have another shape "
            f"({'; '.join(some)}). {advice}"
        )
    module.load_state_dict({n: tensors[n] for n in wanted})


def fetch(spec: EncoderSpec, folder: Path) -> Path:
    """Fetches an encoder's official weights once; a whole file with the right sha256 is not fetched again.

    Raises:
        WeightsError: it has no official file, the network fails, or what came has another sha256.
    """
    if not spec.weights_url or not spec.weights_sha256:
        raise WeightsError(f"{spec.name} has no official weights to fetch. Type --weights FILE with your own.")
    target = folder / spec.weights_file
    if target.is_file():
        check_official(target, spec)
        return target
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as aside:
        part = Path(aside) / spec.weights_file
        try:
            urllib.request.urlretrieve(spec.weights_url, part)
        except (OSError, ValueError, http.client.HTTPException) as error:  # URLError is an OSError
            raise WeightsError(
                f"Could not fetch {spec.weights_url}: {error}. Get {spec.weights_file} by other means and type "
                "--weights FILE."
            ) from error
        sha256 = sha256_of(part)
        if sha256 != spec.weights_sha256:
            raise WeightsError(
                f"{spec.weights_url}: expected a file with the sha256 {spec.weights_sha256[:12]}…, what came has "
                f"{sha256[:12]}…. Try again later, or get {spec.weights_file} by other means and type --weights FILE."
            )
        part.replace(target)
    return target
