# Third-party libraries: an installed one is preferred, otherwise a pinned release is fetched.
# Each tqstar_need_<x>() is called only by the part of the build that needs <x>.
include(FetchContent)

# Unpacks a header-only library and gives it an imported (hence SYSTEM) target.
function(tqstar_fetch_headers name target subdirectory url)
    FetchContent_Declare(${name} URL "${url}" SOURCE_SUBDIR unused-so-nothing-is-added)
    FetchContent_MakeAvailable(${name})
    add_library(${target} INTERFACE IMPORTED GLOBAL)
    target_include_directories(${target} INTERFACE "${${name}_SOURCE_DIR}/${subdirectory}")
endfunction()

macro(tqstar_need_eigen)
    if(NOT TARGET Eigen3::Eigen)
        find_package(Eigen3 3.4 QUIET NO_MODULE)
    endif()
    if(NOT TARGET Eigen3::Eigen)
        tqstar_fetch_headers(eigen Eigen3::Eigen .
            https://gitlab.com/libeigen/eigen/-/archive/3.4.0/eigen-3.4.0.tar.gz)
    endif()
endmacro()

macro(tqstar_need_json)
    if(NOT TARGET nlohmann_json::nlohmann_json)
        find_package(nlohmann_json 3.10 QUIET CONFIG)
    endif()
    if(NOT TARGET nlohmann_json::nlohmann_json)
        tqstar_fetch_headers(nlohmann_json nlohmann_json::nlohmann_json include
            https://github.com/nlohmann/json/archive/refs/tags/v3.11.3.tar.gz)
    endif()
endmacro()

# Every system has a package of libcurl; to fetch and build it would be the worse choice.
macro(tqstar_need_curl)
    if(NOT TARGET CURL::libcurl)
        find_package(CURL 7.68 QUIET)
    endif()
    if(NOT TARGET CURL::libcurl)
        message(FATAL_ERROR "tq::http needs libcurl 7.68 or later and its headers (Debian: "
            "libcurl4-openssl-dev), or leave it out: -DTQSTAR_HTTP=OFF")
    endif()
endmacro()

# Of the tests: Debian's cpp-httplib is a library with a pkg-config file, others have a CMake package or
# headers only.
macro(tqstar_need_httplib)
    if(NOT TARGET httplib::httplib)
        find_package(httplib QUIET CONFIG)
    endif()
    if(NOT TARGET httplib::httplib)
        find_package(PkgConfig QUIET)
        if(PkgConfig_FOUND)
            pkg_check_modules(cpp_httplib QUIET IMPORTED_TARGET GLOBAL cpp-httplib)
        endif()
        if(TARGET PkgConfig::cpp_httplib)
            add_library(httplib::httplib ALIAS PkgConfig::cpp_httplib)
        endif()
    endif()
    if(NOT TARGET httplib::httplib)
        tqstar_fetch_headers(httplib httplib::httplib .
            https://github.com/yhirose/cpp-httplib/archive/refs/tags/v0.15.3.tar.gz)
        find_package(Threads REQUIRED)
        target_link_libraries(httplib::httplib INTERFACE Threads::Threads)
        find_package(OpenSSL 3 QUIET)
        if(OpenSSL_FOUND)
            target_compile_definitions(httplib::httplib INTERFACE CPPHTTPLIB_OPENSSL_SUPPORT)
            target_link_libraries(httplib::httplib INTERFACE OpenSSL::SSL OpenSSL::Crypto)
        endif()
    endif()
endmacro()

macro(tqstar_need_fmt)
    if(NOT TARGET fmt::fmt-header-only)
        find_package(fmt 8 QUIET CONFIG)
    endif()
    if(NOT TARGET fmt::fmt-header-only)
        tqstar_fetch_headers(fmt fmt::fmt-header-only include
            https://github.com/fmtlib/fmt/archive/refs/tags/10.2.1.tar.gz)
        target_compile_definitions(fmt::fmt-header-only INTERFACE FMT_HEADER_ONLY=1)
    endif()
endmacro()

macro(tqstar_need_cli11)
    if(NOT TARGET CLI11::CLI11)
        find_package(CLI11 2 QUIET CONFIG)
    endif()
    if(NOT TARGET CLI11::CLI11)
        tqstar_fetch_headers(cli11 CLI11::CLI11 include
            https://github.com/CLIUtils/CLI11/archive/refs/tags/v2.4.2.tar.gz)
    endif()
endmacro()

# Catch2 2.13 and 3.x both serve; tests/support/catch.hpp hides the difference.
macro(tqstar_need_catch2)
    if(NOT TARGET Catch2::Catch2WithMain)
        find_package(Catch2 QUIET CONFIG)
    endif()
    if(NOT TARGET Catch2::Catch2WithMain)
        FetchContent_Declare(catch2 SYSTEM
            URL https://github.com/catchorg/Catch2/archive/refs/tags/v3.5.4.tar.gz)
        FetchContent_MakeAvailable(catch2)
        list(APPEND CMAKE_MODULE_PATH "${catch2_SOURCE_DIR}/extras")
    endif()
endmacro()

macro(tqstar_need_benchmark)
    if(NOT TARGET benchmark::benchmark)
        find_package(benchmark QUIET CONFIG)
    endif()
    if(NOT TARGET benchmark::benchmark)
        set(BENCHMARK_ENABLE_TESTING OFF)
        set(BENCHMARK_ENABLE_INSTALL OFF)
        FetchContent_Declare(benchmark SYSTEM
            URL https://github.com/google/benchmark/archive/refs/tags/v1.8.4.tar.gz)
        FetchContent_MakeAvailable(benchmark)
    endif()
endmacro()
