// expect: tq relies on IEEE infinities and NaN: compile without -ffast-math
// errors: several
// flag: -ffast-math
#include <tq/tq.hpp>

int main() {}
