#pragma once
// The model and the files that the tests of this room share.

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
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
