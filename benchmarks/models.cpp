// models: are the rows of many architectures those of a fresh context, whatever came before?
//
// For each architecture a small random model is made in memory, and decodes
// sequences that go on, branch, are cut and come in several prompts, in a cache that is too small
// for all of them (tests/adapters/llama_cpp/row_check.hpp): as policy or baseline (logits), and as
// the trunk of a reward (states). Two rows of each call are compared with plain llama.cpp's in an
// empty context.
//
// Checked: no row is further off than five times what float noise does to the same model.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdint>
#include <exception>
#include <tq/adapters/llama_cpp/llama_cpp.hpp>

#include "adapters/llama_cpp/row_check.hpp"
#include "adapters/llama_cpp/tiny_models.hpp"

namespace {

using tq::llama_cpp::detail::row_kind;

int run(std::size_t calls, std::uint64_t seeds) {
    std::size_t rows = 0, off = 0;
    fmt::print("{:<22} {:<10} {:>6} {:>4} {:>9} {:>9} {:>11} {:>7}\n", "architecture", "role",
               "rows", "off", "worst", "noise x 5", "other rows", "tokens");
    for (const auto& kind : tq::test::tiny_architectures())
        for (const row_kind role : {row_kind::logits, row_kind::states}) {
            tq::test::row_check all;
            for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
                const auto one =
                    tq::test::check_rows(tq::test::tiny_model(kind), role, calls, seed);
                all.rows += one.rows;
                all.off += one.off;
                all.decoded += one.decoded;
                all.worst = std::max(all.worst, one.worst);
                all.allowed = std::max(all.allowed, one.allowed);
                all.neighbours = std::max(all.neighbours, one.neighbours);
            }
            fmt::print("{:<22} {:<10} {:>6} {:>4} {:>9.2g} {:>9.2g} {:>11.2g} {:>7}\n",
                       kind.label(), role == row_kind::logits ? "policy" : "trunk", all.rows,
                       all.off, all.worst, all.allowed, all.neighbours, all.decoded);
            rows += all.rows;
            off += all.off;
        }
    fmt::print("{{\"architectures\": {}, \"rows_checked\": {}, \"rows_off\": {}}}\n",
               tq::test::tiny_architectures().size(), rows, off);
    return off == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app{"Rows of many architectures against those of fresh contexts"};
    bool quick = false;
    std::size_t calls = 200;
    std::uint64_t seeds = 2;
    app.add_flag("--quick", quick, "one seed, 60 calls at most");
    app.add_option("--calls", calls, "of the model, per seed")->capture_default_str();
    app.add_option("--seeds", seeds, "of the sequences")->capture_default_str();
    try {
        app.parse(argc, argv);
        return run(quick ? std::min<std::size_t>(calls, 60) : calls, quick ? 1 : seeds);
    } catch (const CLI::ParseError& error) {
        return app.exit(error);
    } catch (const std::exception& error) {
        fmt::print(stderr, "models: {}\n", error.what());
        return 1;
    }
}
