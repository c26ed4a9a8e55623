// expect: tq relies on IEEE infinities and NaN: compile without -ffinite-math-only
// flag: -ffinite-math-only
#include <tq/tq.hpp>

int main() {}
