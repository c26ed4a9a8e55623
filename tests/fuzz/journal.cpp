// Any bytes after the first line of a journal, and as the file of timings.
#include "../../examples/programs/evaluate/journal.hpp"

#include "fuzz.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    evaluation::config config;
    config.json = {{"limit", 1}};
    {
        const tq::fuzz::scratch_file file{data, size, "{\"config\":{\"limit\":1},\"journal\":1}\n"};
        tq::fuzz::survive([&] {
            const evaluation::journal journal{file.path(), config};
            const evaluation::journal again{file.path(), config};
            tq::fuzz::require(journal.answers().size() == again.answers().size(),
                              "a journal that was taken is taken again");
        });
    }
    const tq::fuzz::scratch_file file{data, size};
    tq::fuzz::survive([&] { (void)evaluation::read_timings(file.path()); });
    return 0;
}
