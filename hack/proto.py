"""Generate the gRPC stubs of the emulator from its .proto files: `python3 hack/proto.py [--check]`.

Needs grpcio-tools (extra `dev`). The generated files are committed; protobuf at run time must be at least as new as
the generator's. With --check nothing is written and the exit code is 1 when a committed file differs.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent / "operator"
PACKAGE = Path("ascend_emulator/_proto")


def generate(target: Path) -> None:
    """Write *_pb2.py, *_pb2.pyi and *_pb2_grpc.py of all .proto files below target."""
    sources = sorted(str(path.relative_to(ROOT)) for path in (ROOT / PACKAGE).glob("*.proto"))
    code = protoc.main(
        [
            "protoc",
            f"-I{ROOT}",
            f"-I{files('grpc_tools') / '_proto'}",
            f"--python_out={target}",
            f"--pyi_out={target}",
            f"--grpc_python_out={target}",
            *sources,
        ]
    )
    if code != 0:
        sys.exit(code)


def differences(target: Path) -> list[str]:
    """Return the names of committed stubs that are missing or differ from those in target."""
    made = sorted((target / PACKAGE).iterdir())
    return [p.name for p in made if not (ROOT / PACKAGE / p.name).is_file()
            or (ROOT / PACKAGE / p.name).read_bytes() != p.read_bytes()]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare with the committed files, write nothing")
    if not parser.parse_args().check:
        generate(ROOT)
        return
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        stale = differences(Path(folder))
    if stale:
        sys.exit(f"stale: {', '.join(stale)}; run python3 hack/proto.py")


if __name__ == "__main__":
    main()
