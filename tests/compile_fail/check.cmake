# cmake -D SOURCE=... -D COMPILERS=a,b -D INCLUDES=x,y -P check.cmake
# SOURCE must fail to compile, with every compiler, as its head asks for:
#     // expect: <regular expression>     in an error
#     // flag: <flag>                     compiled with it
#     // errors: several                  more than one, anywhere
# Without the last: one error, and it begins within the first lines.
set(latest 10)
file(READ "${SOURCE}" text)
if(NOT text MATCHES "^// expect: ([^\n]+)")
    message(FATAL_ERROR "${SOURCE}: the first line must be '// expect: <regular expression>'")
endif()
set(regex "${CMAKE_MATCH_1}")
set(flag "")
if(text MATCHES "\n// flag: ([^\n]+)")
    set(flag "${CMAKE_MATCH_1}")
endif()
string(REPLACE "," ";" COMPILERS "${COMPILERS}")
string(REPLACE "," ";" includes "${INCLUDES}")
list(TRANSFORM includes PREPEND "-isystem")
foreach(compiler IN LISTS COMPILERS)
    execute_process(COMMAND "${CMAKE_COMMAND}" -E env LC_ALL=C
        "${compiler}" -std=c++20 -fsyntax-only ${includes} ${flag} "${SOURCE}"
        OUTPUT_VARIABLE out ERROR_VARIABLE out RESULT_VARIABLE code)
    message("${compiler}:\n${out}")
    string(REGEX REPLACE "[][;]" "_" lines "${out}")  # they would not be one item of a list
    string(REPLACE "\n" ";" lines "${lines}")
    set(errors 0)
    set(number 0)
    set(said 0)
    foreach(line IN LISTS lines)
        math(EXPR number "${number} + 1")
        if(line MATCHES "error: ")
            math(EXPR errors "${errors} + 1")
            if(line MATCHES "${regex}" AND said EQUAL 0)
                set(said ${number})
            endif()
        endif()
    endforeach()
    if(code EQUAL 0)
        message(FATAL_ERROR "it compiles")
    elseif(said EQUAL 0)
        message(FATAL_ERROR "no error says '${regex}'")
    elseif(NOT text MATCHES "\n// errors: several" AND (errors GREATER 1 OR said GREATER latest))
        message(FATAL_ERROR
            "${errors} errors, the one in line ${said}; wanted: one, in the first ${latest} lines")
    endif()
endforeach()
