// expect: tq relies on IEEE infinities and NaN: compile without -ffast-math
// flag: -ffast-math
#include <tq/tq.hpp>

int main() {}
