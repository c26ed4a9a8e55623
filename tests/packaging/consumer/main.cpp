#include <tq/tq.hpp>

#include <cstdio>

int main() { std::printf("tq %s\n", TQSTAR_VERSION_STRING); }
