// Compiled with other -m flags than link_two_units.cpp where the processor allows.
#include "decode_here.hpp"

void decode_in_second_unit(std::vector<tq::token_id>& tokens, std::vector<double>& q);

void decode_in_second_unit(std::vector<tq::token_id>& tokens, std::vector<double>& q) {
    decoded result = decode_here();
    tokens = result.tokens;
    q = result.q;
}
