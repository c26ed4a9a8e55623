import os
import re

from conan import ConanFile
from conan.tools.build import check_min_cppstd
from conan.tools.files import copy, load
from conan.tools.layout import basic_layout

required_conan_version = ">=2.0"


class TqConan(ConanFile):
    name = "tq"
    description = "Transfer Q* decoding: steer a language model by a reward while it generates"
    license = "Apache-2.0"
    topics = ("llm", "decoding", "alignment", "header-only")
    package_type = "header-library"
    settings = "os", "arch", "compiler", "build_type"
    options = {"with_json": [True, False]}
    default_options = {"with_json": False}
    no_copy_source = True

    @property
    def _root(self):
        return os.path.join(self.recipe_folder, "..", "..")

    def set_version(self):
        header = load(self, os.path.join(self._root, "include", "tq", "version.hpp"))
        self.version = ".".join(re.findall(r"TQSTAR_VERSION_(?:MAJOR|MINOR|PATCH) +(\d+)", header))

    def export_sources(self):
        copy(self, "LICENSE", src=self._root, dst=self.export_sources_folder)
        copy(self, "include/*", src=self._root, dst=self.export_sources_folder)

    def layout(self):
        basic_layout(self)

    def requirements(self):
        self.requires("eigen/3.4.0", transitive_headers=True)
        if self.options.with_json:
            self.requires("nlohmann_json/3.11.3", transitive_headers=True)

    def package_id(self):
        self.info.clear()

    def validate(self):
        check_min_cppstd(self, 20)

    def package(self):
        copy(self, "LICENSE", src=self.source_folder, dst=os.path.join(self.package_folder, "licenses"))
        copy(self, "*", src=os.path.join(self.source_folder, "include"),
             dst=os.path.join(self.package_folder, "include"))

    def package_info(self):
        self.cpp_info.set_property("cmake_file_name", "tq")
        self.cpp_info.set_property("pkg_config_name", "tq")
        core = self.cpp_info.components["tq"]
        core.set_property("cmake_target_name", "tq::tq")
        core.requires = ["eigen::eigen"]
        core.bindirs, core.libdirs = [], []
        if self.options.with_json:
            json = self.cpp_info.components["json"]
            json.set_property("cmake_target_name", "tq::json")
            json.requires = ["tq", "nlohmann_json::nlohmann_json"]
            json.bindirs, json.libdirs = [], []
