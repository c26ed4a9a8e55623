// expect: tq needs g\+\+ 12 or clang 14, or later, and C\+\+20
// errors: several
#undef __GNUC__
#define __GNUC__ 11
#undef __clang_major__
#define __clang_major__ 13
#include <tq/tq.hpp>

int main() {}
