# Builds and runs consumer/ in a fresh directory with tq taken in by DOOR, and checks that nothing
# of tq but its headers reaches the consumer. DOOR `components` builds components/ instead, against an
# installed tq with COMPONENTS.
cmake_minimum_required(VERSION 3.25)

function(run)
    execute_process(COMMAND ${ARGN} RESULT_VARIABLE code OUTPUT_VARIABLE output ERROR_VARIABLE output)
    if(NOT code EQUAL 0)
        string(REPLACE ";" " " command "${ARGN}")
        message(FATAL_ERROR "failed: ${command}\n${output}")
    endif()
    set(output "${output}" PARENT_SCOPE)
endfunction()

file(REMOVE_RECURSE "${WORK}")
set(toolchain -G "${GENERATOR}" "-DCMAKE_CXX_COMPILER=${COMPILER}" -DCMAKE_BUILD_TYPE=Debug)

if(DOOR MATCHES "find_package|components")
    foreach(option JSON HTTP LLAMA)
        set(${option} OFF)
    endforeach()
    set(JSON ON)
    if("http" IN_LIST COMPONENTS)
        set(HTTP ON)
    endif()
    if("llama_cpp" IN_LIST COMPONENTS)
        set(LLAMA ON)
        list(APPEND toolchain "-DLlama_DIR=${LLAMA_DIR}")
    endif()
    run("${CMAKE_COMMAND}" -S "${TQ_SOURCE}" -B "${WORK}/tq" ${toolchain}
        -DTQSTAR_BUILD_TESTS=OFF -DTQSTAR_BUILD_EXAMPLES=OFF
        -DTQSTAR_JSON=${JSON} -DTQSTAR_HTTP=${HTTP} -DTQSTAR_LLAMA=${LLAMA})
    run("${CMAKE_COMMAND}" --install "${WORK}/tq" --prefix "${WORK}/prefix")
    # The prefix can be moved.
    file(RENAME "${WORK}/prefix" "${WORK}/moved")
    list(APPEND toolchain "-DCMAKE_PREFIX_PATH=${WORK}/moved")
endif()

cmake_path(REPLACE_FILENAME CMAKE_COMMAND ctest OUTPUT_VARIABLE ctest)
if(DOOR STREQUAL "components")
    run("${CMAKE_COMMAND}" -S "${CMAKE_CURRENT_LIST_DIR}/components" -B "${WORK}/build" ${toolchain}
        "-DCOMPONENTS=${COMPONENTS}")
    run("${CMAKE_COMMAND}" --build "${WORK}/build")
    run("${ctest}" --test-dir "${WORK}/build" --output-on-failure --no-tests=error)
    return()
endif()

run("${CMAKE_COMMAND}" -S "${CMAKE_CURRENT_LIST_DIR}/consumer" -B "${WORK}/build" ${toolchain}
    -DCMAKE_EXPORT_COMPILE_COMMANDS=ON "-DDOOR=${DOOR}" "-DTQ_SOURCE=${TQ_SOURCE}")
run("${CMAKE_COMMAND}" --build "${WORK}/build")

run("${ctest}" --test-dir "${WORK}/build" --output-on-failure)
if(NOT output MATCHES "100% tests passed, 0 tests failed out of 1\n")
    message(FATAL_ERROR "the consumer has one test of its own, CTest ran others:\n${output}")
endif()

file(READ "${WORK}/build/compile_commands.json" commands)
string(REGEX MATCHALL "\"file\": " files "${commands}")
list(LENGTH files count)
if(NOT count EQUAL 1 OR commands MATCHES " -(W[a-z]|march|O|f)")
    message(FATAL_ERROR "tq adds sources or flags to the consumer:\n${commands}")
endif()

run("${CMAKE_COMMAND}" --install "${WORK}/build" --prefix "${WORK}/installed")
file(GLOB_RECURSE installed RELATIVE "${WORK}/installed" "${WORK}/installed/*")
if(NOT installed STREQUAL "bin/consumer")
    message(FATAL_ERROR "installing the consumer also installs: ${installed}")
endif()
