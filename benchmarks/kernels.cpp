// kernels: the loops over a row of logits, each beside what else there is, in one process and on one
// thread: microseconds per row.
//
// Rows: a Gaussian bulk (sd 2.5) with 50 entries raised by 10 or more, the same numbers as in the
// Python twin; or recorded from the real model. One row again and again (in L2 up to 152,064), 64 rows
// in turn (L3 and beyond), or 300 MB of rows in turn (memory). The methods take turns; the best of
// the rounds counts. Every result is checked before anything is printed.

#include <fmt/format.h>
#include <llama.h>

#include <CLI/CLI.hpp>
#include <Eigen/Core>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <exception>
#include <fstream>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>
#include <string>
#include <tq/adapters/llama_cpp/llama_cpp.hpp>
#include <tq/kernels/gumbel.hpp>
#include <tq/tq.hpp>
#include <vector>

#include "../examples/programs/support/defaults.hpp"
#include "kernels/portable.hpp"

namespace {

struct settings {
    std::vector<std::size_t> vocabularies{32000, 49152, 128256, 152064, 262144}, ks{10, 40, 100};
    std::string reference;
    bool real = true, quick = false;
};

/// Rows behind each other, aligned as an engine's buffer is.
struct row_store {
    std::size_t vocabulary = 0;
    std::vector<float, Eigen::aligned_allocator<float>> values;
    [[nodiscard]] std::size_t count() const { return values.size() / vocabulary; }
    [[nodiscard]] tq::logits_view row(std::size_t i) const {
        return {values.data() + i % count() * vocabulary, vocabulary};
    }
};

/// 32 bits of a counter; the Python twin has the same.
std::uint32_t mixed(std::uint32_t x) {
    x ^= x >> 16;
    x *= 0x7feb352dU;
    x ^= x >> 15;
    x *= 0x846ca68bU;
    return x ^ (x >> 16);
}

/// One row: sums of twelve 16-bit uniforms, exact in double, so the same in every language.
void fill_row(std::span<float> row, std::uint32_t number) {
    const auto size = static_cast<std::uint32_t>(row.size());
    for (std::uint32_t i = 0; i < size; ++i) {
        std::uint32_t sum = 0;
        for (std::uint32_t j = 0; j < 6; ++j) {
            const std::uint32_t h = mixed(i * 8 + j + number * 0x9e3779b9U);
            sum += (h & 0xFFFFU) + (h >> 16);
        }
        row[i] = static_cast<float>((sum / 65536.0 - 6.0) * 2.5);
    }
    for (std::uint32_t j = 0; j < 50; ++j)
        row[mixed(j + number * 0x85ebca6bU) % size] += 10.0F + static_cast<float>(j) * 0.125F;
}

/// `count` rows; beyond 64 they are copies of these at other places, so that memory is read.
row_store synthetic(std::size_t vocabulary, std::size_t count) {
    row_store rows{vocabulary, {}};
    rows.values.resize(vocabulary * count);
    for (std::size_t i = 0; i < count; ++i) {
        const std::span<float> row{rows.values.data() + i * vocabulary, vocabulary};
        if (i < 64)
            fill_row(row, static_cast<std::uint32_t>(i));
        else
            std::copy_n(rows.values.data() + i % 64 * vocabulary, vocabulary, row.data());
    }
    return rows;
}

/// Rows of the real model while it answers the demo's prompts.
row_store recorded(std::size_t count) {
    const tq::llama_cpp::model_file file{demo_defaults::model()};
    tq::llama_cpp::language_model model{file, {.threads = demo_defaults::threads()}};
    row_store rows{file.vocab_size(), {}};
    std::ifstream stream{demo_defaults::prompts()};
    tq::row_sampler sampler{{.temperature = 0.8, .top_p = 1}};
    const tq::random_key key{1};
    for (std::string line; rows.count() < count && std::getline(stream, line);) {
        auto sequence = file.chat_prompt(nlohmann::json::parse(line)["prompt"].get<std::string>());
        for (std::size_t i = 0; i < 16 && rows.count() < count; ++i) {
            const tq::token_view view{sequence};
            const tq::logits_view row = model.next_logits({&view, 1})[0];
            rows.values.insert(rows.values.end(), row.begin(), row.end());
            sequence.push_back(sampler(row, key.uniform(rows.count())));
        }
    }
    return rows;
}

/// A llama.cpp sampler, and the candidate array that llama_sampler_sample would fill.
class llama_chain {
public:
    explicit llama_chain(std::int32_t k)
        : chain_{llama_sampler_chain_init(llama_sampler_chain_default_params())} {
        if (k > 0) llama_sampler_chain_add(chain_, llama_sampler_init_top_k(k));
        if (k > 0) llama_sampler_chain_add(chain_, llama_sampler_init_temp(1.0F));
        llama_sampler_chain_add(chain_, llama_sampler_init_dist(1));
    }
    llama_chain(const llama_chain&) = delete;
    ~llama_chain() { llama_sampler_free(chain_); }

