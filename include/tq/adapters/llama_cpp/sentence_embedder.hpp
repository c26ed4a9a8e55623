#pragma once
// sentence_embedder: vectors of texts from a GGUF embedding model.

#include <llama.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "../../core/error.hpp"
#include "../../core/token.hpp"
#include "../../kernels/projection.hpp"
#include "log.hpp"
#include "model_file.hpp"
#include "options.hpp"

namespace tq::llama_cpp {

/// Options of sentence_embedder.
struct sentence_embedder_options {
    /// Tokens of a text, at most; [2, 2^20). What is longer is cut. 256 as sentence-transformers
    /// does for all-MiniLM-L6-v2.
    std::size_t longest = 256;
    std::size_t texts = 16;   ///< that go through the model together; [1, 256]
    std::size_t threads = 0;  ///< [0, 512]; 0 = all cores
};

/// Embeds texts with an encoder whose GGUF file says how it pools (mean, say); models
/// tq::sentence_embedder. Vectors have length 1. Not thread-safe.
class sentence_embedder {
public:
    /// Throws invalid_option for options out of range and for a model that does not pool.
    explicit sentence_embedder(model_file source, sentence_embedder_options options = {})
        : model_{std::move(source)},
          options_{options} {
        constexpr auto where = "sentence_embedder_options";
        check_option(options.longest >= 2 && options.longest < (1U << 20U), where, "longest",
                     options.longest, "in [2, 2^20)");
        check_option(options.texts >= 1 && options.texts <= 256, where, "texts", options.texts,
                     "in [1, 256]");
        check_option(options.threads <= 512, where, "threads", options.threads, "in [0, 512]");
        open();
    }

    /// Numbers in a vector.
    [[nodiscard]] std::size_t size() const noexcept { return model_.hidden_size(); }

    /// One vector per text (UTF-8). Throws backend_error if llama.cpp fails.
    [[nodiscard]] std::vector<std::vector<float>> embed(std::span<const std::string> texts) {
        std::vector<std::vector<float>> result;
        for (std::size_t begin = 0; begin < texts.size(); begin += options_.texts)
            embed_together(texts.subspan(begin, (std::min)(options_.texts, texts.size() - begin)),
                           result);
        return result;
    }

private:
    struct free_context {
        void operator()(llama_context* handle) const { llama_free(handle); }
    };

    void open() {
        const std::size_t tokens = options_.longest * options_.texts;
        llama_context_params params = llama_context_default_params();
        params.n_ctx = params.n_batch = params.n_ubatch = static_cast<std::uint32_t>(tokens);
        params.n_seq_max = static_cast<std::uint32_t>(options_.texts);
        params.n_threads = params.n_threads_batch =
            detail::thread_count({.threads = options_.threads});
        params.embeddings = true;
        detail::first_error().clear();
        handle_.reset(llama_init_from_model(model_.handle(), params));
        if (handle_ == nullptr)
            throw backend_error{"llama_init_from_model: no context for " + model_.path() +
                                detail::reason()};
        const auto pooling = llama_pooling_type(handle_.get());
        check_option(pooling != LLAMA_POOLING_TYPE_NONE && pooling != LLAMA_POOLING_TYPE_RANK,
                     "sentence_embedder", "model", model_.path(),
                     "an embedding model: its file must say how to pool");
    }

    /// The tokens of a text with the model's special ones; the end token stays if it is cut.
    [[nodiscard]] token_list tokens_of(const std::string& text) const {
        token_list tokens = model_.tokenize(text, {.add_special = true});
        if (tokens.size() > options_.longest) {
            tokens[options_.longest - 1] = tokens.back();
            tokens.resize(options_.longest);
        }
        if (tokens.empty()) throw backend_error{"sentence_embedder: a text without tokens"};
        return tokens;
    }

    void embed_together(std::span<const std::string> texts,
                        std::vector<std::vector<float>>& result) {
        std::vector<llama_token> tokens;
        std::vector<llama_pos> positions;
        std::vector<llama_seq_id> numbers;
        for (std::size_t i = 0; i < texts.size(); ++i) {
            const token_list own = tokens_of(texts[i]);
            for (std::size_t n = 0; n < own.size(); ++n) {
                tokens.push_back(own[n]);
                positions.push_back(static_cast<llama_pos>(n));
                numbers.push_back(static_cast<llama_seq_id>(i));
            }
        }
        std::vector<std::int32_t> counts(tokens.size(), 1);
        std::vector<llama_seq_id*> owners;
        for (llama_seq_id& number : numbers) owners.push_back(&number);
        std::vector<std::int8_t> outputs(tokens.size(), 1);
        llama_batch batch{};
        batch.n_tokens = static_cast<std::int32_t>(tokens.size());
        batch.token = tokens.data();
        batch.pos = positions.data();
        batch.n_seq_id = counts.data();
        batch.seq_id = owners.data();
        batch.logits = outputs.data();
        detail::first_error().clear();
        if (const int code = llama_encode(handle_.get(), batch); code != 0)
            throw backend_error{
                "llama_encode: failed with code " + std::to_string(code) + detail::reason(), code};
        for (std::size_t i = 0; i < texts.size(); ++i) {
            const float* vector =
                llama_get_embeddings_seq(handle_.get(), static_cast<llama_seq_id>(i));
            if (vector == nullptr) throw backend_error{"llama_encode: no vector of a text"};
            result.emplace_back(vector, vector + size());
            scale_to_unit(result.back());
        }
    }

    model_file model_;
    sentence_embedder_options options_;
    std::unique_ptr<llama_context, free_context> handle_;
};

}  // namespace tq::llama_cpp
