// What happens when memory runs out, and that none is lost: this program counts every allocation.

#include <tq/decode/block_decoder.hpp>
#include <tq/decode/decoder.hpp>
#include <tq/transfer/direct.hpp>
#include <tq/transfer/indirect.hpp>
#include <tq/transfer/soft.hpp>

#include <cstdlib>
#include <limits>
#include <new>

#include "support/answers.hpp"
#include "support/catch.hpp"
#include "support/policies.hpp"

using tq::token_list;

namespace {

constexpr std::size_t never = std::numeric_limits<std::size_t>::max();

std::size_t live = 0;      // allocations that have not been given back
std::size_t left = never;  // allocations that succeed before one fails

}  // namespace

void* operator new(std::size_t size) {
    if (left == 0) {
        left = never;  // the next one succeeds: memory is short, not gone
        throw std::bad_alloc{};
    }
    if (left != never) --left;
    void* memory = std::malloc(size);
    if (memory == nullptr) throw std::bad_alloc{};
    ++live;
    return memory;
}
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
    try {
        return operator new(size);
    } catch (const std::bad_alloc&) {
        return nullptr;
    }
}
void operator delete(void* memory) noexcept {
    live -= memory != nullptr;
    std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept { operator delete(memory); }
void operator delete(void* memory, const std::nothrow_t&) noexcept { operator delete(memory); }

namespace {

const std::vector<token_list> prompts{{0}, {1, 2}, {4, 4, 4}};

double last_token(tq::token_view, tq::token_view answer) {
    return answer.empty() ? 0.0 : static_cast<double>(answer.back());
}

struct ranged_reward {
    double operator()(tq::token_view prompt, tq::token_view answer) const {
        return last_token(prompt, answer);
    }
    [[nodiscard]] tq::reward_range range() const { return {0, 6}; }
};

auto model(std::uint64_t seed) { return tq::test::random_bigram(6, seed, {5}); }

/// What is decoded from all prompts, an error at a time being no hindrance; counts the errors.
template <class Decoder>
std::vector<token_list> decode_all(Decoder& decode, std::size_t failing, std::size_t& errors) {
    auto answers = decode.generate_all(prompts, 5);
    left = failing;
    for (bool done = false; !done;) {
        try {
            done = answers.advance().empty();
        } catch (const std::bad_alloc&) {
            ++errors;
        }
    }
    left = never;
    return tq::test::answers_of(answers);
}

/// Lets every allocation of a decode fail, one at a time: nothing leaks, nothing is lost, and the retry
/// gives the same tokens.
template <class Make>
void fail_everywhere(Make make) {
    std::size_t none = 0;
    auto sound = make();
    const std::vector<token_list> expected = decode_all(sound, never, none);
    std::size_t failing = 0;
    bool wrong = false, leaked = false;
    for (std::size_t errors = 1; errors > 0; ++failing) {
        errors = 0;
        const std::size_t before = live;
        {
            auto decode = make();
            wrong = wrong || decode_all(decode, failing, errors) != expected;
        }
        leaked = leaked || live != before;
    }
    CHECK_FALSE(wrong);
    CHECK_FALSE(leaked);
    CHECK(failing > 20);  // there were that many to fail
}

}  // namespace

TEST_CASE("faults: an allocation that fails, any one, leaves the decoder as it was") {
    SECTION("greedy rollouts, reused, in a race") {
        fail_everywhere([] {
            return tq::decoder{model(1),
                               tq::direct_transfer{model(2), ranged_reward{}, {.horizon = 3}},
                               {.alpha = 1,
                                .top_k = 4,
                                .select = tq::selection::argmax,
                                .race = tq::race_mode::exact,
                                .seed = 7}};
        });
    }
    SECTION("sampled rollouts, several at once") {
        fail_everywhere([] {
            return tq::decoder{
                model(1),
                tq::direct_transfer{model(2),
                                    last_token,
                                    {.horizon = 3, .rollouts = 3, .sampling = {}, .in_flight = 4}},
                {.alpha = 1, .top_k = 4, .seed = 7}};
        });
    }
    SECTION("indirect transfer") {
        fail_everywhere([] {
            return tq::decoder{model(1),
                               tq::indirect_transfer{model(2),
                                                     last_token,
                                                     tq::implicit_weights{model(1), {.beta = 1}},
                                                     {.horizon = 2, .rollouts = 2, .sampling = {}}},
                               {.alpha = 1, .top_k = 3, .seed = 7}};
        });
    }
    SECTION("blocks") {
        fail_everywhere([] {
            return tq::block_decoder{model(2),
                                     tq::direct_transfer{model(2), last_token, {.horizon = 3}},
                                     {.alpha = 1, .block = 2, .candidates = 3, .seed = 7}};
        });
    }
}

TEST_CASE("faults: a thousand generations give back all they took") {
    tq::decoder decode{model(1),
                       tq::direct_transfer{model(2), ranged_reward{}, {.horizon = 3}},
                       {.alpha = 1, .top_k = 4, .race = tq::race_mode::exact, .seed = 7}};
    std::size_t errors = 0, after_first = 0;
    for (int i = 0; i < 1000; ++i) {
        (void)decode_all(decode, never, errors);
        if (i == 0) after_first = live;
    }
    CHECK(live == after_first);
    CHECK(errors == 0);
}

TEST_CASE("faults: ten thousand tokens need no more memory than five thousand") {
    // Token 5 ends an answer: this one never does.
    auto endless = [](std::uint64_t seed) { return tq::test::random_bigram(6, seed, {}); };
    tq::decoder decode{endless(1),
                       tq::direct_transfer{endless(2), ranged_reward{}, {.horizon = 2}},
                       {.alpha = 1, .top_k = 2, .race = tq::race_mode::exact, .seed = 7}};
    std::size_t tokens = 0, early = 0;
    for (const tq::step& step : decode.generate(token_list{0}, 10000)) {
        (void)step;
        if (++tokens == 5000) early = live;
    }
    CHECK(tokens == 10000);
    CHECK(live <= early);
}
