"""conf/ is the one source of the configurations; a wheel has a copy of it as the folder stablernn/conf."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithConfigurations(build_py):
    def run(self) -> None:
        super().run()
        if not self.editable_mode:  # which runs from the checkout
            copy = Path(self.build_lib) / "stablernn" / "conf"
            shutil.rmtree(copy, ignore_errors=True)  # of an earlier build
            shutil.copytree("conf", copy)


setup(cmdclass={"build_py": BuildWithConfigurations})
