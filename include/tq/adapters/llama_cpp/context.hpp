#pragma once
// context: owns a llama_context with its LoRA adapter, and carries out cache steps and batches.

#include <llama.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "../../core/error.hpp"
#include "../../core/token.hpp"
#include "log.hpp"
#include "model_file.hpp"
#include "options.hpp"
#include "prefix_cache.hpp"

namespace tq::llama_cpp::detail {

/// One token to decode. It belongs to owners[begin, end) of the batch, at one position in each.
struct batch_token {
    token_id token = 0;
    std::size_t position = 0;
    std::size_t begin = 0, end = 0;
    bool output = false;
};

class context {
public:
    /// Throws invalid_option for options out of range and files that do not load.
    context(model_file source, const language_model_options& options)
        : model_{std::move(source)},
          batch_size_{(std::min)(options.batch, options.context)},
          slots_{options.max_sequences},
          ids_each_{llama_model_n_swa(model_.handle()) > 0 && !whole_states() ? 2U : 1U} {
        validate(options);
        const std::size_t most = llama_max_parallel_sequences() / ids_each_;
        check_option(slots_ <= most, "language_model_options", "max_sequences", slots_,
                     "in [1, " + std::to_string(most) + "] for " + model_.path());
        load_adapter(options);
        open(options);
        check_option(memory() != nullptr && is_causal(), "model_file", "path", model_.path(),
                     "a causal language model: \"" + metadata("general.architecture") +
                         "\" reads a text as a whole, so it has no row for the next token");
    }

    [[nodiscard]] const model_file& source() const noexcept { return model_; }
    [[nodiscard]] llama_context* handle() const noexcept { return handle_.get(); }
    [[nodiscard]] std::size_t capacity() const noexcept { return llama_n_ctx(handle_.get()); }
    /// True if a sequence leaves a state that can be copied but not cut (state_cache).
    [[nodiscard]] bool whole_states() const noexcept {
        return llama_model_is_recurrent(model_.handle()) || llama_model_is_hybrid(model_.handle());
    }
    /// True if tokens take cells of the KV cache.
    [[nodiscard]] bool has_cells() const noexcept {
        return !llama_model_is_recurrent(model_.handle());
    }
    [[nodiscard]] std::size_t batch_size() const noexcept { return batch_size_; }

    void clear() { llama_memory_clear(memory(), false); }

    void carry_out(const cache_step& step) {
        const auto keep = static_cast<llama_pos>(step.keep);
        for (std::size_t n = 0; n < ids_each_; ++n)
            if (step.copy)
                llama_memory_seq_cp(memory(), id(step.source, n), id(step.slot, n), 0, keep);
            else if (!llama_memory_seq_rm(memory(), id(step.slot, n), keep, -1))
                throw backend_error{
                    "llama_memory_seq_rm: this model's cache cannot be cut to a prefix"};
    }

    /// True if the cache really has positions 0 to size - 1 of a slot, and no more. llama.cpp may
    /// give a sequence's cells to others. (Of a whole state only the last position is known.)
    [[nodiscard]] bool holds(std::size_t slot, std::size_t size) const {
        const llama_seq_id s = id(slot, 0);
        if (llama_memory_seq_pos_max(memory(), s) != static_cast<llama_pos>(size) - 1) return false;
        return whole_states() || llama_memory_seq_pos_min(memory(), s) == (size > 0 ? 0 : -1);
    }

    /// Decodes at most batch_size() tokens; owners are slots. Returns false, and has done nothing,
    /// if the KV cache is full. With `states`, rows are hidden states and every token must be an
    /// output.
    [[nodiscard]] bool decode(std::span<const batch_token> tokens,
                              std::span<const std::size_t> owners, bool states) {
        fill(tokens, owners);
        llama_set_embeddings(handle_.get(), states);
        first_error().clear();
        const std::int32_t code = llama_decode(handle_.get(), batch_.view());
        if (code == 1) return false;
        if (code != 0)
            throw backend_error{"llama_decode: failed with code " + std::to_string(code) + reason(),
                                code};
        return true;
    }

    /// Row of the i-th token of the last batch, which was an output; valid until the next batch.
    [[nodiscard]] logits_view row(std::size_t i, bool states) {
        const auto index = static_cast<std::int32_t>(i);
        const float* row = states ? llama_get_embeddings_ith(handle_.get(), index)
                                  : llama_get_logits_ith(handle_.get(), index);
        if (row == nullptr) throw backend_error{"llama_decode: no output row" + reason()};
        return {row, states ? model_.hidden_size() : model_.vocab_size()};
    }

private:
    /// The arrays that a llama_batch points into.
    struct batch_arrays {
        std::vector<llama_token> token;
        std::vector<llama_pos> position;
        std::vector<std::int32_t> slot_count;
        std::vector<llama_seq_id*> owners;
        std::vector<std::int8_t> output;

