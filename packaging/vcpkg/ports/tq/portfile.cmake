# An overlay port: it builds the source tree that it is part of.
#     vcpkg install tq --overlay-ports=<source of tq>/packaging/vcpkg/ports
set(VCPKG_BUILD_TYPE release) # header-only
cmake_path(GET CURRENT_PORT_DIR PARENT_PATH source)
foreach(level IN ITEMS 1 2 3)
    cmake_path(GET source PARENT_PATH source)
endforeach()

vcpkg_check_features(OUT_FEATURE_OPTIONS feature_options
    FEATURES
        json TQSTAR_JSON
)

vcpkg_cmake_configure(
    SOURCE_PATH "${source}"
    OPTIONS
        ${feature_options}
        -DTQSTAR_BUILD_TESTS=OFF
        -DTQSTAR_BUILD_EXAMPLES=OFF
        -DTQSTAR_LLAMA=OFF
)
vcpkg_cmake_install()
vcpkg_cmake_config_fixup(CONFIG_PATH share/cmake/tq)
vcpkg_fixup_pkgconfig()
vcpkg_install_copyright(FILE_LIST "${source}/LICENSE")
