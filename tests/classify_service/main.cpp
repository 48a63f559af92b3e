// The classify service that stands behind the gateway in tests and in the quickstart.

#include <signal.h>

#include <cstdio>
#include <cxxopts.hpp>
#include <utility>

#include "conf/format.h"
#include "service.h"

namespace {

bool parse_time(const std::string& text, std::chrono::microseconds& time) {
  try {
    std::size_t used = 0;
    const double number = std::stod(text, &used);
    const std::string unit = text.substr(used);
    const double factor = unit == "us" ? 1 : unit == "ms" ? 1e3 : unit == "s" ? 1e6 : -1;
    if (number < 0 || factor < 0) return false;
    time = std::chrono::microseconds(static_cast<long>(number * factor));
    return true;
  } catch (const std::exception&) {
    return false;
  }
}

void on_signal(evutil_socket_t, short, void* service) {
  static_cast<classify::Service*>(service)->stop();
}

int run(int argc, char** argv) {
  cxxopts::Options table("classify_service",
                         "a small text classifier that behaves like a model server");
  table.add_options()("listen", "address:port, port 0 for any",
                      cxxopts::value<std::string>()->default_value("127.0.0.1:9000"))(
      "concurrency", "requests computed at once",
      cxxopts::value<std::size_t>()->default_value("50"))(
      "service-time", "what one classification takes, e.g. 20ms",
      cxxopts::value<std::string>()->default_value("0ms"))(
      "spread", "of the service time: fixed, exponential or heavy",
      cxxopts::value<std::string>()->default_value("fixed"))(
      "slowdown-power", "as this power of that proportion",
      cxxopts::value<double>()->default_value("1"))(
      "slowdown-beyond",
      "service time grows in proportion when more than N are in service (0: never)",
      cxxopts::value<std::size_t>()->default_value("0"))(
      "batch", "computes in groups of up to N, one after the other (0: one by one)",
      cxxopts::value<std::size_t>()->default_value("0"))(
      "batch-wait", "a group that is not full begins so long after its first request came",
      cxxopts::value<std::string>()->default_value("5ms"))(
      "fail-beyond", "answers 503 when more than N are in it (0: never)",
      cxxopts::value<std::size_t>()->default_value("0"))(
      "rate-limit", "answers 429 beyond so many a second (0: never)",
      cxxopts::value<double>()->default_value("0"))(
      "order-log", "file to which every request is appended as it arrives",
      cxxopts::value<std::string>()->default_value(""))(
      "data", "label<TAB>text examples",
      cxxopts::value<std::string>()->default_value(BUSINESSES_TSV))("help", "this text");
  const auto given = table.parse(argc, argv);
  if (given.count("help") > 0) {
    fmt::print("{}", table.help());
    return 0;
  }
  classify::Options options;
  const auto listen = given["listen"].as<std::string>();
  const std::size_t colon = listen.rfind(':');
  options.address = listen.substr(0, colon);
  options.port = static_cast<std::uint16_t>(std::stoi(listen.substr(colon + 1)));
  options.concurrency = given["concurrency"].as<std::size_t>();
  options.slowdown_beyond = given["slowdown-beyond"].as<std::size_t>();
  options.slowdown_power = given["slowdown-power"].as<double>();
  options.batch = given["batch"].as<std::size_t>();
  options.fail_beyond = given["fail-beyond"].as<std::size_t>();
  options.rate_limit = given["rate-limit"].as<double>();
  const auto spread = given["spread"].as<std::string>();
  using Spread = classify::Options::Spread;
  options.spread = spread == "exponential" ? Spread::exponential
                   : spread == "heavy"     ? Spread::heavy
                                           : Spread::fixed;
  options.order_log = given["order-log"].as<std::string>();
  for (const auto& [name, time] : {std::pair("service-time", &options.service_time),
                                   std::pair("batch-wait", &options.batch_wait)}) {
    if (parse_time(given[name].as<std::string>(), *time)) continue;
    fmt::print(stderr, "classify_service: --{} wants a time such as 20ms\n", name);
    return 2;
  }
  const auto examples = classify::read_examples(given["data"].as<std::string>());
  if (!examples) {
    fmt::print(stderr, "classify_service: {}\n", examples.error());
    return 1;
  }
  const classify::Classifier classifier(*examples);
  auto service = classify::Service::open(options, classifier);
  if (!service) {
    fmt::print(stderr, "classify_service: {}\n", service.error());
    return 1;
  }
  ::signal(SIGPIPE, SIG_IGN);
  event* term = evsignal_new((*service)->base(), SIGTERM, on_signal, service->get());
  event* interrupt = evsignal_new((*service)->base(), SIGINT, on_signal, service->get());
  event_add(term, nullptr);
  event_add(interrupt, nullptr);
  fmt::print("listening on {}:{}\n", options.address, (*service)->port());
  std::fflush(stdout);
  (*service)->run();
  event_free(term);
  event_free(interrupt);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& failure) {
    fmt::print(stderr, "classify_service: {}\n", failure.what());
    return 2;
  }
}
