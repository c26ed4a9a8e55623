// Any bytes as a file of prompts, read in every format.
#include "../../examples/programs/support/prompts.hpp"

#include "fuzz.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const tq::fuzz::scratch_file file{data, size};
    for (const auto format :
         {prompts::format::automatic, prompts::format::text, prompts::format::json})
        tq::fuzz::survive([&] {
            const auto all = prompts::read(file.path(), format, 1, 3);
            tq::fuzz::require(all.size() <= 3, "no more prompts than wanted");
            for (const prompts::prompt& p : all) {
                tq::fuzz::require(!p.turns.empty() && p.turns.back().role == "user",
                                  "a prompt ends with the user's turn");
                for (const prompts::turn& t : p.turns)
                    tq::fuzz::require(t.text.find_first_not_of(" \t\r\n") != std::string::npos &&
                                          t.text.find('\0') == std::string::npos,
                                      "a turn has a text without NULs");
            }
        });
    return 0;
}
