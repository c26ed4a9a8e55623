#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <tq/evaluate/coherence.hpp>
#include <vector>

#include "shared_model.hpp"
#include "support/catch.hpp"

namespace {

/// That of cmake/fetch_embedder, beside the other models.
const tq::llama_cpp::model_file& embedding_model() {
    static const tq::llama_cpp::model_file model{
        (std::filesystem::path{tq::test::other_model().path()}.parent_path() /
         "all-minilm-l6-v2-f16.gguf")
            .string()};
    return model;
}

double length(const std::vector<float>& v) {
    double sum = 0;
    for (const float x : v) sum += double{x} * double{x};
    return std::sqrt(sum);
}

}  // namespace

TEST_CASE("sentence_embedder: cosines agree with an independent forward pass") {
    // reference/embeddings.py: NumPy in float64; here the weights are float16.
    std::ifstream file{std::string{TQSTAR_TESTS_DIR} +
                       "/adapters/llama_cpp/reference/embeddings.json"};
    const nlohmann::json pairs = nlohmann::json::parse(file);
    REQUIRE(pairs.size() == 8);
    std::vector<std::string> prompts, answers;
    for (const nlohmann::json& pair : pairs) {
        prompts.push_back(pair["prompt"]);
        answers.push_back(pair["answer"]);
    }
    tq::llama_cpp::sentence_embedder embedder{embedding_model(), {.texts = 3, .threads = 1}};
    const std::vector<double> values = tq::coherence(embedder, prompts, answers);
    for (std::size_t i = 0; i < values.size(); ++i) {
        INFO(prompts[i] << " / " << answers[i]);
        CHECK(values[i] == Catch::Approx(pairs[i]["cosine"].get<double>()).margin(2e-3));
    }
}

TEST_CASE("sentence_embedder: unit vectors that do not depend on their neighbours") {
    tq::llama_cpp::sentence_embedder together{embedding_model(), {.threads = 1}},
        alone{embedding_model(), {.texts = 1, .threads = 1}};
    const std::vector<std::string> texts{"A dog.", "", "A much longer text about nothing at all.",
                                         "\xF0\x9F\x98\x80 \xFF"};
    const auto a = together.embed(texts), b = alone.embed(texts);
    REQUIRE(a.size() == texts.size());
    for (std::size_t i = 0; i < a.size(); ++i) {
        CHECK(a[i].size() == together.size());
        CHECK(length(a[i]) == Catch::Approx(1).margin(1e-5));
        CHECK(tq::cosine_similarity(a[i], b[i]) > 0.999);
    }
    CHECK(together.embed({}).empty());
}

TEST_CASE("sentence_embedder: refusals") {
    CHECK_THROWS_AS((tq::llama_cpp::sentence_embedder{embedding_model(), {.longest = 1}}),
                    tq::invalid_option);
    CHECK_THROWS_AS((tq::llama_cpp::sentence_embedder{embedding_model(), {.texts = 0}}),
                    tq::invalid_option);
    CHECK_THROWS_AS((tq::llama_cpp::sentence_embedder{tq::test::shared_model(), {.threads = 1}}),
                    tq::invalid_option);  // a model that does not pool
}
