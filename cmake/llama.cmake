# Provides the target `llama`: one that exists already, an installed one, or one built once from
# a pinned source release into a cache that every later build of tq shares.
# Also provides tq_model: fetches the small model that tests and examples use; and tq_other_model: one
# with another vocabulary, for tests; tq_embedder: sentence embeddings, for `evaluate`.

set(TQSTAR_CACHE "$ENV{TQSTAR_CACHE}" CACHE PATH
    "Where built llama.cpp and models are kept (default: ~/.cache/tq)")
set(tqstar_with_cache "${CMAKE_COMMAND}" -E env)
if(TQSTAR_CACHE)
    list(APPEND tqstar_with_cache "TQSTAR_CACHE=${TQSTAR_CACHE}")
endif()

unset(llama_LIBRARY CACHE) # else a stale path would survive a change of llama.cpp
if(NOT TARGET llama)
    find_package(Llama QUIET CONFIG)
endif()
if(NOT TARGET llama)
    message(STATUS "llama.cpp is not installed; using the one in the cache")
    execute_process(
        COMMAND ${tqstar_with_cache} "${CMAKE_CURRENT_LIST_DIR}/build_llama"
        OUTPUT_VARIABLE tqstar_llama_prefix OUTPUT_STRIP_TRAILING_WHITESPACE
        RESULT_VARIABLE tqstar_code)
    if(NOT tqstar_code EQUAL 0)
        message(FATAL_ERROR "cmake/build_llama failed; -DTQSTAR_LLAMA=OFF builds everything else")
    endif()
    find_package(Llama REQUIRED CONFIG PATHS "${tqstar_llama_prefix}" NO_DEFAULT_PATH)
endif()

if(TQSTAR_BUILD_TESTS OR TQSTAR_BUILD_EXAMPLES OR TQSTAR_BUILD_BENCHMARKS)
    execute_process(
        COMMAND ${tqstar_with_cache} "${CMAKE_CURRENT_LIST_DIR}/fetch_model" --path
        OUTPUT_VARIABLE tqstar_model_path OUTPUT_STRIP_TRAILING_WHITESPACE
        COMMAND_ERROR_IS_FATAL ANY)
    execute_process(
        COMMAND ${tqstar_with_cache} "${CMAKE_CURRENT_LIST_DIR}/fetch_other_model" --path
        OUTPUT_VARIABLE tqstar_other_model_path OUTPUT_STRIP_TRAILING_WHITESPACE
        COMMAND_ERROR_IS_FATAL ANY)
    # Properties of every test that runs a model. Threads of llama.cpp wait for each other by
    # spinning: beside other work they crawl, hence RUN_SERIAL.
    set(tqstar_model_test LABELS model FIXTURES_REQUIRED model RUN_SERIAL ON
        ENVIRONMENT "TQ_MODEL=${tqstar_model_path}"
        ENVIRONMENT_MODIFICATION "TQ_OTHER_MODEL=set:${tqstar_other_model_path}")
    add_executable(tq_requantise EXCLUDE_FROM_ALL "${CMAKE_CURRENT_LIST_DIR}/requantise.cpp")
    target_compile_features(tq_requantise PRIVATE cxx_std_20)
    target_link_libraries(tq_requantise PRIVATE llama)
    add_custom_target(tq_model
        COMMAND ${tqstar_with_cache} "${CMAKE_CURRENT_LIST_DIR}/fetch_model" $<TARGET_FILE:tq_requantise>
        USES_TERMINAL VERBATIM)
    add_dependencies(tq_model tq_requantise)
    add_custom_target(tq_other_model
        COMMAND ${tqstar_with_cache} "${CMAKE_CURRENT_LIST_DIR}/fetch_other_model"
        USES_TERMINAL VERBATIM)
    add_custom_target(tq_embedder
        COMMAND ${tqstar_with_cache} "${CMAKE_CURRENT_LIST_DIR}/fetch_embedder"
        USES_TERMINAL VERBATIM)
endif()
