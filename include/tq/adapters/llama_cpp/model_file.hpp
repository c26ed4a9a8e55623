#pragma once
// model_file: the weights and the vocabulary of a GGUF file.

#include <llama.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "../../core/error.hpp"
#include "../../core/token.hpp"
#include "chat.hpp"
#include "log.hpp"

namespace tq::llama_cpp {

/// Options of model_file.
struct model_file_options {
    int gpu_layers = 0;    ///< [0, inf); layers kept on the GPU; 0 = none
    bool use_mmap = true;  ///< map the file instead of reading it; false = read it into memory
};

/// Options of model_file::tokenize.
struct tokenize_options {
    bool add_special = false;    ///< add the begin (end) token where the model wants one
    bool parse_special = false;  ///< read "<|im_start|>" and the like as one token
};

/// A loaded GGUF model. Copies share the weights: give one to a policy, a baseline and a reward and
/// it is loaded once. Const members may be called from several threads.
class model_file {
public:
    /// Throws invalid_option if `path` is not a GGUF file that llama.cpp can load.
    explicit model_file(const std::string& path, model_file_options options = {})
        : state_{load(path, options)} {}

    /// A model that other code has loaded. It is not freed; it must outlive this and its copies.
    /// Throws invalid_option if `weights` is null.
    [[nodiscard]] static model_file borrowed(llama_model* weights) {
        check_option(weights != nullptr, "model_file", "weights", "null", "a loaded model");
        auto loaded = std::make_shared<state>();
        loaded->path = "(a model that was loaded elsewhere)";
        loaded->weights = weights;
        loaded->owned = false;
        read_vocabulary(*loaded);
        return model_file{std::move(loaded)};
    }

    /// The tokens of `text` (UTF-8).
    [[nodiscard]] token_list tokenize(std::string_view text, tokenize_options options = {}) const {
        constexpr auto longest =
            static_cast<std::size_t>((std::numeric_limits<std::int32_t>::max)());
        check_option(text.size() < longest, "model_file::tokenize", "text size", text.size(),
                     "below 2^31 - 1 bytes");
        const auto size = static_cast<std::int32_t>(text.size());
        token_list tokens(text.size() + 2);  // no token is empty; 2 for the special ones
        for (int attempt = 0; attempt < 2; ++attempt) {
            const std::int32_t count =
                llama_tokenize(state_->vocab, text.data(), size, tokens.data(),
                               static_cast<std::int32_t>(tokens.size()), options.add_special,
                               options.parse_special);
            tokens.resize(static_cast<std::size_t>(count < 0 ? -std::int64_t{count} : count));
            if (count >= 0) return tokens;
        }
        throw backend_error{"model_file::tokenize: llama.cpp did not tokenize the text"};
    }

    /// The text of `tokens`; control tokens are left out unless `special`.
    /// Throws invalid_option if a token is outside [0, vocab_size()).
    [[nodiscard]] std::string detokenize(token_view tokens, bool special = false) const {
        for (const token_id token : tokens) check_token(token);
        const auto count = static_cast<std::int32_t>(tokens.size());
        return grown(8 * tokens.size() + 16, [&](char* text, std::int32_t size) {
            return llama_detokenize(state_->vocab, tokens.data(), count, text, size, false,
                                    special);
        });
    }

    /// The bytes of one token: not always whole characters (utf8_stream puts them together).
    /// Control tokens are empty unless `special`.
    [[nodiscard]] std::string piece(token_id token, bool special = false) const {
        check_token(token);
        return grown(32, [&](char* text, std::int32_t size) {
            return llama_token_to_piece(state_->vocab, token, text, size, 0, special);
        });
    }

    /// The tokens of a text that the model is to continue: the begin token where the model wants
    /// one, once; never the end token. Special tokens written out in the text count as special.
    [[nodiscard]] token_list tokenize_prompt(std::string_view text) const {
        token_list tokens = tokenize(text, {.add_special = true, .parse_special = true});
        if (!tokens.empty() && llama_vocab_get_add_eos(state_->vocab) &&
            tokens.back() == llama_vocab_eos(state_->vocab))
            tokens.pop_back();
        const token_id begin = llama_vocab_bos(state_->vocab);
        if (tokens.size() > 1 && tokens[0] == begin && tokens[1] == begin)
            tokens.erase(tokens.begin());  // a chat template had written it already
        return tokens;
    }

    /// The tokens of a conversation, up to where the model's answer begins, by the model's own chat
    /// template. No system turn if there is none: defaults that a template would put there by
    /// itself are left out. Throws invalid_option if the model has no template, or one that
    /// llama.cpp does not know, or if a text has a NUL.
    [[nodiscard]] token_list chat_prompt(std::span<const chat_turn> turns) const {
        return tokenize_prompt(chat_text(turns));
    }
    /// The same of one turn of the user's, after a system turn unless that is empty.
    [[nodiscard]] token_list chat_prompt(std::string_view user,
                                         std::string_view system = "") const {
        return tokenize_prompt(chat_text(user, system));
    }

