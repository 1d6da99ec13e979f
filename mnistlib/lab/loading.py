"""Read checkpoints that may be damaged, or made to do harm, and compare them with live objects before any use."""

import math
import zipfile
from pathlib import Path

import torch

from mnistlib.files import DataError


def read(path: Path) -> dict:
    """Return the description and the state in a checkpoint, on the CPU. Raises `DataError` for any other file."""
    try:
        with zipfile.ZipFile(path) as file:
            parts = file.infolist()  # torch.save does not compress: nothing takes more memory than the file is long
            stored = all(part.compress_type == zipfile.ZIP_STORED for part in parts)
            if not stored or sum(part.file_size for part in parts) > path.stat().st_size or file.testzip():
                raise ValueError("a part is compressed, or its checksum is wrong")
        content = torch.load(path, map_location="cpu", weights_only=True)
        return {"description": dict(content["description"]), "state": content["state"]}
    except Exception:  # foreign bytes make torch.load fail in a dozen ways, which all mean the same
        raise DataError(
            f"{path} is not a checkpoint of mnistlib, or it is damaged. Move it away, and the training starts anew."
        ) from None


def fitted(found, live, place: str):
    """Return ``found`` if it has the structure, types and shapes of ``live``; ValueError names what does not fit.

    Fused optimizers go through memory without a look at shapes and strides: a wrong tensor would crash the process.
    """
    if isinstance(live, torch.Tensor):
        plain = type(found) is torch.Tensor and found.layout == torch.strided and found.device.type == "cpu"
        formats = (torch.contiguous_format, torch.channels_last)
        dense = plain and any(found.is_contiguous(memory_format=each) for each in formats)
        if dense and (found.dtype, found.shape) == (live.dtype, live.shape) and found.isfinite().all():
            return found
    elif isinstance(live, dict):
        if isinstance(found, dict) and found.keys() == live.keys():
            return {name: fitted(found[name], live[name], f"{place}.{name}") for name in live}
    elif isinstance(live, list | tuple):
        if type(found) is type(live) and len(live or found) == len(found):  # a list that is empty now may have grown
            return type(live)(fitted(*pair, place) for pair in zip(found, live or [0.0] * len(found), strict=True))
    elif type(found) is type(live) and (type(live) is not float or math.isfinite(found)):
        return found
    raise ValueError(place)
