// What it costs to know who asks: the CPU time of ClientIdentities::of() for a request with eight
// fields, by its address alone and by a key of `--clients` known ones; of keys that were seen
// before, and of invented ones. And how long the file takes to be read and made ready.
//   recognition_cost [--clients 50000] [--requests 1000000] [--rounds 9]
// Prints one JSON line: medians in ns for each request, and ms.

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

// One request after the other, each of another client; the least that is not chance: the median.
double nanoseconds(const gateway::ClientIdentities& clients, const std::vector<std::string>& keys,
                   std::uint64_t requests, int rounds) {
  const auto address = *conf::IpAddress::parse("192.0.2.1");
  std::vector<double> times;
  std::uint64_t sum = 0;
  for (int round = 0; round < rounds; ++round) {
    proxy::wire::Head head = head_with(keys.front());
    const double began = cpu_seconds();
    for (std::uint64_t i = 0; i < requests; ++i) {
      head.fields.back().value = keys[i % keys.size()];
      sum += clients.of({head, address, {}}, {}).id;
    }
    times.push_back((cpu_seconds() - began) * 1e9 / static_cast<double>(requests));
  }
  std::ranges::nth_element(times, times.begin() + rounds / 2);
  if (sum == 42) std::puts("");  // so that it is computed
  return times[static_cast<std::size_t>(rounds / 2)];
}

}  // namespace

int main(int argc, char** argv) {
  cxxopts::Options options("recognition_cost");
  options.add_options()("clients", "", cxxopts::value<std::uint32_t>()->default_value("50000"))(
      "requests", "", cxxopts::value<std::uint64_t>()->default_value("1000000"))(
      "rounds", "", cxxopts::value<int>()->default_value("9"));
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
  nanoseconds(by_key, known, count, 1);  // from now on they have been seen
  fmt::print(
      "{{\"clients\": {}, \"address_ns\": {:.0f}, \"known_ns\": {:.0f}, \"invented_ns\": {:.0f}, "
      "\"read_ms\": {:.1f}, \"make_ms\": {:.1f}}}\n",
      count, nanoseconds(by_address, known, requests, rounds),
      nanoseconds(by_key, known, requests, rounds), nanoseconds(by_key, invented, requests, rounds),
      reading * 1e3, making * 1e3);
}
