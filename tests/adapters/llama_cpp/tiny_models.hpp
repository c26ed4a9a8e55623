#pragma once
// Small random models of many architectures, made in memory when asked for.

#include <ggml-backend.h>
#include <gguf.h>
#include <llama.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <tq/adapters/llama_cpp/llama_cpp.hpp>
#include <tq/core/random.hpp>

namespace tq::test {

/// Window of those that have one: sequences of the tests are a few times as long.
inline constexpr std::uint32_t tiny_window = 32;
inline constexpr std::uint32_t tiny_vocabulary = 128;

/// What a model remembers of a sequence.
enum class memory_kind { attention, window, recurrent, hybrid };

struct tiny_architecture {
    std::string name;  // as GGUF files call it
    memory_kind memory = memory_kind::attention;
    bool experts = false;
    bool causal = true;

    [[nodiscard]] std::string label() const {
        return name + (memory == memory_kind::window ? ", window" : "") +
               (experts ? ", experts" : "");
    }
};

inline const std::vector<tiny_architecture>& tiny_architectures() {
    using enum memory_kind;
    static const std::vector<tiny_architecture> list{
        {"llama"},
        {"llama", attention, true},
        {"mistral3"},
        {"granite"},
        {"glm4"},
        {"qwen2"},
        {"qwen3"},
        {"qwen3moe", attention, true},
        {"phi3"},
        {"olmo2"},
        {"gptneox"},
        {"gpt2"},
        {"smollm3"},
        {"gemma2", window},
        {"gemma3", window},
        {"gpt-oss", window, true},
        {"cohere2", window},
        {"olmo2", window},
        {"mamba", recurrent},
        {"mamba2", recurrent},
        {"lfm2", hybrid},
        {"granitehybrid", hybrid},
        {"falcon-h1", hybrid},
        {"nemotron_h", hybrid},
        {"jamba", hybrid},
        {"qwen3next", hybrid, true},
        {"qwen35", hybrid},
    };
    return list;
}

/// Architectures without rows of next tokens.
inline const std::vector<tiny_architecture>& tiny_encoders() {
    using enum memory_kind;
    static const std::vector<tiny_architecture> list{
        {"bert", attention, false, false},       {"modern-bert", attention, false, false},
        {"nomic-bert", attention, false, false}, {"gemma-embedding", window, false, false},
        {"t5", attention, false, false},         {"t5encoder", attention, false, false},
        {"llada", attention, false, false},      {"llama", attention, false, false},
    };
    return list;
}

namespace detail {

/// The metadata of a GGUF file under construction.
class metadata {
public:
    explicit metadata(std::string architecture)
        : architecture_{std::move(architecture)},
          file_{gguf_init_empty()} {
        gguf_set_val_str(file_.get(), "general.architecture", architecture_.c_str());
    }

    void set(const std::string& key, std::uint32_t value) {
        gguf_set_val_u32(file_.get(), full(key).c_str(), value);
    }
    void set(const std::string& key, float value) {
        gguf_set_val_f32(file_.get(), full(key).c_str(), value);
    }
    void set(const std::string& key, bool value) {
        gguf_set_val_bool(file_.get(), full(key).c_str(), value);
    }
    void set(const std::string& key, const std::vector<std::uint32_t>& values) {
        gguf_set_arr_data(file_.get(), full(key).c_str(), GGUF_TYPE_UINT32, values.data(),
                          values.size());
    }

    /// A vocabulary of so many tokens without any text worth reading.
    void set_vocabulary(std::uint32_t size) {
        gguf_set_val_str(file_.get(), "tokenizer.ggml.model", "test");
        gguf_set_val_u32(file_.get(), "tokenizer.ggml.token_type_count", 2);
        std::vector<std::string> tokens;
        std::vector<const char*> names;
        for (std::uint32_t i = 0; i < size; ++i) tokens.push_back("tok_" + std::to_string(i));
        for (const std::string& token : tokens) names.push_back(token.c_str());
        const std::vector<float> scores(size);
        gguf_set_arr_str(file_.get(), "tokenizer.ggml.tokens", names.data(), names.size());
        gguf_set_arr_data(file_.get(), "tokenizer.ggml.scores", GGUF_TYPE_FLOAT32, scores.data(),
                          scores.size());
    }

    [[nodiscard]] gguf_context* get() const { return file_.get(); }

private:
    struct freer {
        void operator()(gguf_context* file) const { gguf_free(file); }
    };
    [[nodiscard]] std::string full(const std::string& key) const {
        return architecture_ + "." + key;
    }

