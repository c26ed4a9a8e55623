# What our own tests, examples and benchmarks share. Nothing here reaches a user of tq::tq.

add_library(tq_dev_flags INTERFACE)
target_compile_options(tq_dev_flags INTERFACE
    $<$<CXX_COMPILER_ID:GNU,Clang,AppleClang>:-Wall;-Wextra;-Wpedantic;-Wshadow;-Wconversion>
    $<$<AND:$<BOOL:${TQSTAR_WERROR}>,$<CXX_COMPILER_ID:GNU,Clang,AppleClang>>:-Werror>)

# Does one of the sources include the llama.cpp adapter?
function(tqstar_uses_llama result)
    set(${result} FALSE PARENT_SCOPE)
    foreach(source IN LISTS ARGN)
        file(STRINGS "${source}" lines REGEX "^#include [<\"](tq/adapters/llama_cpp/|llama\\.h|ggml)")
        if(lines)
            set(${result} TRUE PARENT_SCOPE)
        endif()
    endforeach()
endfunction()

# tqstar_add_program(name source...): an example or benchmark, linked with every tq target
# that this build provides.
function(tqstar_add_program name)
    add_executable(${name} ${ARGN})
    target_link_libraries(${name} PRIVATE tq::tq tq_dev_flags)
    foreach(optional tq::json tq::llama_cpp)
        if(TARGET ${optional})
            target_link_libraries(${name} PRIVATE ${optional})
        endif()
    endforeach()
    if(TQSTAR_NATIVE)
        target_compile_options(${name} PRIVATE -march=native)
    endif()
endfunction()