    tq::token_id operator()(tq::logits_view row) {
        candidates_.resize(row.size());
        portable::fill(row, candidates_.data());
        llama_token_data_array array{candidates_.data(), row.size(), -1, false};
        llama_sampler_apply(chain_, &array);
        kept_ = array.size;
        return array.data[array.selected].id;
    }
    [[nodiscard]] std::span<const llama_token_data> kept() const {
        return {candidates_.data(), kept_};
    }

private:
    llama_sampler* chain_;
    std::vector<llama_token_data> candidates_;
    std::size_t kept_ = 0;
};

using eigen_row = Eigen::Map<const Eigen::ArrayXf>;
eigen_row as_eigen(tq::logits_view row) {
    return {row.data(), static_cast<Eigen::Index>(row.size())};
}

double eigen_log_sum_exp(tq::logits_view row) {
    const float top = as_eigen(row).maxCoeff();
    return static_cast<double>(top + std::log((as_eigen(row) - top).exp().sum()));
}

/// Indices of the k largest, by std::partial_sort.
void partial_sort(tq::logits_view row, std::vector<tq::token_id>& order, std::size_t k) {
    order.resize(row.size());
    std::iota(order.begin(), order.end(), 0);
    std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(k), order.end(),
                      [&](tq::token_id a, tq::token_id b) {
                          const float x = row[static_cast<std::size_t>(a)],
                                      y = row[static_cast<std::size_t>(b)];
                          return x > y || (x == y && a < b);
                      });
}

/// A draw from the softmax of a few logits, no normaliser of the whole row needed.
tq::token_id draw(std::span<const tq::scored_token> best, double u) {
    double sum = 0, running = 0;
    for (const auto entry : best)
        sum += std::exp(static_cast<double>(entry.logit) - static_cast<double>(best[0].logit));
    for (const auto entry : best)
        if ((running += std::exp(static_cast<double>(entry.logit) -
                                 static_cast<double>(best[0].logit))) > u * sum)
            return entry.token;
    return best.back().token;
}

long double exact_log_sum_exp(tq::logits_view row) {
    const long double top = *std::ranges::max_element(row);
    long double sum = 0;
    for (const float x : row) sum += std::exp(static_cast<long double>(x) - top);
    return top + std::log(sum);
}

void require(bool right, const std::string& what) {
    if (!right) throw tq::backend_error{"kernels: wrong result: " + what};
}

/// A method and its time; the times of one table are taken together.
struct contender {
    const char* name;
    std::function<double(tq::logits_view)> run;
    double microseconds = HUGE_VAL;
};

double sink = 0;

/// The contenders take turns. In memory-bound tables every call reads the next row.
void measure(std::vector<contender>& contenders, const row_store& rows, std::size_t in_turn,
             std::size_t rounds) {
    using clock = std::chrono::steady_clock;
    std::size_t next = 0;
    for (std::size_t round = 0; round < rounds; ++round)
        for (contender& one : contenders) {
            sink += one.run(rows.row(next));  // its code and workspace are warm
            std::size_t calls = 0;
            double elapsed = 0;
            const auto start = clock::now();
            do {
                for (int i = 0; i < 4; ++i, ++calls) sink += one.run(rows.row(next++ % in_turn));
                elapsed = std::chrono::duration<double, std::micro>(clock::now() - start).count();
            } while (elapsed < 300 && calls < 1000);
            one.microseconds = std::min(one.microseconds, elapsed / static_cast<double>(calls));
        }
}

/// What the checks found.
struct accuracy {
    double partition = 0, cumulative = 0;
};

/// Distance of u from the token's interval of the distribution function.
double miss(tq::logits_view row, tq::token_id token, double u) {
    const long double z = exact_log_sum_exp(row);
    long double below = 0;
    for (tq::token_id i = 0; i < token; ++i)
        below += std::exp(static_cast<long double>(row[static_cast<std::size_t>(i)]) - z);
    const long double above =
        below + std::exp(static_cast<long double>(row[static_cast<std::size_t>(token)]) - z);
    return static_cast<double>(std::max({0.0L, below - u, u - above}));
}