    std::string architecture_;
    std::unique_ptr<gguf_context, freer> file_;
};

/// Random weights, keyed by the tensor's name: sharp enough that each token counts.
inline void set_random_weights(ggml_tensor* tensor, void*) {
    const std::string_view name{tensor->name};
    const auto named = [&](std::string_view part) { return name.find(part) != name.npos; };
    std::uint64_t number = 0xCBF29CE484222325;
    for (const char c : name) number = (number ^ static_cast<unsigned char>(c)) * 0x100000001B3;
    const random_key key{number};
    const bool scale = named("norm") && named("weight");
    const auto fan_in = static_cast<float>(std::max<std::int64_t>(tensor->ne[0], 1));
    const float spread = named("token_embd") ? 1
                         : tensor->ne[1] > 1 ? 1.5F / std::sqrt(fan_in)
                                             : 0.1F;
    std::vector<float> values(static_cast<std::size_t>(ggml_nelements(tensor)));
    for (std::size_t i = 0; i < values.size(); ++i) {
        const double u = key.uniform(2 * i), v = key.uniform(2 * i + 1);
        const auto normal =
            static_cast<float>(std::sqrt(-2 * std::log(1 - u)) * std::cos(6.283185307179586 * v));
        values[i] = (scale ? 1 : 0) + spread * normal;
        if (named("ssm_a")) values[i] = -0.05F - std::abs(normal) / 2;  // states fade
    }
    if (tensor->type == GGML_TYPE_F32) {
        ggml_backend_tensor_set(tensor, values.data(), 0, ggml_nbytes(tensor));
    } else if (tensor->type == GGML_TYPE_F16) {
        std::vector<ggml_fp16_t> halves(values.size());
        ggml_fp32_to_fp16_row(values.data(), halves.data(),
                              static_cast<std::int64_t>(values.size()));
        ggml_backend_tensor_set(tensor, halves.data(), 0, ggml_nbytes(tensor));
    } else {
        throw std::runtime_error{"tiny_model: no weights of this type"};
    }
}

inline metadata describe(const tiny_architecture& kind) {
    metadata file{kind.name};
    const bool delta = kind.name.starts_with("qwen3n") || kind.name.starts_with("qwen35");
    const std::uint32_t layers = kind.name == "nemotron_h" ? 3 : 4, width = 64, heads = 2;
    file.set("vocab_size", tiny_vocabulary);
    file.set("context_length", 4096U);
    file.set("embedding_length", width);
    file.set("block_count", layers);
    file.set("feed_forward_length", 96U);
    if (kind.name == "nemotron_h")  // a layer is a state, an attention or a feed-forward network
        file.set("feed_forward_length", std::vector<std::uint32_t>{0, 0, 96});
    file.set("use_parallel_residual", false);
    file.set("logit_scale", 1.0F);
    file.set("full_attention_interval", 2U);
    file.set("attention.head_count", heads);
    file.set("attention.head_count_kv", heads);
    if (kind.memory == memory_kind::hybrid && !delta && kind.name != "falcon-h1") {
        std::vector<std::uint32_t> attention(layers, 0);
        attention[1] = heads;
        file.set("attention.head_count_kv", attention);
    }
    if (!kind.causal) file.set("attention.causal", false);
    file.set("attention.relative_buckets_count", 8U);
    file.set("attention.layer_norm_epsilon", 1e-5F);
    file.set("attention.layer_norm_rms_epsilon", 1e-5F);
    file.set("rope.dimension_sections", std::vector<std::uint32_t>(4, 8));
    if (kind.memory == memory_kind::window) {
        file.set("attention.sliding_window", tiny_window);
        file.set("attention.sliding_window_pattern", 2U);
    }
    if (kind.experts) {  // all are used: a router's near ties would magnify float noise
        for (const char* key : {"expert_count", "expert_used_count"}) file.set(key, 2U);
        for (const char* key : {"expert_feed_forward_length", "expert_shared_feed_forward_length"})
            file.set(key, 64U);
    }
    file.set("ssm.inner_size", delta ? 64U : 2 * width);
    file.set("ssm.conv_kernel", 4U);
    file.set("ssm.state_size", delta ? 32U : 16U);
    file.set("ssm.time_step_rank", heads);
    file.set("ssm.group_count", 2U);
    file.set("shortconv.l_cache", 3U);
    file.set_vocabulary(tiny_vocabulary);
    return file;
}

struct model_freer {
    void operator()(llama_model* model) const { llama_model_free(model); }
};

}  // namespace detail

/// The random model of an architecture, made once. Throws std::runtime_error if llama.cpp takes none.
inline llama_cpp::model_file tiny_model(const tiny_architecture& kind) {
    static std::map<std::string, std::unique_ptr<llama_model, detail::model_freer>> made;
    auto& model = made[kind.label() + (kind.causal ? "" : ", not causal")];
    if (!model) {
        llama_cpp::detail::start_backend();
        llama_cpp::detail::first_error().clear();
        const detail::metadata file = detail::describe(kind);
        llama_model_params params = llama_model_default_params();
        params.n_gpu_layers = 0;
        model.reset(
            llama_model_init_from_user(file.get(), detail::set_random_weights, nullptr, params));
        if (!model) throw std::runtime_error{"no " + kind.name + llama_cpp::detail::reason()};
    }
    return llama_cpp::model_file::borrowed(model.get());
}

}  // namespace tq::test
