"""Run every benchmark that needs no data: ``python -m benchmarks``. Trust the ratios: they are taken side by side."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

NAMES = ("import_time", "neighborhood_attention", "deploy", "surface_metrics")

if __name__ == "__main__":
    failed = []
    for name in NAMES:
        print(f"\n== {name}", flush=True)
        if subprocess.run([sys.executable, str(Path(__file__).with_name(f"{name}.py"))], check=False).returncode:
            failed.append(name)
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)
