"""What a wheel holds besides the modules: what they read, and what the notebooks import."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

BESIDE = ["data/*.toml", "data/README.md", "data/movielens/*.csv", "data/movielens/README.txt"]
BESIDE += ["live/*.*"]


class BuildWithFiles(build_py):
    """Copy them beside the modules, which look for them there; an editable install needs none."""

    def run(self):
        super().run()
        if self.editable_mode:
            return
        places = {file: file for pattern in BESIDE for file in Path().glob(pattern)}
        # As packages, because figures.py looks for live/ one folder up.
        for name in ("exercise", "figures", "find_start"):
            places[Path("notebooks", f"{name}.py")] = Path(name, "__init__.py")
        for file, place in places.items():
            target = Path(self.build_lib, place)
            self.mkpath(str(target.parent))
            self.copy_file(str(file), str(target))


setup(cmdclass={"build_py": BuildWithFiles})
