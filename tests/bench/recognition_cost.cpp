// What it costs to know who asks: the CPU time of ClientIdentities::of() for a request with eight
// fields, by its address alone and by a key of `--clients` known ones; of keys that were seen
// before, and of invented ones; of signed tokens (RS256, some 700 bytes) that the loop remembers,
// and of forged ones, as many as jwt.checks_max lets be checked and those beyond. And how long the
// file takes to be read and made ready.
//   recognition_cost [--clients 50000] [--requests 1000000] [--rounds 9] [--no-tokens]
// Prints one JSON line: medians in ns for each request, and ms. What a key costs above an address
// is the median of the differences within a round.

#include <time.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cxxopts.hpp>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "conf/format.h"
#include "gateway/clients/client_identity.h"
#include "tests/gateway/token_issuer.h"

namespace {

using namespace classgate;
using Kind = conf::IdentitySource::Kind;

double cpu_seconds() {
  timespec now{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

std::string key_of(std::uint32_t number) { return fmt::format("cgk_{:032}", number); }

std::string file_of(std::uint32_t clients) {
  std::string file;
  for (std::uint32_t i = 0; i < clients; ++i)
    file += fmt::format("client-{} key=sha256:{}\n", i, conf::hex_of(conf::sha256(key_of(i))));
  return file;
}

proxy::wire::Head head_with(std::string_view key) {
  proxy::wire::Head head;
  head.target = "/v1/classify";
  for (const char* name : {"host", "user-agent", "accept", "accept-encoding", "content-type",
                           "content-length", "x-request-id"})
    head.fields.push_back({name, "some value of a field"});
  head.fields.push_back({"x-api-key", key});
  return head;
}

constexpr std::size_t tokens_made = 1'000;

// Of an issuer's usual form.
std::vector<std::string> make_tokens(const gateway::TokenIssuer& issuer) {
  std::vector<std::string> tokens;
  for (std::size_t i = 0; i < tokens_made; ++i)
    tokens.push_back(
        "Bearer " +
        issuer.token(fmt::format(
            R"({{"iss":"https://issuer.example/","sub":"auth0|{:024}","aud":"https://api.example","iat":1800000000,"exp":4000000000,"scope":"openid profile email"}})",
            i)));
  return tokens;
}

struct TokenCost {
  double known, checked, beyond, malformed;
};

// Of tokens as of keys.
TokenCost token_costs(std::uint64_t requests, int rounds) {
  const gateway::TokenIssuer issuer("RS256", "2026-11");
  conf::Settings settings;
  settings.admission.fairness.is_on = true;
  settings.admission.fairness.identity = {{Kind::jwt, "sub"}};
  settings.clients.unknown = conf::UnknownClients::address;
  settings.jwt.keys_file = "keys";
  settings.jwt.keys = std::make_shared<const std::string>(issuer.jwk());
  settings.jwt.algorithms = {"RS256"};
  settings.jwt.aud = {"https://api.example"};
  settings.jwt.claims = {"sub"};
  const gateway::ClientIdentities identities(settings, admission::Ids(settings), {1, 2});
  settings.jwt.checks_max = 1'000'000;
  const gateway::ClientIdentities unbounded(settings, admission::Ids(settings), {1, 2});
  const auto tokens = make_tokens(issuer);
  std::vector<std::string> forged = tokens, malformed = tokens;
  for (std::string& token : forged)
    token[token.size() - 9] = token[token.size() - 9] == 'A' ? 'B' : 'A';
  for (std::string& token : malformed) token[token.find('.') + 3] = '!';
  gateway::TokenCache cache, cache_of_unbounded;
  const auto address = *conf::IpAddress::parse("192.0.2.1");
  const auto cost = [&](const gateway::ClientIdentities& clients, gateway::TokenCache& memory,
                        const std::vector<std::string>& sent, std::uint64_t count) {
    std::vector<double> times;
    std::uint64_t sum = 0;
    for (int round = 0; round < rounds; ++round) {
      proxy::wire::Head head = head_with("");
      head.fields.back().name = "authorization";
      const double began = cpu_seconds();
      for (std::uint64_t i = 0; i < count; ++i) {
        head.fields.back().value = sent[i % sent.size()];
        sum +=
            clients.of({.head = head, .address = address, .tls_subject = {}, .tokens = &memory}, {})
                .id;
      }
      times.push_back((cpu_seconds() - began) * 1e9 / static_cast<double>(count));
    }
    std::ranges::nth_element(times, times.begin() + rounds / 2);
    if (sum == 42) std::puts("");  // so that it is computed
    return times[static_cast<std::size_t>(rounds / 2)];
  };
  cost(unbounded, cache_of_unbounded, tokens, tokens.size());  // from now on they are known
  TokenCost found{};
  found.known = cost(unbounded, cache_of_unbounded, tokens, requests);
  found.checked = cost(unbounded, cache_of_unbounded, forged, 5'000);
  found.beyond = cost(identities, cache, forged, requests / 5);
  found.malformed = cost(identities, cache, malformed, requests / 5);
  return found;
}

// Requests one after the other, each of another client: ns for each, of one round.
double nanoseconds(const gateway::ClientIdentities& clients, const std::vector<std::string>& keys,
                   std::uint64_t requests) {
  const auto address = *conf::IpAddress::parse("192.0.2.1");
  std::uint64_t sum = 0;
  std::string input;  // a key has just been read when it is looked up, whoever asks for it
  proxy::wire::Head head = head_with(keys.front());
  const double began = cpu_seconds();
  for (std::uint64_t i = 0; i < requests; ++i) {
    input.assign(keys[i % keys.size()]);
    head.fields.back().value = input;
    sum += clients.of({.head = head, .address = address, .tls_subject = {}}, {}).id;
  }
  const double took = cpu_seconds() - began;
  if (sum == 42) std::puts("");  // so that it is computed
  return took * 1e9 / static_cast<double>(requests);
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::ranges::nth_element(values, middle);
  return *middle;
}

}  // namespace

int main(int argc, char** argv) {
  cxxopts::Options options("recognition_cost");
  options.add_options()("clients", "", cxxopts::value<std::uint32_t>()->default_value("50000"))(
      "requests", "", cxxopts::value<std::uint64_t>()->default_value("1000000"))(
      "rounds", "", cxxopts::value<int>()->default_value("9"))("no-tokens", "");
  const auto given = options.parse(argc, argv);
  const auto count = given["clients"].as<std::uint32_t>();
  const auto requests = given["requests"].as<std::uint64_t>();
  const int rounds = given["rounds"].as<int>();
  const std::string file = file_of(count);
  std::vector<std::string> known, invented;
  for (std::uint32_t i = 0; i < count; ++i) {
    known.push_back(key_of(i));
    invented.push_back(key_of(count + i));
  }
  conf::Settings settings;
  settings.admission.fairness.is_on = true;
  const gateway::ClientIdentities by_address(settings, admission::Ids(settings), {1, 2});
  settings.admission.fairness.identity = {{Kind::header, "X-Api-Key"}};
  settings.clients.unknown = conf::UnknownClients::address;
  double began = cpu_seconds();
  auto read = conf::read_known_clients(file);
  const double reading = cpu_seconds() - began;
  settings.clients.known = std::make_shared<const conf::KnownClients>(std::move(*read));
  began = cpu_seconds();
  const gateway::ClientIdentities by_key(settings, admission::Ids(settings), {1, 2});
  const double making = cpu_seconds() - began;
  nanoseconds(by_key, known, count);  // from now on they have been seen
  // In turn: what the machine does to one of a round it does to the other.
  std::vector<double> address_alone, of_known, above, of_invented;
  for (int round = 0; round < rounds; ++round) {
    address_alone.push_back(nanoseconds(by_address, known, requests));
    of_known.push_back(nanoseconds(by_key, known, requests));
    above.push_back(of_known.back() - address_alone.back());
    of_invented.push_back(nanoseconds(by_key, invented, requests));
  }
  fmt::print(
      "{{\"clients\": {}, \"address_ns\": {:.0f}, \"known_ns\": {:.0f}, "
      "\"known_above_address_ns\": {:.0f}, \"invented_ns\": {:.0f}, \"read_ms\": {:.1f}, "
      "\"make_ms\": {:.1f}",
      count, median(address_alone), median(of_known), median(above), median(of_invented),
      reading * 1e3, making * 1e3);
  if (!given.count("no-tokens")) {
    const TokenCost token = token_costs(requests, rounds);
    fmt::print(
        ", \"token_known_ns\": {:.0f}, \"token_checked_ns\": {:.0f}, "
        "\"token_beyond_checks_max_ns\": {:.0f}, \"token_malformed_ns\": {:.0f}",
        token.known, token.checked, token.beyond, token.malformed);
  }
  fmt::print("}}\n");
}
