// expect: tq reports invalid options and failing models by exceptions: compile with exceptions on
// errors: several
// flag: -fno-exceptions
#include <tq/tq.hpp>

int main() {}
