#pragma once
// The bytes of every token of a vocabulary, and text of any bytes as tokens.

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../../core/token.hpp"
#include "model_file.hpp"
#include "utf8.hpp"

namespace tq::llama_cpp::detail {

/// The pieces of a vocabulary, sorted. Control tokens and tokens that end an answer have none.
class piece_table {
public:
    explicit piece_table(model_file source) : model_{std::move(source)} {
        const auto size = static_cast<token_id>(model_.vocab_size());
        for (token_id token = 0; token < size; ++token) {
            const bool ends = is_end_token(token, model_.end_tokens());
            pieces_.push_back(ends ? std::string{} : model_.piece(token));
            if (!pieces_.back().empty()) sorted_.push_back(token);
            longest_ = (std::max)(longest_, pieces_.back().size());
        }
        std::ranges::stable_sort(sorted_, {}, [&](token_id token) { return piece(token); });
    }

    [[nodiscard]] std::string_view piece(token_id token) const {
        return pieces_[static_cast<std::size_t>(token)];
    }
    [[nodiscard]] std::string text(token_view tokens) const {
        std::string text;
        for (const token_id token : tokens) text += piece(token);
        return text;
    }
    [[nodiscard]] std::size_t longest() const noexcept { return longest_; }

    /// The tokens whose pieces begin with `bytes`, those that are just `bytes` first.
    [[nodiscard]] token_view beginning_with(std::string_view bytes) const {
        const auto head = [&](token_id token) { return piece(token).substr(0, bytes.size()); };
        return {std::ranges::lower_bound(sorted_, bytes, {}, head),
                std::ranges::upper_bound(sorted_, bytes, {}, head)};
    }

    /// True if some piece is longer than `bytes` and begins with it.
    [[nodiscard]] bool goes_on(std::string_view bytes) const {
        const token_view tokens = beginning_with(bytes);
        return !tokens.empty() && piece(tokens.back()).size() > bytes.size();
    }

    /// Tokens that spell `bytes`: the vocabulary's own tokens of what is UTF-8, the longest pieces
    /// that match of what is not (characters that are cut off, say), or where the vocabulary
    /// changes what it reads (adds a space, say). A byte that no piece begins with is left out.
    [[nodiscard]] token_list tokenize(std::string_view bytes) const {
        token_list tokens;
        while (!bytes.empty()) {
            const bool valid = is_character(bytes);
            std::size_t size = 0;
            while (size < bytes.size() && is_character(bytes.substr(size)) == valid)
                size += valid ? character_size(bytes.substr(size)) : 1;
            const std::string_view run = bytes.substr(0, size);
            token_list own = valid ? model_.tokenize(run) : token_list{};
            if (text(own) != run) own = match(run);
            tokens.insert(tokens.end(), own.begin(), own.end());
            bytes.remove_prefix(size);
        }
        return tokens;
    }

private:
    static bool is_character(std::string_view bytes) {
        const std::size_t size = character_size(bytes);
        return size != 0 && size != incomplete_character;
    }

    /// The longest piece that matches, again and again.
    [[nodiscard]] token_list match(std::string_view bytes) const {
        token_list tokens;
        while (!bytes.empty()) {
            std::size_t size = (std::min)(bytes.size(), longest_);
            for (; size > 0; --size) {
                const token_view found = beginning_with(bytes.substr(0, size));
                if (found.empty() || piece(found[0]).size() > size) continue;
                tokens.push_back(found[0]);
                break;
            }
            bytes.remove_prefix(std::max<std::size_t>(size, 1));
        }
        return tokens;
    }

    model_file model_;
    std::vector<std::string> pieces_;  // [vocab_size]
    token_list sorted_;                // tokens that have a piece, by piece
    std::size_t longest_ = 0;          // bytes of the longest piece
};

}  // namespace tq::llama_cpp::detail
