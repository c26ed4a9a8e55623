#include <tq/evaluate/perplexity.hpp>

#include <cmath>
#include <tq/tabular/enumerate.hpp>
#include <tq/tabular/models.hpp>

#include "support/catch.hpp"
#include "support/message.hpp"
#include "support/statistics.hpp"

using namespace tq::tabular;

TEST_CASE("perplexity: of every answer of a world, from its enumerated probability") {
    const tree world{3, 4, 2};
    const log_policy pi = random_policy(world, tq::random_key{7});
    const node_values reach = log_reach(world, pi);
    tree_policy policy{world, pi};
    std::vector<tq::token_list> texts{{}, {0}, {1, 0}, {0, 1, 1}, {1, 1, 0, 1}};
    const tq::token_list prompt{0};
    std::vector<tq::answer_view> answers;
    for (const tq::token_list& text : texts) answers.push_back({prompt, text, true});
    const std::vector<double> values = tq::perplexity(policy, answers);
    CHECK(std::isnan(values[0]));
    for (std::size_t i = 1; i < texts.size(); ++i) {
        const double wanted =
            std::exp(-reach[world.find(texts[i])] / static_cast<double>(texts[i].size()));
        if (!tq::test::close(values[i], wanted, 1e-5)) FAIL(values[i] << " " << wanted);
    }
    CHECK(tq::perplexity(policy, {}).empty());
}
