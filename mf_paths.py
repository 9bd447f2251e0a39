"""Where data and the live figures' script lie: beside the modules, or from a wheel in mf_files."""

from pathlib import Path

HERE = Path(__file__).resolve().parent
INSTALLED = HERE / "mf_files"  # a wheel puts no name without mf_ among everybody's packages
ROOT = INSTALLED if INSTALLED.is_dir() else HERE
DATA = ROOT / "data"
LIVE = ROOT / "live"