void verify(const row_store& rows, std::size_t k, accuracy& found) {
    std::vector<tq::token_id> order, tokens(k);
    std::vector<tq::scored_token> best(k), fused(k);
    tq::row_sampler sampler{{}};
    llama_chain chain{static_cast<std::int32_t>(k)};
    for (std::size_t r = 0; r < std::min<std::size_t>(rows.count(), 8); ++r) {
        const auto row = rows.row(r);
        partial_sort(row, order, k);
        require(tq::top_k(row, best) == k, "top_k's count");
        const auto result = tq::top_k_log_partition(row, fused);
        for (std::size_t i = 0; i < k; ++i)
            require(best[i].token == order[i] && fused[i] == best[i], "top_k");
        portable::top_k(row, tokens);
        require(std::equal(tokens.begin(), tokens.end(), order.begin()), "top_k, -O2");
        const auto exact = static_cast<double>(exact_log_sum_exp(row));
        for (const double z : {result.log_partition, portable::top_k_log_partition(row, tokens)})
            found.partition = std::max(found.partition, std::abs(z - exact));
        require(std::abs(eigen_log_sum_exp(row) - exact) < 1e-4, "Eigen's log-sum-exp");
        chain(row);
        double theirs = 0, ours = 0;
        for (const auto& entry : chain.kept()) theirs += static_cast<double>(entry.logit);
        for (const auto entry : best) ours += static_cast<double>(entry.logit);
        require(chain.kept().size() == k && std::abs(theirs - ours) < 1e-3, "llama.cpp's top_k");
        for (const double u : {0.01, 0.3, 0.77, 0.999})
            for (const tq::token_id token : {sampler(row, u), portable::sample(row, u)}) {
                require(token >= 0, "sampling");
                found.cumulative = std::max(found.cumulative, miss(row, token, u));
            }
    }
    require(found.partition <= 3e-7, fmt::format("log-partition off by {}", found.partition));
    require(found.cumulative <= 1e-6, fmt::format("sampling off by {}", found.cumulative));
}

/// The twin read the same rows: its log-sum-exp of the first one is ours.
void check_reference(const nlohmann::json& reference, const row_store& rows) {
    const auto& cell = reference.at(std::to_string(rows.vocabulary));
    require(std::abs(cell.at("log_sum_exp").get<double>() -
                     static_cast<double>(exact_log_sum_exp(rows.row(0)))) < 1e-9,
            "PyTorch reads other rows");
}

/// The times of one place and k, by name.
using times = std::map<std::string, double>;

times run_table(const row_store& rows, std::size_t in_turn, std::size_t k, std::size_t rounds) {
    std::vector<tq::scored_token> best(k);
    std::vector<tq::token_id> order, tokens(k);
    llama_chain chain{static_cast<std::int32_t>(k)}, dist{0};
    std::vector<llama_token_data> candidates;
    tq::row_sampler sampler{{}};
    std::uint64_t draws = 0;
    const tq::random_key key{7};
    const auto u = [&] { return key.uniform(++draws); };
    std::vector<contender> contenders{
        {"read", [](auto row) { return static_cast<double>(as_eigen(row).maxCoeff()); }},
        {"topk", [&](auto row) { return static_cast<double>(tq::top_k(row, best)); }},
        {"topk -O2", [&](auto row) { return static_cast<double>(portable::top_k(row, tokens)); }},
        {"topk+draw",
         [&](auto row) {
             tq::top_k(row, best);
             return static_cast<double>(draw(best, u()));
         }},
        {"fused", [&](auto row) { return tq::top_k_log_partition(row, best).log_partition; }},
        {"fused -O2", [&](auto row) { return portable::top_k_log_partition(row, tokens); }},
        {"sample", [&](auto row) { return static_cast<double>(sampler(row, u())); }},
        {"sample -O2", [&](auto row) { return static_cast<double>(portable::sample(row, u())); }},
        {"gumbel",
         [&](auto row) {
             return static_cast<double>(
                 tq::gumbel_argmax(row, tq::gumbel_field{key.fold_in(++draws)}));
         }},
        {"Eigen lse", [](auto row) { return eigen_log_sum_exp(row); }},
        {"partial_sort",
         [&](auto row) {
             partial_sort(row, order, k);
             return static_cast<double>(order[0]);
         }},
        {"llama fill",
         [&](auto row) {
             candidates.resize(row.size());
             portable::fill(row, candidates.data());
             return static_cast<double>(candidates.front().logit);
         }},
        {"llama chain", [&](auto row) { return static_cast<double>(chain(row)); }},
        {"llama dist", [&](auto row) { return static_cast<double>(dist(row)); }},
    };
    measure(contenders, rows, in_turn, rounds);
    times result;
    for (const contender& one : contenders) result[one.name] = one.microseconds;
    return result;
}

