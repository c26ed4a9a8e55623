// TQ* in a loop of LibTorch: a small recurrent network learns the letters of a few sentences, then writes,
// plain and steered. The loop is LibTorch's own; tq changes the logits before a token is drawn.

#include <torch/torch.h>
#include <cstdio>
#include <string>
#include <tq/decode/logits_processor.hpp>
#include <tq/tq.hpp>
#include <vector>

namespace {

struct letter_network : torch::nn::Module {
    torch::nn::Embedding embed{128, 24};
    torch::nn::GRU gru{torch::nn::GRUOptions(24, 64).batch_first(true)};
    torch::nn::Linear out{64, 128};

    letter_network() {
        register_module("embed", embed);
        register_module("gru", gru);
        register_module("out", out);
    }
    /// tokens [n, length], state [1, n, 64] or none; logits [n, length, 128] and the new state.
    std::tuple<torch::Tensor, torch::Tensor> forward(torch::Tensor tokens,
                                                     torch::Tensor state = {}) {
        auto [hidden, next] = gru->forward(embed->forward(tokens), state);
        return {out->forward(hidden), next};
    }
};

torch::Tensor tensor_of(tq::token_view tokens) {
    const std::vector<std::int64_t> wide(tokens.begin(), tokens.end());
    return torch::tensor(wide, torch::kLong).unsqueeze(0);
}

/// The network as a policy, for rollouts: one row of logits for each sequence.
struct network_policy {
    letter_network& network;
    std::vector<torch::Tensor> kept{};
    std::vector<tq::logits_view> rows{};

    std::size_t vocab_size() const { return 128; }
    std::span<const tq::logits_view> next_logits(std::span<const tq::token_view> sequences) {
        const torch::NoGradGuard no_gradients;
        kept.clear();
        rows.clear();
        for (tq::token_view sequence : sequences) {
            kept.push_back(
                std::get<0>(network.forward(tensor_of(sequence))).select(1, -1).contiguous());
            rows.emplace_back(kept.back().data_ptr<float>(), vocab_size());
        }
        return rows;
    }
};

void train(letter_network& network, const std::string& text) {
    torch::optim::Adam adam{network.parameters(), torch::optim::AdamOptions(0.01)};
    const tq::token_list letters(text.begin(), text.end());
    const torch::Tensor all = tensor_of(letters);
    for (int step = 0; step < 150; ++step) {
        auto [logits, state] = network.forward(all.slice(1, 0, -1));
        const torch::Tensor loss =
            torch::nn::functional::cross_entropy(logits.squeeze(0), all.slice(1, 1).squeeze(0));
        adam.zero_grad();
        loss.backward();
        adam.step();
    }
}

}  // namespace

int main() {
    torch::manual_seed(1);
    torch::set_num_threads(1);
    letter_network network;
    std::string text;
    for (int i = 0; i < 6; ++i)
        text += "the sun is up. the sun is red. the sun is hot. the moon is up. the sun is low. ";
    train(network, text);

    network_policy baseline{network};
    auto night = [](tq::token_view, tq::token_view answer) {
        const std::string written(answer.begin(), answer.end());
        double moons = 0;
        for (std::size_t at = 0; (at = written.find("moon", at)) != std::string::npos; ++at)
            ++moons;
        return moons;
    };
    tq::direct_transfer q{baseline, night, {.horizon = 12}};

    double rewards[2] = {};
    for (int steered = 0; steered < 2; ++steered) {
        const double alpha = steered ? 0.3 : 1e9;
        tq::logits_processor steer{q, {.alpha = alpha, .top_k = 8}};
        const torch::NoGradGuard no_gradients;
        const std::string prompt = "the ";
        tq::token_list sequence(prompt.begin(), prompt.end());
        auto [logits, state] = network.forward(tensor_of(sequence));
        constexpr std::size_t length = 40;
        for (std::size_t left = length; left > 0; --left) {
            torch::Tensor last = logits.select(1, -1).squeeze(0).contiguous();
            const std::span<float> row{last.data_ptr<float>(), 128};
            const tq::decode_state here{.sequence = sequence,
                                        .prompt_size = prompt.size(),
                                        .tokens_left = left,
                                        .end_tokens = {}};
            steer(row, here);
            const auto token = static_cast<tq::token_id>(last.argmax().item<std::int64_t>());
            sequence.push_back(token);
            std::tie(logits, state) = network.forward(tensor_of({&token, 1}), state);
        }
        std::printf("%s %s\n", steered ? "TQ*:    " : "frozen: ",
                    std::string(sequence.begin(), sequence.end()).c_str());
        rewards[steered] = night({}, tq::token_view{sequence}.subspan(prompt.size()));
    }
    std::printf("reward %.0f -> %.0f\n", rewards[0], rewards[1]);
    return rewards[1] > rewards[0] ? 0 : 1;
}
