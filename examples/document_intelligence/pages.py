"""Pictures of pages as tensors."""

import glob

import numpy as np
import torch
from PIL import Image

SIZE = (96, 136)  # pixels: width, height


def pictures(name: str) -> torch.Tensor:
    """The pages of one document bundle, shape (pages, 1, height, width), ink near 1 and paper near 0."""
    found = []
    for path in sorted(glob.glob(f"pages/{name}/*.png")):
        grey = np.asarray(Image.open(path).convert("L").resize(SIZE, Image.Resampling.BOX), dtype=np.float32)
        found.append((1.0 - grey / 255.0) * 3.0)
    return torch.from_numpy(np.stack(found)[:, None])


def shifted(batch: torch.Tensor) -> torch.Tensor:
    """Augmentation: each batch a few pixels elsewhere, a little lighter or darker."""
    down, right = (int(torch.randint(-3, 4, ())) for _ in range(2))
    return torch.roll(batch, (down, right), (2, 3)) * float(torch.empty(()).uniform_(0.85, 1.15))
