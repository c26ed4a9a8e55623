# Runs the portfile in PORT with stand-ins for the functions of vcpkg that it calls, so that it can be
# checked where there is no vcpkg; installs to WORK/packages.
cmake_minimum_required(VERSION 3.25)
set(CURRENT_PORT_DIR "${PORT}")
set(PACKAGES "${WORK}/packages")

function(run)
    execute_process(COMMAND ${ARGN} COMMAND_ERROR_IS_FATAL ANY)
endfunction()

function(vcpkg_check_features)
    cmake_parse_arguments(PARSE_ARGV 0 arg "" "OUT_FEATURE_OPTIONS" "FEATURES")
    set(options "")
    while(arg_FEATURES)
        list(POP_FRONT arg_FEATURES feature variable)
        list(APPEND options "-D${variable}=OFF") # none is chosen
    endwhile()
    set(${arg_OUT_FEATURE_OPTIONS} "${options}" PARENT_SCOPE)
endfunction()

function(vcpkg_cmake_configure)
    cmake_parse_arguments(PARSE_ARGV 0 arg "" "SOURCE_PATH" "OPTIONS")
    run("${CMAKE_COMMAND}" -S "${arg_SOURCE_PATH}" -B "${WORK}/build" ${arg_OPTIONS}
        -DCMAKE_BUILD_TYPE=Release)
endfunction()

function(vcpkg_cmake_install)
    run("${CMAKE_COMMAND}" --install "${WORK}/build" --prefix "${PACKAGES}")
endfunction()

function(vcpkg_cmake_config_fixup)
    cmake_parse_arguments(PARSE_ARGV 0 arg "" "CONFIG_PATH" "")
    if(NOT EXISTS "${PACKAGES}/${arg_CONFIG_PATH}/tq-config.cmake")
        message(FATAL_ERROR "no config in ${arg_CONFIG_PATH}")
    endif()
endfunction()

function(vcpkg_fixup_pkgconfig)
endfunction()

function(vcpkg_install_copyright)
    cmake_parse_arguments(PARSE_ARGV 0 arg "" "" "FILE_LIST")
    file(COPY_FILE "${arg_FILE_LIST}" "${WORK}/copyright")
    file(MAKE_DIRECTORY "${PACKAGES}/share/tq")
    file(RENAME "${WORK}/copyright" "${PACKAGES}/share/tq/copyright")
endfunction()

file(MAKE_DIRECTORY "${WORK}")
include("${PORT}/portfile.cmake")
