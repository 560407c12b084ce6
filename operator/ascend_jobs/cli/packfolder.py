"""Print a folder as text: it is run in a pod, `python -c` this file with FOLDER and LIMIT, and its log is the way out.

Standard library alone. The folder becomes a tar, gzipped, in base64 lines between two lines of JSON: before them
`{"files", "leftOut"}`, after them `{"sha256"}` of the packed bytes. Files that would make the text longer than LIMIT
characters are left out, the largest first: the kubelet keeps 10 MiB of a container's log.
"""

import base64
import hashlib
import io
import json
import sys
import tarfile
from pathlib import Path

LINE = 8000
"""Characters of a line; the runtime splits longer ones than 16 KiB."""


def pack(folder: Path, names: "list[str]") -> bytes:
    """Return the files as a gzipped tar."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name in names:
            archive.add(folder / name, arcname=name, recursive=False)
    return packed.getvalue()


def main() -> int:
    """Print the folder; return the exit code."""
    folder, limit = Path(sys.argv[1]), int(sys.argv[2])
    try:
        names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
        if not names:
            raise FileNotFoundError(2, "is not there, or has no files")
        left_out = []
        packed = pack(folder, names)
        while len(packed) * 4 / 3 > limit and names:
            left_out.append(max(names, key=lambda name: (folder / name).stat().st_size))
            names.remove(left_out[-1])
            packed = pack(folder, names)
    except OSError as error:
        print(f"{folder}: {error.strerror or error}", file=sys.stderr)
        return 1
    print(json.dumps({"files": names, "leftOut": left_out}))
    text = base64.b64encode(packed).decode()
    for start in range(0, len(text), LINE):
        print(text[start : start + LINE])
    print(json.dumps({"sha256": hashlib.sha256(packed).hexdigest()}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
