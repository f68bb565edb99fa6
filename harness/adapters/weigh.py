"""What a submission's code weighs, by counting convention."""

from __future__ import annotations

from pathlib import Path

import harness
from harness.audit.evidence import ArtifactSizes
from harness.audit.wrapped import wrap
from harness.folder import Folder

HOUSE = Path(harness.__file__).parent


def kit_files() -> list[str]:
    """The modules that an adapter runs on, relative to the package: the kit, and its end of the wire."""
    kit = sorted(path.relative_to(HOUSE).as_posix() for path in (HOUSE / "kit").rglob("*.py"))
    return ["__init__.py", *kit, *(f"sandbox/{name}.py" for name in ("__init__", "peers", "protocol", "wire"))]


def weigh(folder: Folder, artifact_bytes: int) -> ArtifactSizes:
    """Bytes of a submission by convention.

    The kit is what an adapter's code would otherwise have to contain, so the wrapper holds it too; "shipped" is the
    submission's own files only, and "all_files" adds the kit as it is, prose left out.
    """
    own = {name: folder.contents[name] for name in folder.code}
    kit = {f"harness/{name}": (HOUSE / name).read_bytes() for name in kit_files()}
    shipped = sum(len(content) for content in own.values())
    code = {
        "shipped": shipped,
        "wrapped": len(wrap({**own, **kit})),
        "all_files": shipped + sum(len(content) for content in kit.values()),
    }
    return ArtifactSizes(artifact_bytes, code, [(name, len(content)) for name, content in own.items()])
