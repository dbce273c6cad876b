"""An interpreter with MLflow, in an environment of its own: MLflow wants an older pyarrow than ours."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PACKAGES = ("mlflow>=3.17,<4", "lightgbm>=4.7", "catboost>=1.2.10", "scikit-learn>=1.6", "httpx", "skops")


def mlflow_python() -> Path:
    """Made once, below the user's cache folder; takes a minute or two then."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "yummy-feast"
    folder = cache / f"mlflow-{sys.version_info[0]}.{sys.version_info[1]}"
    python = folder / "bin" / "python"
    if not (folder / ".done").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES]
        subprocess.run(install, check=True)
        (folder / ".done").touch()
    return python


def environment() -> dict[str, str]:
    """Without what would lead that interpreter to our packages."""
    return {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
