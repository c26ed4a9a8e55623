// Two translation units include all of tq, with different -m flags, and are linked together: nothing
// is defined twice, and both decode the same.
#include <cstdio>

#include "decode_here.hpp"

void decode_in_second_unit(std::vector<tq::token_id>& tokens, std::vector<double>& q);

int main() {
    const decoded here = decode_here();
    std::vector<tq::token_id> tokens;
    std::vector<double> q;
    decode_in_second_unit(tokens, q);
    if (here.tokens.size() != 4 || here.tokens != tokens || here.q != q) {
        std::puts("the two translation units decode differently");
        return 1;
    }
}
