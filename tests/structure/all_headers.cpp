// Every header of tq and nothing else; see check_symbols.
#include "every_header.hpp"
