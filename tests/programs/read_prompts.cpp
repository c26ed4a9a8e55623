// read_prompts FORMAT FIRST LIMIT FILE...: what the programs read of each file, a line of JSON: its prompts,
// each as a list of [role, text], or the error.

#include <iostream>
#include <nlohmann/json.hpp>
#include <tq/core/error.hpp>

#include "prompts.hpp"

int main(int argc, char** argv) {
    if (argc < 5) {
        std::cerr << "usage: read_prompts FORMAT FIRST LIMIT FILE...\n";
        return 2;
    }
    for (int i = 4; i < argc; ++i) {
        nlohmann::json line = nlohmann::json::object();
        try {
            line["prompts"] = nlohmann::json::array();
            for (const prompts::prompt& p :
                 prompts::read(argv[i], prompts::formats.at(argv[1]), std::stoul(argv[2]),
                               std::stoul(argv[3]))) {
                nlohmann::json turns = nlohmann::json::array();
                for (const prompts::turn& t : p.turns) turns.push_back({t.role, t.text});
                line["prompts"].push_back(turns);
                line["texts"].push_back(p.text());
            }
        } catch (const tq::invalid_option& error) {
            line = {{"error", error.what()}};
        }
        std::cout << line.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace) << '\n';
    }
}
