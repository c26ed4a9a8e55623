// Two translation units include all of tq and are linked together: nothing may be defined twice.
#include <tq/tq.hpp>

const char* version_in_second_unit();

int main() { return version_in_second_unit()[0] == TQSTAR_VERSION_STRING[0] ? 0 : 1; }
