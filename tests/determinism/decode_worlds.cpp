// Prints what many decodes give, token by token. check_determinism compiles it in different ways and
// compares what is printed.
#include <tq/decode/block_decoder.hpp>
#include <tq/decode/decoder.hpp>
#include <tq/transfer/direct.hpp>
#include <tq/transfer/indirect.hpp>
#include <tq/transfer/soft.hpp>

#include <cstdio>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "support/policies.hpp"

namespace {

using tq::token_list;

// Large enough for the vector kernels, with a last block that is not whole; token 1 ends an answer.
constexpr std::size_t vocabulary = 700;

auto model(std::uint64_t seed) { return tq::test::random_bigram(vocabulary, seed, {1}); }

struct parity {
    double operator()(tq::token_view, tq::token_view answer) const {
        double odd = 0;
        for (const tq::token_id token : answer) odd += token % 2;
        return answer.empty() ? 0 : odd / static_cast<double>(answer.size());
    }
    [[nodiscard]] tq::reward_range range() const { return {0, 1}; }
};

const std::vector<token_list> prompts{{0}, {5, 9}, {300}, {699, 2, 44}};

template <class Decoder>
void write(std::ostringstream& out, const char* name, Decoder decode) {
    auto answers = decode.generate_all(prompts, 6);
    while (!answers.advance().empty()) continue;
    for (std::size_t i = 0; i < answers.size(); ++i) {
        out << name << ' ' << i << ':';
        for (const tq::token_id token : answers.answer(i)) out << ' ' << token;
        out << '\n';
    }
}

/// All decodes, with `slots` rollouts at a time.
std::string decode_all(std::size_t slots) {
    std::ostringstream out;
    for (const tq::selection select : {tq::selection::sample, tq::selection::argmax})
        for (const tq::race_mode race :
             {tq::race_mode::exhaustive, tq::race_mode::exact, tq::race_mode::confident}) {
            const tq::decode_options options{
                .alpha = 0.1, .top_k = 6, .select = select, .race = race, .seed = 11};
            write(out, "greedy",
                  tq::decoder{
                      model(1),
                      tq::direct_transfer{model(2), parity{}, {.horizon = 4, .in_flight = slots}},
                      options});
            write(out, "sampled",
                  tq::decoder{model(1),
                              tq::direct_transfer{model(2),
                                                  parity{},
                                                  {.horizon = 4,
                                                   .rollouts = 6,
                                                   .sampling = {.temperature = 0.8},
                                                   .in_flight = slots}},
                              options});
        }
    const tq::decode_options options{.alpha = 0.2, .top_k = 5, .seed = 3};
    const tq::rollout_options look{.horizon = 3, .rollouts = 8, .sampling = {}, .in_flight = slots};
    write(out, "indirect",
          tq::decoder{model(1),
                      tq::indirect_transfer{model(2), parity{},
                                            tq::implicit_weights{model(1), {.beta = 1}}, look},
                      options});
    write(out, "soft",
          tq::decoder{model(1),
                      tq::soft_transfer{model(2), parity{},
                                        tq::implicit_weights{model(1), {.beta = 1}}, look},
                      options});
    write(out, "blocks",
          tq::block_decoder{
              model(2),
              tq::direct_transfer{model(2), parity{}, {.horizon = 4, .in_flight = slots}},
              {.alpha = 0.1, .block = 2, .candidates = 4, .seed = 5}});
    return out.str();
}

}  // namespace

int main() {
    const std::string one = decode_all(0);
    for (const std::size_t slots : {std::size_t{1}, std::size_t{7}})
        if (decode_all(slots) != one) {
            std::fprintf(stderr, "%zu slots give other tokens\n", slots);
            return 1;
        }
    std::vector<std::string> together(4);
    std::vector<std::thread> threads;
    for (std::string& result : together) threads.emplace_back([&] { result = decode_all(0); });
    for (std::thread& thread : threads) thread.join();
    for (const std::string& result : together)
        if (result != one) {
            std::fprintf(stderr, "threads beside each other give other tokens\n");
            return 1;
        }
    std::fputs(one.c_str(), stdout);
}
