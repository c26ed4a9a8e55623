#pragma once
// The model and the files that the tests of this room share.

#include <llama.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <tq/adapters/llama_cpp/llama_cpp.hpp>

namespace tq::test {

/// $TQ_MODEL, loaded once. A test without it fails: it must not pass unseen.
inline const llama_cpp::model_file& shared_model() {
    static const llama_cpp::model_file model = [] {
        const char* path = std::getenv("TQ_MODEL");
        if (path == nullptr) throw std::runtime_error{"set TQ_MODEL to a GGUF file"};
        return llama_cpp::model_file{path};
    }();
    return model;
}

/// $TQ_OTHER_MODEL: a model with another vocabulary.
inline const llama_cpp::model_file& other_model() {
    static const llama_cpp::model_file model = [] {
        const char* path = std::getenv("TQ_OTHER_MODEL");
        if (path == nullptr)
            throw std::runtime_error{"set TQ_OTHER_MODEL to the file of cmake/fetch_other_model"};
        return llama_cpp::model_file{path};
    }();
    return model;
}

/// A file that comes with the examples.
inline std::string asset(const std::string& name) {
    return std::string{TQSTAR_ASSETS_DIR} + "/" + name;
}

/// A file of this content, gone at the end of the scope.
class scratch_file {
public:
    explicit scratch_file(const std::string& content)
        : path_{(std::filesystem::temp_directory_path() /
                 ("tq_test_" + std::to_string(std::hash<const void*>{}(this)) + "_" +
                  std::to_string(std::hash<std::string>{}(content))))
                    .string()} {
        std::ofstream{path_, std::ios::binary} << content;
    }
    scratch_file(const scratch_file&) = delete;
    scratch_file& operator=(const scratch_file&) = delete;
    ~scratch_file() {
        std::error_code ignored;
        std::filesystem::remove(path_, ignored);
    }

    [[nodiscard]] const std::string& path() const { return path_; }

private:
    std::string path_;
};

/// Total variation between the softmaxes of two rows, in [0, 1].
inline double distance(logits_view a, logits_view b) {
    if (a.size() != b.size() || a.empty()) return 1;
    const auto softmax = [](logits_view row) {
        const float largest = *std::max_element(row.begin(), row.end());
        std::vector<double> p;
        double sum = 0;
        for (const float logit : row)
            sum += p.emplace_back(std::exp(double{logit} - double{largest}));
        for (double& value : p) value /= sum;
        return p;
    };
    const std::vector<double> p = softmax(a), q = softmax(b);
    double sum = 0;
    for (std::size_t i = 0; i < p.size(); ++i) sum += std::abs(p[i] - q[i]);
    return sum / 2;
}

/// llama.cpp alone, with nothing of the library: what its rows are, and how far float noise moves them.
/// The noise depends on weights, processor and build, so tests measure it instead of knowing it.
class bare_model {
public:
    /// `states`: rows are hidden states instead of logits.
    explicit bare_model(const llama_cpp::model_file& source, bool states = false)
        : size_{states ? source.hidden_size() : source.vocab_size()},
          stranger_{static_cast<token_id>((std::min)(source.vocab_size() - 1, std::size_t{1000}))},
          states_{states} {
        llama_context_params params = llama_context_default_params();
        params.n_ctx = 4096;
        params.n_batch = params.n_ubatch = 1024;
        params.n_seq_max = 2;
        params.n_threads = params.n_threads_batch = 1;
        params.pooling_type = LLAMA_POOLING_TYPE_NONE;
        params.kv_unified = true;
        context_.reset(llama_init_from_model(source.handle(), params));
        if (!context_) throw std::runtime_error{"llama_init_from_model failed"};
        llama_set_embeddings(context_.get(), states);
    }

    /// The row after a sequence of at most 1024 tokens that is decoded `width` tokens at a time, with so
    /// many tokens of another sequence before it in the cache. After its first `width` tokens they go,
    /// and others of its own take their cells: the order of cells is one more source of noise.
    [[nodiscard]] std::vector<float> row(const token_list& sequence, std::size_t width = 1024,
                                         std::size_t strangers = 0) {
        llama_memory_clear(llama_get_memory(context_.get()), true);
        if (strangers > 0) decode(token_list(strangers, stranger_), 0, 1);
        for (std::size_t begin = 0; begin < sequence.size(); begin += width) {
            decode(token_view{sequence}.subspan(begin, (std::min)(width, sequence.size() - begin)),
                   begin, 0);
            if (strangers > 0) llama_memory_seq_rm(llama_get_memory(context_.get()), 1, -1, -1);
        }
        const float* values = states_ ? llama_get_embeddings_ith(context_.get(), -1)
                                      : llama_get_logits_ith(context_.get(), -1);
        return {values, values + size_};
    }

    /// The largest difference(a, b) between rows of one sequence that is decoded in other ways.
    template <class Difference>
    [[nodiscard]] double noise(const std::vector<token_list>& sequences, Difference difference) {
        double largest = 0;
        for (const token_list& sequence : sequences) {
            const std::vector<float> whole = row(sequence);
            const std::size_t n = sequence.size();
            for (const auto& [width, strangers] : std::vector<std::pair<std::size_t, std::size_t>>{
                     {n / 20 + 1, 0}, {n / 4 + 1, 0}, {n, 300}, {n / 2 + 1, 7}, {n / 4 + 1, 200}})
                largest = (std::max)(largest, difference(row(sequence, width, strangers), whole));
        }
        return largest;
    }

private:
    struct freer {
        void operator()(llama_context* context) const { llama_free(context); }
    };

    void decode(token_view tokens, std::size_t position, llama_seq_id id) {
        llama_batch batch = llama_batch_init(static_cast<std::int32_t>(tokens.size()), 0, 1);
        for (std::size_t i = 0; i < tokens.size(); ++i) {
            batch.token[i] = tokens[i];
            batch.pos[i] = static_cast<llama_pos>(position + i);
            batch.n_seq_id[i] = 1;
            batch.seq_id[i][0] = id;
            batch.logits[i] = states_ || i + 1 == tokens.size();
        }
        batch.n_tokens = static_cast<std::int32_t>(tokens.size());
        const std::int32_t code = llama_decode(context_.get(), batch);
        llama_batch_free(batch);
        if (code != 0) throw std::runtime_error{"llama_decode failed"};
    }

    std::size_t size_;
    token_id stranger_;
    bool states_;
    std::unique_ptr<llama_context, freer> context_;
};

/// One thread: threads that wait for each other crawl on a busy machine.
inline llama_cpp::language_model_options small(llama_cpp::language_model_options options = {}) {
    options.threads = 1;
    return options;
}

inline token_list operator+(const token_list& a, const token_list& b) {
    token_list sum = a;
    sum.insert(sum.end(), b.begin(), b.end());
    return sum;
}

}  // namespace tq::test
