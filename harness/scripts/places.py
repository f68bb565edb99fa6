"""Names that say where a run lies and how it is launched: no part of what was submitted."""

from __future__ import annotations

import re

_PLACES = re.compile(
    r"(^|_)(PATH|PATHS|DIR|DIRS|ROOT|FILE|FILES|RUN_ID|RUN_NAME|GLOB|PATTERN|URL|TOKEN|REPO|REPO_ID)$|^WANDB"
    r"|^(HOME|USER|LD_LIBRARY_PATH|TMPDIR|TEMP|TMP|HF_\w+|VIRTUAL_ENV)$"
)
_LAUNCH = re.compile(
    r"^(RANK|LOCAL_RANK|WORLD_SIZE|LOCAL_WORLD_SIZE|MASTER_\w+|HOSTNAME|CUDA_\w+|NCCL_\w+|TORCH_\w+|PYTORCH_\w+"
    r"|TORCHINDUCTOR_\w+|TRITON_\w+|OMP_\w+|SLURM_\w+|PYTHON[A-Z]+)$"
)


def is_launch(name: str) -> bool:
    """Whether a variable is the launcher's: ranks, NCCL, compilers."""
    return _LAUNCH.match(name) is not None


def is_place(name: str) -> bool:
    """Whether a variable says where a run lies or how it is launched, rather than what is run."""
    return _PLACES.search(name) is not None or is_launch(name)
