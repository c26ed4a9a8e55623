#include <tq/tq.hpp>

const char* version_in_second_unit();

const char* version_in_second_unit() { return TQSTAR_VERSION_STRING; }
