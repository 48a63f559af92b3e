#include "gateway/ops/watch_page.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "conf/format.h"
#include "conf/printable.h"
#include "gateway/ops/status_page.h"

namespace classgate::gateway {
namespace {

using nlohmann::ordered_json;
using Series = WatchHistory::Series;

std::uint64_t whole_of(const ordered_json& json, const char* key) {
  return json.at(key).get<std::uint64_t>();
}
std::string text_of(const ordered_json& json) { return conf::printable(json.get<std::string>()); }

// Three figures are enough to see it change: 0.25, 12.5, 1250, 12.5k.
std::string short_number(double value) {
  if (value >= 1e6) return fmt::format("{:.1f}M", value / 1e6);
  if (value >= 1e4) return fmt::format("{:.1f}k", value / 1e3);
  if (value >= 100 || value == std::floor(value)) return fmt::format("{:.0f}", value);
  return fmt::format("{:.{}f}", value, value >= 10 ? 1 : 2);
}

// A piece of a page: text and the colour it has.
std::string painted(std::string_view colour, std::string_view text) {
  return fmt::format("\033[{}m{}\033[0m", colour, text);
}
std::string_view colour_of_state(std::string_view state) {
  if (state == "ok" || state == "reachable") return "1;32";
  if (state == "degraded" || state == "overloaded" || state == "unknown") return "1;33";
  return "1;31";
}

std::string filled(std::uint64_t value, std::uint64_t limit, std::size_t width) {
  const double share =
      limit == 0 ? 0 : std::min(1.0, static_cast<double>(value) / static_cast<double>(limit));
  auto full = static_cast<std::size_t>(share * static_cast<double>(width));
  if (value > 0 && full == 0 && width > 0) full = 1;
  return std::string(full, '#') + std::string(width - full, '.');
}

// The last `width` values, from none to the most of them.
std::string sparkline(const std::deque<std::optional<double>>& values, std::size_t width,
                      bool in_utf8) {
  static constexpr std::array blocks{"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  static constexpr std::array plain{"_", ".", ",", "-", "=", "+", "*", "#"};
  const std::size_t shown = std::min(width, values.size());
  double most = 0;
  for (std::size_t i = values.size() - shown; i < values.size(); ++i)
    most = std::max(most, values[i].value_or(0));
  std::string line(width - shown, ' ');
  for (std::size_t i = values.size() - shown; i < values.size(); ++i) {
    if (!values[i]) {
      line += ' ';
      continue;
    }
    const auto level =
        most <= 0 ? std::size_t{0}
                  : static_cast<std::size_t>(std::min(7.0, std::floor(*values[i] / most * 7.999)));
    line += in_utf8 ? blocks[level] : plain[level];
  }
  return line;
}

// A titled list of which as much is shown as there is room for.
struct Section {
  std::string title;
  std::vector<std::string> lines;
};

// One more row for each in turn, so that none is hidden behind a long one. A section that is begun
// has its title and a line.
std::vector<std::size_t> rows_for(const std::vector<Section>& sections, std::size_t room) {
  std::vector<std::size_t> rows(sections.size(), 0);
  for (std::size_t i = 0; i < sections.size() && room >= 2; ++i)
    if (!sections[i].lines.empty()) rows[i] = 2, room -= 2;
  for (bool is_given = true; room > 0 && is_given;) {
    is_given = false;
    for (std::size_t i = 0; i < sections.size() && room > 0; ++i)
      if (rows[i] > 0 && rows[i] < sections[i].lines.size() + 1) ++rows[i], --room, is_given = true;
  }
  return rows;
}

// Rows that are compared by the chosen order, the others' as they come.
struct Row {
  double rate;
  double total;
  std::string name;
  std::string line;
};
std::vector<std::string> sorted_lines(std::vector<Row> rows, WatchView::Sort sort) {
  const auto before = [sort](const Row& a, const Row& b) {
    const auto key = [sort](const Row& row) {
      if (sort == WatchView::Sort::name) return std::pair(0.0, 0.0);
      return sort == WatchView::Sort::rate ? std::pair(row.rate, row.total)
                                           : std::pair(row.total, row.rate);
    };
    return key(a) != key(b) ? key(a) > key(b) : a.name < b.name;
  };
  std::ranges::sort(rows, before);
  std::vector<std::string> lines;
  for (Row& row : rows) lines.push_back(std::move(row.line));
  return lines;
}

// Writes the page of one history and view.
class WatchPage {
 public:
  WatchPage(const WatchHistory& history, const WatchView& view)
      : history_(history), view_(view), now_(history.now()) {}

  std::vector<std::string> lines() {
    std::vector<std::string> page = head();
    const std::size_t room = view_.rows > page.size() + 1 ? view_.rows - page.size() - 1 : 0;
    const std::vector<Section> all = sections();
    const std::vector<std::size_t> rows = rows_for(all, room);
    for (std::size_t i = 0; i < all.size(); ++i) append(page, all[i], rows[i]);
    page.resize(std::max<std::size_t>(view_.rows, 1) - 1);
    page.push_back(keys());
    return page;
  }

 private:
  std::string fit(std::string_view text) const { return cut_to(text, view_.columns); }

  std::vector<std::string> head() const {
    std::vector<std::string> lines{title()};
    const ordered_json& limits = now_.at("limits");
    const auto add_bar = [&](std::string_view name, const char* value, const char* limit,
                             const std::string& more) {
      const std::string said =
          fmt::format(" {} of {}{}", whole_of(now_, value), whole_of(limits, limit), more);
      const std::size_t used = label_columns + 2 + columns_of(said);
      const std::size_t width =
          view_.columns > used ? std::min<std::size_t>(view_.columns - used, 60) : 0;
      lines.push_back(
          fit(fmt::format("{:<{}}[{}]{}", name, label_columns,
                          filled(whole_of(now_, value), whole_of(limits, limit), width), said)));
    };
    const std::uint64_t orphans = whole_of(now_, "workers_without_client");
    add_bar("workers", "active_workers", "workers",
            orphans > 0 ? fmt::format(", {} orphaned", orphans) : "");
    add_bar("queue", "queue_size", "queue_size", by_priority());
    add_bar("connections", "connections", "connections", "");
    lines.push_back(times("wait", "wait_time_ms"));
    lines.push_back(times("upstream", "process_time_ms"));
    lines.push_back(spark("requests/s", Series::requests));
    lines.push_back(spark("processed/s", Series::processed));
    lines.push_back(spark("refused/s", Series::refused));
    lines.push_back(spark("failed/s", Series::failed));
    return lines;
  }

  std::string title() const {
    if (!history_.trouble().empty())
      return painted("1;37;41", fit(fmt::format("no answer for {}: {}",
                                                duration_text(static_cast<std::uint64_t>(
                                                    std::max(history_.seconds_of_trouble(), 0.0))),
                                                conf::printable(history_.trouble()))));
    const std::string state = text_of(now_.at("status"));
    const std::string rest = fmt::format(
        "  up {}{}  {}  classgate {}", duration_text(whole_of(now_, "uptime_seconds")),
        history_.restarts() > 0 ? fmt::format(" (restarted {}x)", history_.restarts()) : "",
        text_of(now_.at("last_updated")), text_of(now_.at("version")));
    const std::string shown = cut_to(state, view_.columns);
    return painted(colour_of_state(state), shown) + cut_to(rest, view_.columns - columns_of(shown));
  }

  std::string by_priority() const {
    std::string text;
    for (const auto& [priority, waiting] : now_.at("queue_by_priority").items())
      if (const auto count = waiting.get<std::uint64_t>(); count > 0)
        text +=
            fmt::format("{}p{} {}", text.empty() ? ": " : ", ", conf::printable(priority), count);
    return text;
  }

  std::string times(std::string_view name, const char* key) const {
    const ordered_json& all = now_.at(key);
    const auto of = [&](const char* quantile) {
      return short_number(all.at(quantile).get<double>());
    };
    return fit(fmt::format("{:<{}}p50 {}, p95 {}, p99 {} ms", name, label_columns, of("p50"),
                           of("p95"), of("p99")));
  }

  std::string spark(std::string_view name, Series series) const {
    const std::optional<double> last = history_.last(series);
    const std::string said = fmt::format("{:<{}}{:>7} ", name, label_columns,
                                         last ? short_number(*last) : std::string("-"));
    const std::size_t room =
        view_.columns > columns_of(said) ? view_.columns - columns_of(said) : 0;
    const std::size_t width = std::min(room, WatchHistory::seconds_kept);
    const bool is_bad = series == Series::refused || series == Series::failed;
    return fit(said) +
           painted(is_bad ? "33" : "32", sparkline(history_.of(series), width, view_.in_utf8));
  }

  std::vector<Section> sections() const {
    std::vector<Section> all;
    all.push_back({"refused and failed           a second       in all", refusals()});
    all.push_back({"servers                  5xx a second", servers()});
    if (now_.contains("top_clients"))
      all.push_back({"clients      workers waiting   tokens  plan         name", clients()});
    all.push_back({"conf", notes()});
    return all;
  }

  std::vector<std::string> refusals() const {
    std::vector<Row> rows;
    for (const char* table : {"rejected_by_reason", "failed_by_reason"})
      for (const auto& [reason, count] : now_.at(table).items()) {
        const double rate = history_.rate_of(table, reason);
        const std::string name = conf::printable(reason);
        rows.push_back({rate, count.get<double>(), name,
                        fmt::format("  {:<24} {:>10} {:>12}", cut_to(name, 24), short_number(rate),
                                    count.get<std::uint64_t>())});
      }
    return sorted_lines(std::move(rows), view_.sort);
  }

  std::vector<std::string> servers() const {
    std::vector<Row> rows;
    for (const auto& [server, state] : now_.at("upstream").items()) {
      const double rate = history_.rate_of("upstream_answers", server);
      const std::string name = conf::printable(server);
      rows.push_back({rate, 0, name,
                      fmt::format("  {:<24} {:>10}  {}", cut_to(name, 24), short_number(rate),
                                  text_of(state))});
    }
    return sorted_lines(std::move(rows), view_.sort);
  }

  // By rate: who has most now, as the gateway lists them. In all: who has fewest tokens left.
  std::vector<std::string> clients() const {
    std::vector<Row> rows;
    for (const ordered_json& client : now_.at("top_clients")) {
      const auto said = [&](const char* key) {
        return client.at(key).is_null() ? std::string("-") : text_of(client.at(key));
      };
      const ordered_json& tokens = client.at("tokens");
      const std::uint64_t workers = whole_of(client, "active_workers");
      const std::uint64_t waiting = whole_of(client, "waiting");
      const std::string name = said("name") == "-" ? said("id") : said("name");
      rows.push_back(
          {static_cast<double>(workers + waiting), tokens.is_null() ? 0 : -tokens.get<double>(),
           name,
           fmt::format("{:<12} {:>7} {:>7} {:>8}  {}  {}", cut_to(said("id"), 12), workers, waiting,
                       tokens.is_null() ? std::string("-") : short_number(tokens.get<double>()),
                       padded(said("plan"), 11),
                       said("name") == "-" ? said("address") : said("name"))});
    }
    return sorted_lines(std::move(rows), view_.sort);
  }

  std::vector<std::string> notes() const {
    const ordered_json& conf = now_.at("conf");
    std::vector<std::string> lines;
    for (const auto& [key, value] : conf.at("set_at_run_time").items())
      lines.push_back(fmt::format("  set at run time: {} = {}, until the next reload",
                                  conf::printable(key), text_of(value)));
    if (conf.at("last_reload_failed").get<bool>())
      lines.push_back("  the last reload was refused: " + text_of(conf.at("last_reload_error")));
    return lines;
  }

  static std::string padded(const std::string& text, std::size_t columns) {
    const std::string shown = cut_to(text, columns);
    return shown + std::string(columns - std::min(columns, columns_of(shown)), ' ');
  }

  void append(std::vector<std::string>& page, const Section& section, std::size_t rows) const {
    if (rows < 2) return;
    const std::size_t hidden = section.lines.size() - std::min(section.lines.size(), rows - 1);
    std::string title = section.title;
    if (hidden > 0) title += fmt::format("  ({} more)", hidden);
    page.push_back(painted("1", fit(title)));
    for (std::size_t i = 0; i + 1 < rows; ++i) page.push_back(fit(section.lines[i]));
  }

  std::string keys() const {
    static constexpr std::array sorts{"rate", "total", "name"};
    const std::string text =
        fmt::format("q quit  p {}  s sort: {}  c clients", view_.is_paused ? "go on" : "pause",
                    sorts[static_cast<std::size_t>(view_.sort)]);
    return painted("7", fit(view_.is_paused ? "PAUSED  " + text : text));
  }

  static constexpr std::size_t label_columns = 13;
  const WatchHistory& history_;
  const WatchView& view_;
  const ordered_json& now_;
};

}  // namespace

// ---- What is known -----------------------------------------------------------------------------

void WatchHistory::add(std::string_view health, double seconds) {
  ordered_json next = ordered_json::parse(health);
  const std::uint64_t up = whole_of(next, "uptime_seconds");
  const double total = next.at("total_requests").get<double>();
  for (const char* key : {"processed_requests", "rejected_requests", "failed_requests",
                          "active_workers", "queue_size"})
    whole_of(next, key);
  const bool is_first = now_.is_null();
  // A process that took over may have been up for longer than anybody looked.
  const bool is_another = !is_first && (up < whole_of(now_, "uptime_seconds") ||
                                        total < now_.at("total_requests").get<double>());
  if (is_another) ++restarts_;
  before_ = std::exchange(now_, std::move(next));
  has_rates_ = !is_first && !is_another && seconds > 0;
  seconds_ = seconds + seconds_of_trouble_;
  trouble_.clear();
  seconds_of_trouble_ = 0;
  if (is_first) return;
  const auto rate = [this](const char* key) {
    return has_rates_ ? std::optional(per_second(key)) : std::nullopt;
  };
  push({rate("total_requests"), rate("processed_requests"), rate("rejected_requests"),
        rate("failed_requests"), now_.at("active_workers").get<double>(),
        now_.at("queue_size").get<double>()});
}

void WatchHistory::add_trouble(std::string why, double seconds) {
  trouble_ = std::move(why);
  seconds_of_trouble_ += seconds;
  push({});
}

void WatchHistory::push(const std::array<std::optional<double>, series_count>& values) {
  for (std::size_t i = 0; i < series_count; ++i) {
    series_[i].push_back(values[i]);
    if (series_[i].size() > seconds_kept) series_[i].pop_front();
  }
}

double WatchHistory::per_second(const char* key) const {
  const double more = now_.at(key).get<double>() - before_.at(key).get<double>();
  return seconds_ > 0 ? std::max(more, 0.0) / seconds_ : 0;
}

double WatchHistory::rate_of(const char* table, const std::string& word) const {
  if (!has_rates_ || seconds_ <= 0) return 0;
  const auto count_in = [&](const ordered_json& health) -> double {
    const ordered_json& all = health.at(table);
    const auto found = all.find(word);
    if (found == all.end()) return 0;
    return found->is_object() ? found->value("5xx", 0.0) : found->get<double>();
  };
  return std::max(count_in(now_) - count_in(before_), 0.0) / seconds_;
}

// ---- How it is shown ---------------------------------------------------------------------------

WatchView::Sort next_sort(WatchView::Sort sort) {
  return sort == WatchView::Sort::name
             ? WatchView::Sort::rate
             : static_cast<WatchView::Sort>(static_cast<std::uint8_t>(sort) + 1);
}

std::vector<std::string> watch_page(const WatchHistory& history, const WatchView& view) {
  return WatchPage(history, view).lines();
}

std::string watch_line(const WatchHistory& history) {
  const ordered_json& now = history.now();
  const auto rate = [&](Series series) {
    const auto last = history.last(series);
    return last ? fmt::format("{:.1f}", *last) : std::string("-");
  };
  const ordered_json& limits = now.at("limits");
  return fmt::format(
      "time={} status={} requests_per_second={} processed_per_second={} refused_per_second={} "
      "failed_per_second={} workers={} workers_limit={} queue={} queue_limit={} wait_p95_ms={} "
      "upstream_p95_ms={}\n",
      text_of(now.at("last_updated")), text_of(now.at("status")), rate(Series::requests),
      rate(Series::processed), rate(Series::refused), rate(Series::failed),
      whole_of(now, "active_workers"), whole_of(limits, "workers"), whole_of(now, "queue_size"),
      whole_of(limits, "queue_size"), now.at("wait_time_ms").at("p95").get<double>(),
      now.at("process_time_ms").at("p95").get<double>());
}

namespace {

// Unicode's East Asian Width W and F, and emoji, in blocks: what is one column may be counted as
// two, which leaves a gap and breaks nothing.
bool is_wide(std::uint32_t code) {
  return (code >= 0x1100 && code <= 0x115f) || (code >= 0x2e80 && code <= 0xa4cf) ||
         (code >= 0xa960 && code <= 0xa97f) || (code >= 0xac00 && code <= 0xd7a3) ||
         (code >= 0xf900 && code <= 0xfaff) || (code >= 0xfe10 && code <= 0xfe6f) ||
         (code >= 0xff00 && code <= 0xffe6) || (code >= 0x1f000 && code <= 0x1faff) ||
         (code >= 0x20000 && code <= 0x3fffd) || (code >= 0x2300 && code <= 0x27ff);
}

}  // namespace

std::size_t columns_of(std::string_view text) {
  std::size_t columns = 0;
  while (!text.empty()) {
    const conf::Character one = conf::first_character(text);
    columns += one.size > 0 && is_wide(one.code) ? 2 : 1;
    text.remove_prefix(std::max<std::size_t>(one.size, 1));
  }
  return columns;
}

std::string cut_to(std::string_view text, std::size_t columns) {
  if (columns_of(text) <= columns) return std::string(text);
  const std::size_t dots = columns > 6 ? 3 : 0;
  std::size_t bytes = 0;
  for (std::size_t used = 0; bytes < text.size();) {
    const conf::Character one = conf::first_character(text.substr(bytes));
    used += one.size > 0 && is_wide(one.code) ? 2 : 1;
    if (used + dots > columns) break;
    bytes += std::max<std::size_t>(one.size, 1);
  }
  return std::string(text.substr(0, bytes)) + std::string(dots, '.');
}

}  // namespace classgate::gateway