        void resize(std::size_t size) {
            token.resize(size);
            position.resize(size);
            slot_count.resize(size);
            owners.resize(size + 1);
            owners[size] = nullptr;
            output.resize(size);
        }
        [[nodiscard]] llama_batch view() {
            llama_batch batch{};
            batch.n_tokens = static_cast<std::int32_t>(token.size());
            batch.token = token.data();
            batch.pos = position.data();
            batch.n_seq_id = slot_count.data();
            batch.seq_id = owners.data();
            batch.logits = output.data();
            return batch;
        }
    };

    struct free_adapter {
        void operator()(llama_adapter_lora* adapter) const { llama_adapter_lora_free(adapter); }
    };
    struct free_context {
        void operator()(llama_context* handle) const { llama_free(handle); }
    };

    /// The n-th sequence id of a slot.
    [[nodiscard]] llama_seq_id id(std::size_t slot, std::size_t n) const {
        return static_cast<llama_seq_id>(slot + n * slots_);
    }
    [[nodiscard]] llama_memory_t memory() const { return llama_get_memory(handle_.get()); }

    /// A text in the model's file, "" if it is not there.
    [[nodiscard]] std::string metadata(const std::string& key) const {
        char text[64] = {};
        llama_model_meta_val_str(model_.handle(), key.c_str(), text, sizeof text);
        return text;
    }

    [[nodiscard]] bool is_causal() const {
        return !llama_model_has_encoder(model_.handle()) &&
               metadata(metadata("general.architecture") + ".attention.causal") != "false";
    }

    void load_adapter(const language_model_options& options) {
        if (options.lora.empty()) return;
        check_option(std::ifstream{options.lora}.good(), "language_model_options", "lora",
                     options.lora, "a file that can be read");
        first_error().clear();
        adapter_.reset(llama_adapter_lora_init(model_.handle(), options.lora.c_str()));
        check_option(adapter_ != nullptr, "language_model_options", "lora", options.lora,
                     "a LoRA adapter for " + model_.path() + reason());
    }

    void open(const language_model_options& options) {
        llama_context_params params = llama_context_default_params();
        params.n_ctx = static_cast<std::uint32_t>(options.context);
        params.n_batch = static_cast<std::uint32_t>(batch_size_);
        params.n_ubatch = params.n_batch;
        params.n_seq_max = static_cast<std::uint32_t>(slots_ * ids_each_);
        params.n_outputs_max = params.n_seq_max;  // else room for a row of logits of every token
        params.n_threads = params.n_threads_batch = thread_count(options);
        params.pooling_type = LLAMA_POOLING_TYPE_NONE;
        params.kv_unified = true;  // else a prefix cannot be shared
        params.swa_full = true;    // else what lies behind a sliding window is gone at once
        first_error().clear();
        handle_.reset(llama_init_from_model(model_.handle(), params));
        if (handle_ == nullptr)
            throw backend_error{"llama_init_from_model: no context of " +
                                std::to_string(options.context) + " tokens for " + model_.path() +
                                reason()};
        if (adapter_ == nullptr) return;
        llama_adapter_lora* adapters[] = {adapter_.get()};
        float scales[] = {options.lora_scale};
        if (const int code = llama_set_adapters_lora(handle_.get(), adapters, 1, scales); code != 0)
            throw backend_error{"llama_set_adapters_lora: failed" + reason(), code};
    }

    void fill(std::span<const batch_token> tokens, std::span<const std::size_t> owners) {
        ids_.clear();
        for (const std::size_t slot : owners)
            for (std::size_t n = 0; n < ids_each_; ++n) ids_.push_back(id(slot, n));
        batch_.resize(tokens.size());
        for (std::size_t i = 0; i < tokens.size(); ++i) {
            const batch_token& token = tokens[i];
            batch_.token[i] = token.token;
            batch_.position[i] = static_cast<llama_pos>(token.position);
            batch_.slot_count[i] = static_cast<std::int32_t>((token.end - token.begin) * ids_each_);
            batch_.owners[i] = ids_.data() + token.begin * ids_each_;
            batch_.output[i] = token.output ? 1 : 0;
        }
    }

    // In this order: the context refers to the adapter, and both to the model.
    model_file model_;
    std::unique_ptr<llama_adapter_lora, free_adapter> adapter_;
    std::unique_ptr<llama_context, free_context> handle_;
    std::size_t batch_size_;
    std::size_t slots_;
    // Of a cell behind a sliding window llama.cpp takes back what one sequence owns, although a
    // branch may begin there. What two own it leaves alone, so each slot counts as two sequences.
    std::size_t ids_each_;
    std::vector<llama_seq_id> ids_;  // of the owners of the present batch
    batch_arrays batch_;
};

}  // namespace tq::llama_cpp::detail