    /// The text that chat_prompt tokenizes.
    [[nodiscard]] std::string chat_text(std::span<const chat_turn> turns) const {
        return detail::chat_text(state_->weights, state_->path, turns);
    }
    /// The same.
    [[nodiscard]] std::string chat_text(std::string_view user, std::string_view system = "") const {
        const chat_turn turns[] = {{"system", std::string{system}}, {"user", std::string{user}}};
        return chat_text(std::span{turns}.subspan(system.empty() ? 1 : 0));
    }
    /// True if the file brings a chat template along.
    [[nodiscard]] bool has_chat_template() const noexcept {
        return llama_model_chat_template(state_->weights, nullptr) != nullptr;
    }

    [[nodiscard]] std::size_t vocab_size() const noexcept { return state_->vocab_size; }

    /// Every token that ends an answer.
    [[nodiscard]] token_view end_tokens() const noexcept { return state_->end_tokens; }

    /// Numbers in one hidden state.
    [[nodiscard]] std::size_t hidden_size() const noexcept {
        return static_cast<std::size_t>(llama_model_n_embd(state_->weights));
    }

    /// The longest sequence, in tokens, that the model was trained on.
    [[nodiscard]] std::size_t trained_context() const noexcept {
        return static_cast<std::size_t>(llama_model_n_ctx_train(state_->weights));
    }

    /// Architecture, size and weight format, as llama.cpp words it.
    [[nodiscard]] std::string description() const {
        char text[256] = {};
        llama_model_desc(state_->weights, text, sizeof text);
        return text;
    }

    /// The file, or what the owner calls it.
    [[nodiscard]] const std::string& path() const noexcept { return state_->path; }

    /// llama.cpp's own handle; valid as long as a copy of this model lives.
    [[nodiscard]] llama_model* handle() const noexcept { return state_->weights; }

private:
    struct state {
        state() = default;
        state(const state&) = delete;
        state& operator=(const state&) = delete;
        ~state() {
            if (owned && weights != nullptr) llama_model_free(weights);
        }

        std::string path;
        llama_model* weights = nullptr;
        bool owned = true;
        const llama_vocab* vocab = nullptr;
        std::size_t vocab_size = 0;
        token_list end_tokens;
    };

    explicit model_file(std::shared_ptr<const state> loaded) : state_{std::move(loaded)} {}

    static std::shared_ptr<const state> load(const std::string& path, model_file_options options) {
        check_option(options.gpu_layers >= 0, "model_file", "gpu_layers", options.gpu_layers,
                     "in [0, inf)");
        check_option(std::ifstream{path}.good(), "model_file", "path", path,
                     "a file that can be read");
        detail::start_backend();
        detail::first_error().clear();
        llama_model_params params = llama_model_default_params();
        params.n_gpu_layers = options.gpu_layers;
        params.load_mode = options.use_mmap ? LLAMA_LOAD_MODE_MMAP : LLAMA_LOAD_MODE_NONE;
        auto loaded = std::make_shared<state>();
        loaded->path = path;
        loaded->weights = llama_model_load_from_file(path.c_str(), params);
        check_option(loaded->weights != nullptr, "model_file", "path", path,
                     "a GGUF file that llama.cpp can load" + detail::reason());
        read_vocabulary(*loaded);
        return loaded;
    }

    static void read_vocabulary(state& loaded) {
        loaded.vocab = llama_model_get_vocab(loaded.weights);
        const std::int32_t size = llama_vocab_n_tokens(loaded.vocab);
        check_option(size > 0, "model_file", "path", loaded.path, "a model with a vocabulary");
        loaded.vocab_size = static_cast<std::size_t>(size);
        for (token_id token = 0; token < size; ++token)
            if (llama_vocab_is_eog(loaded.vocab, token)) loaded.end_tokens.push_back(token);
    }

    void check_token(token_id token) const {
        check_option(is_token(token, vocab_size()), "model_file", "token", token,
                     "in [0, " + std::to_string(vocab_size()) + ")");
    }

    /// Calls write(buffer, size), which answers with the size written, or minus the size it needs.
    template <class Write>
    static std::string grown(std::size_t guess, Write write) {
        std::string text(guess, '\0');
        for (int attempt = 0; attempt < 2; ++attempt) {
            const std::int32_t size = write(text.data(), static_cast<std::int32_t>(text.size()));
            text.resize(static_cast<std::size_t>(size < 0 ? -std::int64_t{size} : size));
            if (size >= 0) return text;
        }
        throw backend_error{"model_file: llama.cpp did not write the text of the tokens"};
    }

    std::shared_ptr<const state> state_;
};

/// True if the same token id means the same text in both: such models can share sequences.
[[nodiscard]] inline bool same_vocabulary(const model_file& a, const model_file& b) {
    const llama_vocab* first = llama_model_get_vocab(a.handle());
    const llama_vocab* second = llama_model_get_vocab(b.handle());
    if (first == second) return true;
    if (a.vocab_size() != b.vocab_size()) return false;
    const auto size = static_cast<token_id>(a.vocab_size());
    for (token_id token = 0; token < size; ++token)
        if (std::strcmp(llama_vocab_get_text(first, token), llama_vocab_get_text(second, token)) !=
            0)
            return false;
    return true;
}

}  // namespace tq::llama_cpp
