# What our own tests, examples and benchmarks share. Nothing here reaches a user of tq::tq.

add_library(tq_dev_flags INTERFACE)
target_compile_options(tq_dev_flags INTERFACE
    $<$<CXX_COMPILER_ID:GNU,Clang,AppleClang>:-Wall;-Wextra;-Wpedantic;-Wshadow;-Wconversion>
    $<$<AND:$<BOOL:${TQSTAR_WERROR}>,$<CXX_COMPILER_ID:GNU,Clang,AppleClang>>:-Werror>)

# Does one of the sources include a header whose name begins with the regular expression?
function(tqstar_includes result header)
    set(${result} FALSE PARENT_SCOPE)
    foreach(source IN LISTS ARGN)
        file(STRINGS "${source}" lines REGEX "^#include [<\"](${header})")
        if(lines)
            set(${result} TRUE PARENT_SCOPE)
        endif()
    endforeach()
endfunction()

# Does one of the sources include the llama.cpp adapter?
function(tqstar_uses_llama result)
    tqstar_includes(uses "tq/adapters/llama_cpp/|llama\\.h|ggml" ${ARGN})
    set(${result} ${uses} PARENT_SCOPE)
endfunction()

# tqstar_add_program(name source...): an example or benchmark, with the libraries that it includes. One
# that uses the llama.cpp adapter also gets the folder of the demo's files.
function(tqstar_add_program name)
    add_executable(${name} ${ARGN})
    target_link_libraries(${name} PRIVATE tq::tq tq_dev_flags)
    if(TARGET tq::json)
        target_link_libraries(${name} PRIVATE tq::json)
    endif()
    tqstar_includes(uses_cli "CLI/" ${ARGN})
    if(uses_cli)
        tqstar_need_cli11()
        target_link_libraries(${name} PRIVATE CLI11::CLI11)
    endif()
    tqstar_includes(uses_fmt "fmt/" ${ARGN})
    if(uses_fmt)
        tqstar_need_fmt()
        target_link_libraries(${name} PRIVATE fmt::fmt-header-only)
    endif()
    tqstar_includes(uses_http "tq/adapters/http/" ${ARGN})
    if(uses_http)
        target_link_libraries(${name} PRIVATE tq::http)
    endif()
    tqstar_uses_llama(uses_llama ${ARGN})
    if(uses_llama)
        target_link_libraries(${name} PRIVATE tq::llama_cpp)
        target_compile_definitions(${name} PRIVATE
            "TQSTAR_ASSETS_DIR=\"${PROJECT_SOURCE_DIR}/examples/research/assets\"")
    endif()
    if(TQSTAR_NATIVE)
        # g++ 12 warns about its own AVX-512 intrinsics.
        target_compile_options(${name} PRIVATE -march=native
            $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized;-Wno-uninitialized>)
    endif()
endfunction()