constexpr const char* columns[] = {"read",        "topk",       "topk -O2",     "topk+draw",
                                   "fused",       "fused -O2",  "sample",       "sample -O2",
                                   "gumbel",      "Eigen lse",  "partial_sort", "llama fill",
                                   "llama chain", "llama dist", "torch fused",  "torch sample"};

void print_header() {
    fmt::print("{:>7} {:>4} {:<9}", "V", "k", "rows");
    for (const char* column : columns) fmt::print(" {:>12}", column);
    fmt::print("\n");
}

void print_row(std::size_t vocabulary, std::size_t k, const char* place, const times& result) {
    fmt::print("{:>7} {:>4} {:<9}", vocabulary, k, place);
    for (const char* column : columns)
        if (const auto found = result.find(column); found == result.end())
            fmt::print(" {:>12}", "-");
        else
            fmt::print(" {:>12.2f}", found->second);
    fmt::print("\n");
    std::fflush(stdout);
}

void run(const settings& options) {
    nlohmann::json reference;
    if (!options.reference.empty())
        reference = nlohmann::json::parse(std::ifstream{options.reference});
    const std::size_t rounds = options.quick ? 3 : 9;
    const auto* lanes = &tq::kernel_detail::best_lanes();
    fmt::print("microseconds per row, one thread, {} floats per vector at run time\n\n",
               lanes->lanes);
    print_header();
    accuracy found;
    nlohmann::json json;
    const auto headline = [&](const times& t) {
        const auto ratio = [&](const char* a, const char* b) { return t.at(a) / t.at(b); };
        json["topk_over_read"] = ratio("topk", "read");
        json["fused_over_read"] = ratio("fused", "read");
        json["fused_over_eigen_lse"] = ratio("fused", "Eigen lse");
        json["llama_chain_over_fused"] = ratio("llama chain", "fused");
        json["llama_chain_over_topk_sample"] = ratio("llama chain", "topk+draw");
        json["llama_dist_over_sample"] = ratio("llama dist", "sample");
        if (t.contains("torch sample")) json["torch_over_sample"] = ratio("torch sample", "sample");
        json["portable_over_native"] =
            std::max({ratio("topk -O2", "topk"), ratio("fused -O2", "fused"),
                      ratio("sample -O2", "sample")});
    };
    const auto tables = [&](const row_store& rows, const char* one, const char* many) {
        for (const std::size_t k : options.ks) {
            verify(rows, k, found);
            for (const bool hot : {true, false}) {
                const std::size_t in_turn = hot ? 1 : std::min<std::size_t>(rows.count(), 64);
                times result = run_table(rows, in_turn, k, rounds);
                const auto v = std::to_string(rows.vocabulary);
                if (one == std::string{"one"} && reference.contains(v)) {
                    const auto& cell = reference[v][hot ? "1" : "64"];
                    result["torch fused"] = cell["topk_" + std::to_string(k)];
                    result["torch sample"] = cell["sample"];
                }
                print_row(rows.vocabulary, k, hot ? one : many, result);
                if (rows.vocabulary == 128256 && k == 10 && hot) headline(result);
            }
        }
    };
    for (const std::size_t vocabulary : options.vocabularies) {
        const row_store rows = synthetic(vocabulary, 64);
        if (reference.contains(std::to_string(vocabulary))) check_reference(reference, rows);
        tables(rows, "one", "64");
        if (options.quick) continue;
        const row_store memory = synthetic(vocabulary, 300'000'000 / 4 / vocabulary);
        print_row(vocabulary, 10, "memory", run_table(memory, memory.count(), 10, rounds));
    }
    if (options.real) tables(recorded(64), "model: one", "model: 64");
    json["partition_abs_error"] = found.partition;
    json["sample_abs_error"] = found.cumulative;
    fmt::print("\nlargest error of the log-partition {:.1e}, of the distribution function {:.1e}\n",
               found.partition, found.cumulative);
    fmt::print("{}", std::isnan(sink) ? " \n" : "\n");
    fmt::print("{}\n", json.dump());
}

}  // namespace

int main(int argc, char** argv) {
    settings options;
    CLI::App app{"Loops over a row of logits beside what else there is, microseconds per row"};
    app.add_flag("--quick", options.quick, "V = 49,152 and 128,256, k = 10, fewer rounds");
    app.add_option("--reference", options.reference, "results of the Python twin");
    app.add_flag("!--no-model", options.real, "no rows of the real model");
    CLI11_PARSE(app, argc, argv);
    if (options.quick) {
        options.vocabularies = {49152, 128256};
        options.ks = {10};
    }
    try {
        run(options);
    } catch (const std::exception& error) {
        fmt::print(stderr, "kernels: {}\n", error.what());
        return 1;
    }
}
