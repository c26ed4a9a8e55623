// Any bytes after the first line of a journal, and as the file of timings.
#include "../../examples/programs/evaluate/journal.hpp"

#include "fuzz.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    evaluation::config config;
    config.json = {{"limit", 1}};
    {
        const tq::fuzz::scratch_file file{
            data, size, "{\"config\":{\"limit\":1},\"journal\":2,\"made_by\":{}}\n"};
        const auto answers = [&] {
            const evaluation::journal journal{file.path(), config, nlohmann::json::object()};
            for (const auto& [key, answer] : journal.answers())
                for (const tq::token_id token : answer.tokens)
                    tq::fuzz::require(token >= 0, "a token that is taken is none below 0");
            return journal.answers().size();
        };
        tq::fuzz::survive([&] {
            const std::size_t first = answers();
            tq::fuzz::require(first == answers(), "a journal that was taken is taken again");
        });
    }
    const tq::fuzz::scratch_file file{data, size};
    tq::fuzz::survive([&] { (void)evaluation::read_timings(file.path()); });
    return 0;
}
