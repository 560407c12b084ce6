"""What is made from the code: each module offers `files()`, paths under the repository with their text."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "operator"))
