"""What a submission's code weighs. A self-extracting wrapper is built and weighed, not estimated."""

from __future__ import annotations

import base64
import io
import lzma
import zipfile
from pathlib import Path

from harness.audit.evidence import ArtifactSizes
from harness.folder import Folder

_STUB = (
    "import lzma,base64,io,zipfile,sys;sys.path.insert(0,'.');"
    "z=zipfile.ZipFile(io.BytesIO(lzma.decompress(base64.b85decode({data!r}),format=lzma.FORMAT_RAW,"
    "filters=[{{'id':lzma.FILTER_LZMA2,'preset':9}}])));z.extractall('.');import submission\n"
)
_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME}]
_HOUSE = Path(__file__).parent


def wrap(files: dict[str, bytes]) -> bytes:
    """A Python file that unpacks `files` and imports `submission`: raw LZMA2 in base85, as the contest's wrappers.

    Args:
        files: content by name; "submission.py" is the one that the wrapper imports.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files):
            archive.writestr(zipfile.ZipInfo(name), files[name])
    packed = lzma.compress(buffer.getvalue(), format=lzma.FORMAT_RAW, filters=_FILTERS)
    return _STUB.format(data=base64.b85encode(packed).decode()).encode()


def kit_files() -> list[str]:
    """The modules that an adapter runs on, relative to the package: the kit, and its end of the wire."""
    kit = sorted(path.relative_to(_HOUSE).as_posix() for path in (_HOUSE / "kit").rglob("*.py"))
    return ["__init__.py", *kit, *(f"sandbox/{name}.py" for name in ("__init__", "peers", "protocol", "wire"))]


def weigh(folder: Folder, artifact_bytes: int) -> ArtifactSizes:
    """Bytes of a submission by convention.

    The kit is what an adapter's code would otherwise have to contain, so the wrapper holds it too; "shipped" is the
    submission's own files only, and "all_files" adds the kit as it is, prose left out.
    """
    own = {name: folder.contents[name] for name in folder.code}
    kit = {f"harness/{name}": (_HOUSE / name).read_bytes() for name in kit_files()}
    shipped = sum(len(content) for content in own.values())
    code = {
        "shipped": shipped,
        "wrapped": len(wrap({**own, **kit})),
        "all_files": shipped + sum(len(content) for content in kit.values()),
    }
    return ArtifactSizes(artifact_bytes, code, [(name, len(content)) for name, content in own.items()])
