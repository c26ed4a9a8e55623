#include <tq/tabular/tree.hpp>

#include "support/catch.hpp"
#include "support/message.hpp"

using tq::tabular::node_id;
using tq::tabular::tree;
using tq::test::message_of;

TEST_CASE("tree: without an end token it has V^0 + ... + V^T nodes, V^T of them leaves") {
    const tree world{3, 2};
    CHECK(world.size() == 1 + 3 + 9);
    std::size_t leaves = 0;
    for (node_id node = 0; node < world.size(); ++node) leaves += world.is_leaf(node);
    CHECK(leaves == 9);
}

TEST_CASE("tree: an end token closes its branch at any depth") {
    const tree world{2, 3, 1};  // answers: 1, 01, 000, 001
    CHECK(world.size() == 1 + 2 + 2 + 2);
    CHECK(world.is_leaf(world.child(world.root(), 1)));
    CHECK_FALSE(world.is_leaf(world.child(world.root(), 0)));
}

TEST_CASE("tree: nodes are numbered outwards, children next to each other") {
    for (const tq::token_id end : {tree::no_end, 0, 2}) {
        const tree world{3, 3, end};
        for (node_id node = 0; node < world.size(); ++node) {
            if (world.is_leaf(node)) continue;
            for (std::size_t z = 0; z < 3; ++z) {
                const node_id child = world.child(node, z);
                CHECK(child > node);
                CHECK(child == world.child(node, 0) + z);
                CHECK(world.parent(child) == node);
                CHECK(world.token(child) == static_cast<tq::token_id>(z));
                CHECK(world.depth_of(child) == world.depth_of(node) + 1);
            }
        }
    }
}

TEST_CASE("tree: find follows an answer, and the end token if it is finished") {
    const tree world{3, 3, 2};
    CHECK(world.find({}) == world.root());
    CHECK(world.find({}, true) == world.child(world.root(), 2));
    const tq::token_list answer{0, 1};
    const node_id node = world.child(world.child(world.root(), 0), 1);
    CHECK(world.find(answer) == node);
    CHECK(world.find(answer, true) == world.child(node, 2));
}

TEST_CASE("tree: find refuses answers that are not there, in words") {
    const tree world{2, 2};
    const auto refusal = [&](const tq::token_list& answer, bool finished = false) {
        return message_of<tq::invalid_option>([&] { (void)world.find(answer, finished); });
    };
    CHECK(refusal({0, 2}) == "tree: token = 2, must be in [0, 2)");
    CHECK(refusal({-1}) == "tree: token = -1, must be in [0, 2)");
    CHECK(refusal({0, 0, 0}) ==
          "tree: answer length = 3, must be no longer than the answer that ends there");
    CHECK(refusal({0}, true) == "tree: token = -1, must be in [0, 2)");  // there is no end token
    const tree closed{2, 3, 1};
    CHECK_THROWS_AS(closed.find(tq::token_list{1, 0}), tq::invalid_option);
}

TEST_CASE("tree: sizes out of range are refused in words") {
    const auto refusal = [](std::size_t vocab_size, std::size_t depth, tq::token_id end = -1) {
        return message_of<tq::invalid_option>([=] { tree{vocab_size, depth, end}; });
    };
    CHECK(refusal(0, 1) == "tree: vocab_size = 0, must be >= 1");
    CHECK(refusal(2, 0) == "tree: depth = 0, must be >= 1");
    CHECK(refusal(2, 1, 2) == "tree: end_token = 2, must be -1 or in [0, 2)");
    CHECK(refusal(2, 1, -2) == "tree: end_token = -2, must be -1 or in [0, 2)");
    CHECK(refusal(6'000'000, 1) == "tree: nodes = 6000001, must be <= 5000000");
}
