// Heads as hubs publish them, on a tiny trunk.
#include "support/catch.hpp"
#include "support/message.hpp"

#include <cstring>
#include <filesystem>

#include "shared_model.hpp"
#include "tiny_models.hpp"

using namespace tq::test;
using tq::llama_cpp::reward_head;
using tq::llama_cpp::reward_head_options;

namespace {

constexpr std::size_t hidden = 64;

struct tensor {
    std::string name, type, shape, data;
};

std::string file_of(const std::vector<tensor>& tensors) {
    std::string header, data;
    for (const tensor& t : tensors) {
        header += (header.empty() ? "{\"" : ",\"") + t.name + R"(":{"dtype":")" + t.type +
                  R"(","shape":[)" + t.shape + R"(],"data_offsets":[)" +
                  std::to_string(data.size()) + "," + std::to_string(data.size() + t.data.size()) +
                  "]}";
        data += t.data;
    }
    header += header.empty() ? "{}" : "}";
    std::string bytes;
    for (int i = 0; i < 8; ++i) bytes += static_cast<char>(header.size() >> (8 * i));
    return bytes + header + data;
}

/// Numbers that every type holds exactly.
std::vector<double> numbers(std::size_t count, std::size_t step) {
    std::vector<double> values(count);
    for (std::size_t i = 0; i < count; ++i) values[i] = (static_cast<double>(i * step % 9) - 4) / 8;
    return values;
}

template <class T>
std::string bytes_of(const std::vector<double>& values) {
    std::string bytes(values.size() * sizeof(T), '\0');
    for (std::size_t i = 0; i < values.size(); ++i) {
        const T value = static_cast<T>(values[i]);
        std::memcpy(bytes.data() + i * sizeof(T), &value, sizeof(T));
    }
    return bytes;
}

std::string data(const std::string& type, const std::vector<double>& values) {
    if (type == "F64") return bytes_of<double>(values);
    if (type == "F32") return bytes_of<float>(values);
    std::string bytes;
    for (const double value : values) {
        const std::string wide = bytes_of<float>({value});
        std::uint32_t bits = 0;
        std::memcpy(&bits, wide.data(), 4);
        const std::uint32_t half = value == 0 ? 0
                                              : (bits >> 16 & 0x8000U) |
                                                    (((bits >> 23 & 255U) - 112) << 10 & 0x7C00U) |
                                                    (bits >> 13 & 1023U);
        const std::uint32_t word = type == "BF16" ? bits >> 16 : half;
        bytes += static_cast<char>(word);
        bytes += static_cast<char>(word >> 8);
    }
    return bytes;
}

tensor weight(const std::string& name = "score.weight", const std::string& type = "F32",
              const std::string& shape = "1,64") {
    return {name, type, shape, data(type, numbers(hidden, 5))};
}
tensor bias(const std::string& name = "score.bias", const std::string& shape = "1") {
    return {name, "F32", shape, data("F32", {0.25})};
}

double score(const std::string& path, const reward_head_options& options = {}) {
    reward_head head{tiny_model(tiny_architectures()[0]),
                     path,
                     {.context = 256, .max_sequences = 2, .batch = 64, .threads = 1},
                     options};
    const tq::token_list prompt{1, 2, 3}, answer{4, 5};
    const tq::answer_view view{prompt, answer};
    double value = 0;
    head.score_raw({&view, 1}, {&value, 1});
    return value;
}

double score_of(const std::vector<tensor>& tensors, const reward_head_options& options = {}) {
    const scratch_file file{file_of(tensors)};
    return score(file.path(), options);
}

std::string fault(const std::string& bytes, const reward_head_options& options = {}) {
    const scratch_file file{bytes};
    return message_of<tq::invalid_option>([&] { score(file.path(), options); });
}

}  // namespace

TEST_CASE("heads: every shape and type of one head is the same head") {
    const double expected = score_of({weight()});
    REQUIRE(expected != 0);
    for (const char* shape : {"1,64", "64", "64,1"})
        for (const char* type : {"F64", "F32", "F16", "BF16"})
            CHECK(score_of({weight("score.weight", type, shape)}) == expected);
    CHECK(score_of({weight(), bias()}) == expected + 0.25);
    CHECK(score_of({weight(), bias("score.bias", "")}) == expected + 0.25);
}

TEST_CASE("heads: they go by many names, beside other tensors") {
    const double expected = score_of({weight(), bias()});
    for (const std::string name :
         {"classifier", "v_head", "v_head.summary", "reward_head", "value_head", "regression_layer",
          "rm_head", "base_model.model.score", "base_model.model.score.modules_to_save.default"})
        CHECK(score_of({{"model.embed_tokens.weight", "F8_E4M3", "2,4", std::string(8, ' ')},
                        weight(name + ".weight"),
                        bias(name + ".bias")}) == expected);
    CHECK(score_of({weight("my.weight"), weight("score.weight"), bias("my.bias")},
                   {.tensor = "my.weight"}) == expected);
}

TEST_CASE("heads: a tensor of any name will do, without a bias of its own") {
    CHECK(score_of({weight("w"), bias("score.bias")}, {.tensor = "w"}) == score_of({weight()}));
}

TEST_CASE("heads: of several labels one is chosen, or all are weighted") {
    std::vector<double> both = numbers(hidden, 5);
    const std::vector<double> second = numbers(hidden, 7);
    both.insert(both.end(), second.begin(), second.end());
    const std::vector<tensor> two{{"score.weight", "F32", "2,64", data("F32", both)},
                                  {"score.bias", "F32", "2", data("F32", {0.25, 0.5})}};
    const double one = score_of({weight(), bias()});
    const double other = score_of({{"score.weight", "F32", "64", data("F32", second)},
                                   {"score.bias", "F32", "1", data("F32", {0.5})}});
    CHECK(score_of(two, {.label_weights = {1, 0}}) == one);
    CHECK(score_of(two, {.label_weights = {0, 1}}) == other);
    CHECK(std::abs(score_of(two, {.label_weights = {0.5, -2}}) - (0.5 * one - 2 * other)) < 1e-5);
    CHECK(contains(fault(file_of(two)),
                   "score.weight has 2 outputs (labels), and label_weights 0 values: must be one "
                   "for each, such as {0, 1} for the second of two"));
    CHECK(contains(fault(file_of(two), {.label_weights = {1}}), "label_weights 1 values"));
    CHECK(contains(fault(file_of(two), {.label_weights = {1, NAN}}), "not finite"));
    CHECK(contains(fault(file_of({two[0], bias()})), "score.bias has shape [1], must be [2]") ==
          false);
    CHECK(contains(fault(file_of({two[0], bias()}), {.label_weights = {1, 0}}),
                   "score.bias has shape [1], must be [2]"));
}

TEST_CASE("heads: what does not fit is refused, and says what is there") {
    CHECK(
        contains(fault(file_of({{"score.weight", "F32", "32,2", data("F32", numbers(64, 1))}})),
                 "score.weight has shape [32, 2], must be [1, 64], [64], [64, 1] or [labels, 64]"));
    CHECK(contains(fault(file_of({})), "it holds no tensors"));
    CHECK(contains(fault(file_of({weight("lm_head.weight"), bias("norm.bias")})),
                   "it holds lm_head.weight, norm.bias (the option `tensor` names one)"));
    CHECK(contains(fault(file_of({weight()}), {.tensor = "score"}),
                   "has no tensor score; it holds score.weight"));
    CHECK(contains(fault(file_of({weight(), weight("v_head.weight")})),
                   "has several heads: score.weight, v_head.weight"));
    std::vector<tensor> many;
    for (char c = 'a'; c <= 'z'; ++c) many.push_back(weight(std::string(1, c)));
    CHECK(
        contains(fault(file_of(many)), "it holds a, b, c, d, e, f, g, h, i, j, k, l and 14 more"));
}

TEST_CASE("heads: files of other formats are recognised") {
    const std::string rest(100, '\1');
    CHECK(fault("GGUF\3" + rest).ends_with("is a GGUF file; heads come as safetensors"));
    CHECK(contains(fault("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 134\n"),
                   "is a Git LFS pointer, not the file"));
    CHECK(contains(fault("PK\3\4" + rest), "is a PyTorch archive"));
    CHECK(contains(fault("\x80\2}q" + rest), "is a Python pickle"));
    CHECK(contains(fault("<!doctype html>" + rest), "is a web page"));
    CHECK(contains(fault("{\"weight_map\": {}}"), "is JSON"));
}

TEST_CASE("heads: an index of shards leads to the one with the head") {
    namespace fs = std::filesystem;
    const scratch_file place{"folder of shards"};
    fs::remove(place.path());
    fs::create_directory(place.path());
    const auto put = [&](const std::string& name, const std::string& bytes) {
        const std::string path = place.path() + "/" + name;
        std::ofstream{path, std::ios::binary} << bytes;
        return path;
    };
    put("model-2.safetensors", file_of({weight(), bias()}));
    const std::string index = put(
        "model.safetensors.index.json",
        R"({"weight_map": {"norm.weight": "model-1.safetensors", "score.weight": "model-2.safetensors"}})");
    CHECK(score(index) == score_of({weight(), bias()}));
    const auto refused = [&](const std::string& text) {
        const std::string path = put("bad.json", text);
        return message_of<tq::invalid_option>([&] { score(path); });
    };
    CHECK(contains(refused(R"({"weight_map": {"norm.weight": "x"}})"), "it holds norm.weight"));
    CHECK(contains(refused(R"({"weight_map": {"score.weight": "gone.safetensors"}})"),
                   "/gone.safetensors: cannot be read"));
    CHECK(contains(refused(R"({"weight_map": {"score.weight": 3}})"), "an index of file names"));
    CHECK(contains(refused("[1"), "with a weight_map"));
    fs::remove_all(place.path());
}
