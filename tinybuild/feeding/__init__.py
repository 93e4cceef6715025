"""What a model takes, made by rule: processors and one batch of inputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import torch
    import transformers

Model: TypeAlias = "transformers.PreTrainedModel"
Tensor: TypeAlias = "torch.Tensor"
# Arguments of a forward. (Some classes want lists of tensors or mappings as labels, or a flag.)
Given: TypeAlias = "Mapping[str, Tensor]"
