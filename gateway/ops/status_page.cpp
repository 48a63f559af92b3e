#include "gateway/ops/status_page.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <vector>

#include "conf/format.h"
#include "conf/printable.h"
#include "conf/units.h"

namespace classgate::gateway {
namespace {

using nlohmann::ordered_json;

constexpr std::size_t reasons_shown = 5;

class Paint {
 public:
  explicit Paint(bool is_on) : is_on_(is_on) {}
  std::string operator()(std::string_view colour, std::string_view text) const {
    const std::string shown = conf::printable(text);
    return is_on_ ? fmt::format("\033[{}m{}\033[0m", colour, shown) : shown;
  }
  std::string state(std::string_view word) const {
    const bool is_good = word == "ok" || word == "reachable";
    const bool is_fair =
        word == "degraded" || word == "overloaded" || word == "unknown" || word == "alone";
    return (*this)(is_good ? "1;32" : is_fair ? "1;33" : "1;31", word);
  }

 private:
  bool is_on_;
};

std::string bar(std::uint64_t value, std::uint64_t limit, std::size_t width) {
  const double share =
      limit == 0 ? 0 : std::min(1.0, static_cast<double>(value) / static_cast<double>(limit));
  auto filled = static_cast<std::size_t>(share * static_cast<double>(width));
  if (value > 0 && filled == 0) filled = 1;
  return std::string(filled, '#') + std::string(width - filled, '.');
}

std::string times(const ordered_json& percentiles) {
  return fmt::format("p50 {} ms, p95 {} ms, p99 {} ms", percentiles.at("p50").get<double>(),
                     percentiles.at("p95").get<double>(), percentiles.at("p99").get<double>());
}

// What the page says was written by clients, servers and files: none of it reaches the terminal
// raw.
std::string printable_text(const ordered_json& json) {
  return conf::printable(json.get<std::string>());
}

std::string fit(const std::string& text, std::size_t width) {
  return text.size() <= width ? text : text.substr(0, width > 3 ? width - 3 : 0) + "...";
}

std::string text_or_dash(const ordered_json& json) {
  return json.is_null() ? std::string("-") : printable_text(json);
}

std::string clients_table(const ordered_json& clients, std::size_t width) {
  if (clients.empty()) return "\nclients      none has anything\n";
  std::string out = fmt::format("\n{:<12} {:>7} {:>7} {:>17}  {:<12} {:<20} {}\n", "clients",
                                "workers", "waiting", "tokens", "plan", "name", "address");
  for (const ordered_json& client : clients) {
    const ordered_json& tokens = client.at("tokens");
    out += fit(fmt::format("{:<12} {:>7} {:>7} {:>17}  {:<12} {:<20} {}",
                           printable_text(client.at("id")),
                           client.at("active_workers").get<std::uint64_t>(),
                           client.at("waiting").get<std::uint64_t>(),
                           tokens.is_null()
                               ? std::string("-")
                               : fmt::format("{:.1f} of {}", tokens.get<double>(),
                                             conf::print_number(client.at("burst").get<double>())),
                           text_or_dash(client.at("plan")), text_or_dash(client.at("name")),
                           text_or_dash(client.at("address"))),
               width) +
           "\n";
  }
  return out;
}

// Of the workers that several gateways have together.
std::string shared_line(const ordered_json& shared, const std::string& state) {
  std::string text =
      fmt::format("{:<12} {}: {} of {} here, {} gateways, ledger in {}\n", "shared", state,
                  shared.at("here").get<std::uint64_t>(), shared.at("workers").get<std::uint64_t>(),
                  shared.at("gateways").get<std::uint64_t>(), printable_text(shared.at("ledger")));
  if (const std::uint64_t kept = shared.at("kept_for_unseen").get<std::uint64_t>(); kept > 0)
    text += fmt::format("{:<12} {} workers are kept for gateways that nobody sees any more\n", "",
                        kept);
  for (const ordered_json& rate : shared.at("rates")) {
    const double of_all = rate.at("rate").get<double>();
    const double of_conf = rate.at("rate_of_conf").get<double>();
    text += fmt::format("{:<12} rate{}: {:.1f} of {} requests/s here{}\n", "",
                        rate.at("route").is_null() ? "" : " of " + printable_text(rate.at("route")),
                        rate.at("here").get<double>(), conf::print_number(of_all),
                        of_all < of_conf
                            ? fmt::format(" (as another gateway's conf says; {} by this one's)",
                                          conf::print_number(of_conf))
                            : "");
  }
  for (const ordered_json& one : shared.at("all")) {
    const std::uint64_t silent = one.at("silent_ms").get<std::uint64_t>();
    text += fmt::format(
        "{:<12} {}: {} workers, {} in use{}\n", "", printable_text(one.at("name")),
        one.at("workers").get<std::uint64_t>(), one.at("in_use").get<std::uint64_t>(),
        silent == 0 ? "" : fmt::format(", silent for {}", duration_text(silent / 1000)));
  }
  if (const std::string problem = printable_text(shared.at("problem")); !problem.empty())
    text += fmt::format("{:<12} {}\n", "", problem);
  return text;
}

// ", answers: 120 2xx, 3 5xx".
std::string answers_text(const ordered_json& answers) {
  std::string text;
  for (const auto& [of_class, count] : answers.items())
    if (const auto number = count.get<std::uint64_t>(); number > 0)
      text += fmt::format("{} {} {}", text.empty() ? ", answers:" : ",", number, of_class);
  return text;
}

}  // namespace

std::string duration_text(std::uint64_t seconds) {
  if (seconds >= 86400) return fmt::format("{}d {}h", seconds / 86400, seconds % 86400 / 3600);
  if (seconds >= 3600) return fmt::format("{}h {}m", seconds / 3600, seconds % 3600 / 60);
  if (seconds >= 60) return fmt::format("{}m {}s", seconds / 60, seconds % 60);
  return fmt::format("{}s", seconds);
}

std::string status_page(const StatusSample& sample, std::size_t width, bool with_colour) {
  const ordered_json health = ordered_json::parse(sample.now);
  const ordered_json before = ordered_json::parse(sample.before);
  const Paint paint(with_colour);
  const std::size_t bar_width = std::clamp<std::size_t>(width > 40 ? width - 40 : 10, 10, 50);
  const auto number = [&](const char* key) { return health.at(key).get<std::uint64_t>(); };
  const ordered_json& limits = health.at("limits");
  const auto limit = [&](const char* key) { return limits.at(key).get<std::uint64_t>(); };

  std::string out = fmt::format(
      "classgate {}  {}  up {}  {}\n\n", printable_text(health.at("version")),
      paint.state(health.at("status").get<std::string>()), duration_text(number("uptime_seconds")),
      printable_text(health.at("last_updated")));
  const auto row = [&](std::string_view name, std::uint64_t value, std::uint64_t most,
                       std::string_view more) {
    out += fmt::format("{:<12} [{}] {} of {}{}\n", name, bar(value, most, bar_width), value, most,
                       more);
  };
  const std::uint64_t orphans = number("workers_without_client");
  const std::uint64_t streams = number("streams");
  // Without a server that is up it would be down.
  const ordered_json shared = health.value("shared_workers", ordered_json());
  const bool are_elsewhere =
      limit("workers") == 0 && shared.is_null() && health.at("status").get<std::string>() != "down";
  row("workers", number("active_workers"), limit("workers"),
      std::string(are_elsewhere ? ": the process before the upgrade still has all of them" : "") +
          (streams > 0 ? fmt::format(", {} streaming", streams) : "") +
          (orphans > 0 ? fmt::format(", {} without a client", orphans) : ""));
  if (!shared.is_null())
    out += shared_line(shared, paint.state(health.at("sharing").get<std::string>()));
  row("queue", number("queue_size"), limit("queue_size"), "");
  for (const auto& [priority, waiting] : health.at("queue_by_priority").items())
    if (waiting.get<std::uint64_t>() > 0)
      row("  priority " + conf::printable(priority), waiting.get<std::uint64_t>(),
          limit("queue_size"), "");
  row("connections", number("connections"), limit("connections"), "");

  out += fmt::format("\nwait         {}\nupstream     {}\n", times(health.at("wait_time_ms")),
                     times(health.at("process_time_ms")));
  const double rate = limits.at("rate").get<double>();
  out += rate > 0 ? fmt::format("rate limit   {} requests/s, burst {}\n", rate,
                                limits.at("burst").get<double>())
                  : std::string("rate limit   none\n");
  const auto per_second = [&](const char* key) {
    const double more = health.at(key).get<double>() - before.at(key).get<double>();
    return sample.seconds > 0 ? std::max(more, 0.0) / sample.seconds : 0.0;
  };
  out += fmt::format("now          {:.0f} requests/s: {:.0f} processed, {:.0f} rejected\n",
                     per_second("total_requests"), per_second("processed_requests"),
                     per_second("rejected_requests"));
  out += fmt::format("requests     {} in all: {} processed, {} rejected, {} failed, {} abandoned\n",
                     number("total_requests"), number("processed_requests"),
                     number("rejected_requests"), number("failed_requests"),
                     number("abandoned_requests"));

  std::vector<std::pair<std::uint64_t, std::string>> reasons;
  for (const char* kind : {"rejected_by_reason", "failed_by_reason"})
    for (const auto& [reason, count] : health.at(kind).items())
      reasons.emplace_back(count.get<std::uint64_t>(), conf::printable(reason));
  std::ranges::sort(reasons, std::greater{});
  if (!reasons.empty()) out += "\nrefused for\n";
  for (std::size_t i = 0; i < reasons.size() && i < reasons_shown; ++i)
    out += fmt::format("  {:<22} {}\n", reasons[i].second, reasons[i].first);

  out += "\nupstream\n";
  for (const auto& [server, state] : health.at("upstream").items())
    out += fmt::format("  {:<22} {}{}\n", conf::printable(server),
                       paint.state(state.get<std::string>()),
                       answers_text(health.at("upstream_answers").at(server)));

  if (health.contains("top_clients")) out += clients_table(health.at("top_clients"), width);

  const ordered_json& conf = health.at("conf");
  for (const auto& [key, value] : conf.at("set_at_run_time").items())
    out += fmt::format("\n{} {} = {}, until the next reload", paint("1;33", "set at run time:"),
                       conf::printable(key), printable_text(value));
  if (!conf.at("set_at_run_time").empty()) out += '\n';
  if (conf.at("last_reload_failed").get<bool>())
    out += fmt::format("\n{}\n{}", paint("1;31", "the last reload was refused:"),
                       conf::printable_lines(conf.at("last_reload_error").get<std::string>()));
  return out;
}

std::string queue_page(std::string_view queue_json, std::size_t width) {
  const ordered_json list = ordered_json::parse(queue_json);
  if (list.empty()) return "nobody waits\n";
  std::string out = fmt::format(
      "{:>4} {:>9} {:>11} {:>4} {:>9}  {:<10} {:<20} {:<39} {:<7} {:<32} {}\n", "prio", "age ms",
      "deadline ms", "cost", "bytes", "client", "name", "address", "method", "id", "path");
  for (const ordered_json& waiter : list)
    out += fit(fmt::format(
                   "{:>4} {:>9.0f} {:>11.0f} {:>4} {:>9}  {:<10} {:<20} {:<39} {:<7} {:<32} {}",
                   waiter.at("priority").get<int>(), waiter.at("age_ms").get<double>(),
                   waiter.at("deadline_ms").get<double>(), waiter.at("cost").get<int>(),
                   waiter.at("bytes").get<std::uint64_t>(), text_or_dash(waiter.at("client")),
                   text_or_dash(waiter.at("name")), printable_text(waiter.at("address")),
                   printable_text(waiter.at("method")), printable_text(waiter.at("id")),
                   printable_text(waiter.at("path"))),
               width) +
           "\n";
  return out;
}

}  // namespace classgate::gateway
