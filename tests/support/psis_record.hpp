#pragma once
// What arviz-stats makes of some log-weights: estimate/psis_record.csv, written by
// benchmarks/reference/psis. TQSTAR_TESTS_DIR is where the tests are.

#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace tq::test {

struct psis_case {
    std::string name;
    double k_hat = 0;
    std::vector<double> log_weights, smoothed;  // [n]; smoothed ones are normalised
};

inline std::vector<psis_case> read_psis_record() {
    const std::string path = TQSTAR_TESTS_DIR "/estimate/psis_record.csv";
    std::ifstream file{path};
    std::vector<psis_case> cases;
    for (std::string line; std::getline(file, line);) {
        if (line.starts_with("#")) continue;
        std::istringstream fields{line};
        std::string first, second;
        std::getline(fields, first, ',');
        std::getline(fields, second, ',');
        if (first == "case") {
            std::string size, k;
            std::getline(fields, size, ',');
            std::getline(fields, k, ',');
            cases.push_back(
                {.name = second, .k_hat = std::stod(k), .log_weights = {}, .smoothed = {}});
        } else {
            cases.back().log_weights.push_back(std::stod(first));
            cases.back().smoothed.push_back(std::stod(second));
        }
    }
    if (cases.empty()) throw std::runtime_error{"cannot read " + path};
    return cases;
}

}  // namespace tq::test
