"""Several processes over gloo: DDP, FSDP2, and tensor parallel of two and four."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as processes
from generation import fixed, near
from run import on

Work = Callable[[Path], torch.Tensor]


def together(ranks: int, work: Work, folder: Path) -> torch.Tensor:
    """What rank 0 computes where `ranks` processes do the work."""
    with tempfile.TemporaryDirectory() as temporary:
        arguments = (ranks, work, folder, temporary)
        processes.start_processes(one, arguments, nprocs=ranks, start_method="fork")
        return torch.load(f"{temporary}/made.pt")


def one(rank: int, ranks: int, work: Work, folder: Path, temporary: str) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(ranks)}
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{temporary}/store", rank=rank, world_size=ranks
    )
    made = work(folder)
    if rank == 0:
        torch.save(made.detach(), f"{temporary}/made.pt")
    dist.barrier()
    dist.destroy_process_group()


def alone(folder: Path) -> torch.Tensor:
    model, batch = fixed(folder)
    return model(**batch)[0].detach()


def after_a_step(model: torch.nn.Module, folder: Path) -> torch.Tensor:
    """The outputs after one step of SGD on the square of what comes out."""
    _, batch = fixed(folder)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    model(**batch)[0].float().square().mean().backward()
    optimizer.step()
    with torch.no_grad():
        return model(**batch)[0]


def plain_step(folder: Path) -> torch.Tensor:
    return after_a_step(fixed(folder)[0].requires_grad_(True), folder)


def ddp_step(folder: Path) -> torch.Tensor:
    model = fixed(folder)[0].requires_grad_(True)
    return after_a_step(torch.nn.parallel.DistributedDataParallel(model), folder)


def fsdp_step(folder: Path) -> torch.Tensor:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    model = fixed(folder)[0].requires_grad_(True)
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    for module in model.modules():
        if type(module).__name__.endswith(("Block", "Layer")):
            fully_shard(module, mesh=mesh)
    fully_shard(model, mesh=mesh)
    return after_a_step(model, folder)


def split(folder: Path) -> torch.Tensor:
    import transformers

    config = transformers.AutoConfig.from_pretrained(folder)
    model_class = getattr(transformers, config.architectures[0])
    model = model_class.from_pretrained(folder, dtype=torch.float32, tp_plan="auto").eval()
    _, batch = fixed(folder)
    with torch.no_grad():
        made = model(**batch)[0]
    return made.full_tensor() if hasattr(made, "full_tensor") else made


@on("llama", "gpt2", "bert", "t5")
def ddp(folder: Path) -> str:
    """DistributedDataParallel: a step as one process does it."""
    return near(plain_step(folder), together(2, ddp_step, folder))


@on("llama", "gpt2", "bert", "t5")
def fsdp2(folder: Path) -> str:
    """fully_shard of every layer: a step as one process does it."""
    return near(plain_step(folder), together(2, fsdp_step, folder))


@on("llama", "qwen2-600", "deepseek-v3", "tp4")
def tensor_parallel_2(folder: Path) -> str:
    """tp_plan="auto" in two processes."""
    return near(alone(folder), together(2, split, folder))


@on("tp4", "llama", "qwen2-600")
def tensor_parallel_4(folder: Path) -> str:
    """tp_plan="auto" in four processes."""
    return near(alone(folder), together(4, split, folder))
