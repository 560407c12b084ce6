"""The operator as a process: it ends when it is told to, whatever hangs."""

import subprocess
import sys
from pathlib import Path

HANGING = """
import asyncio
from ascend_jobs.__main__ import bound_end

async def main():
    stop = asyncio.Event()
    stop.set()
    hanging = asyncio.create_task(asyncio.sleep(60), name="hanging part")
    await asyncio.gather(hanging, bound_end(stop, 0.1))

asyncio.run(main())
"""


def test_a_part_that_hangs_is_named_and_the_process_ends():
    operator = Path(__file__).parents[2] / "operator"
    done = subprocess.run(
        (sys.executable, "-c", HANGING), env={"PYTHONPATH": str(operator)}, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 1
    assert "hanging part" in done.stdout + done.stderr
