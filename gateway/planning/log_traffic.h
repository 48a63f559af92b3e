#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "admission/route_table.h"
#include "admission/simulation/draw.h"
#include "gateway/planning/access_entry.h"
#include "gateway/planning/client_plans.h"
#include "gateway/planning/line_file.h"
#include "gateway/planning/line_order.h"
#include "gateway/planning/log_format.h"
#include "gateway/planning/log_prefix.h"
#include "gateway/planning/log_questions.h"
#include "gateway/planning/named_traffic.h"
#include "gateway/planning/service_times.h"
#include "gateway/planning/thinned_log.h"
#include "gateway/planning/wish_order.h"

namespace classgate::planning {

struct LogOptions {
  std::shared_ptr<const LogFile> file;
  const LogFormat* format = nullptr;
  // Goes on whatever share of them is malformed, with what could be read of a damaged file, and
  // without the lines that are out of order.
  bool keeps_bad_lines = false;
  enum class Service : std::uint8_t { recorded, fitted, model };
  Service service = Service::recorded;
  conf::UpstreamModel model = {};  // Service::model
  std::uint64_t seed = 1;
};

// An access log as traffic. Its lines stand in the order in which requests ended (LineOrder): they
// are put into the order in which they arrived, within a window as long as a request may take.
// Streamed: memory grows with that window and with the number of clients.
class LogTraffic final : public NamedTraffic {
 public:
  static std::expected<std::unique_ptr<LogTraffic>, std::string> open(
      const LogOptions& options, const conf::Settings& settings);

  bool next(simulation::Wish& wish) override;
  std::string group_kind() const override { return "route"; }
  std::string group_name(std::uint32_t group) const override { return group_names_[group]; }
  std::string client_name(std::uint32_t client) const override;
  double progress() const override;
  std::vector<std::string> remarks() const override;
  std::optional<std::chrono::system_clock::time_point> began() const override;
  std::string complaint() const override;

  // From now on it remembers what was asked: for those who ask it for real.
  void keep_questions() { keeps_questions_ = true; }
  // Empty: there were too many to remember.
  LogQuestions::Asked asked_by(const simulation::Wish& wish) const {
    return questions_.asked_by(wish.number);
  }

 private:
  LogTraffic(LogOptions options, LineFile file, const conf::Settings& settings)
      : options_(std::move(options)),
        file_(std::move(file)),
        routes_(settings.routes),
        plans_(settings),
        thinned_(settings.log),
        line_order_(options_.format->is_ours),
        reader_(options_.format->make()),
        chance_{{options_.seed, 1}, {options_.seed, 2}, {options_.seed, 3}} {}

  std::expected<void, std::string> look_ahead();
  bool is_near(const AccessEntry& entry);
  std::string what_is_missing() const;
  std::string what_is_doubtful() const;
  std::string what_the_conf_needs() const;
  std::string what_is_thinned() const;
  void set_client(simulation::Wish& wish, const AccessEntry& entry);
  bool read_one();
  bool is_in_order(const AccessEntry& entry, std::string_view line);
  void add(const AccessEntry& entry);
  Time arrival_in(const AccessEntry& entry);
  void set_service(simulation::Wish& wish, const AccessEntry& entry, const std::string& route);
  void draw_service(simulation::Wish& wish, const std::string& route);
  std::uint32_t group_of(const admission::Route& route);
  std::uint32_t client_of(std::string_view name);
  std::string damage() const;
  void note_bad(std::string_view line, const std::string& why);

  LogOptions options_;
  LineFile file_;
  admission::RouteTable routes_;
  ClientPlans plans_;
  ThinnedLog thinned_;
  LineOrder line_order_;
  std::unique_ptr<LineReader> reader_;
  LogPrefix prefix_;
  ServiceTimes services_;
  struct Chance {  // each of its own, so that one does not move the others
    simulation::Random services;
    simulation::Random failures;
    simulation::Random seconds;
  } chance_;

  // Wishes that may still be overtaken by lines to come.
  WishOrder order_;
  std::int64_t first_ns_ = -1;  // the arrival that counts as the beginning
  std::int64_t first_line_ns_ = -1;
  std::int64_t latest_ns_ = 0;  // end of the latest line
  static constexpr Duration window_least = std::chrono::seconds(60);
  Duration window_ = window_least;
  Time handed_out_{};
  bool is_at_end_ = false;

  std::vector<std::string> group_names_;
  std::vector<std::uint32_t> group_of_route_;
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const {
      return std::hash<std::string_view>{}(text);
    }
  };
  using Numbers = std::unordered_map<std::string, std::uint32_t, Hash, std::equal_to<>>;
  Numbers clients_;
  bool keeps_questions_ = false;
  LogQuestions questions_;
  std::vector<std::string> client_names_;
  std::vector<admission::PlanId> plan_of_client_;  // of the latest line that told it

  struct Counts {
    std::uint64_t lines = 0;
    std::uint64_t skipped = 0;  // operators' requests, and those refused for what they were
    std::uint64_t late = 0;
    std::uint64_t untold = 0;          // of the requests, those whose service time is not told,
    std::uint64_t totals = 0;          // or only with what their clients took
    std::uint64_t to_the_second = 0;   // those whose time is told in whole seconds
    std::uint64_t without_bytes = 0;   // those whose size is not told
    std::uint64_t without_id = 0;      // whose client is told by its address, where that won't do
    std::uint64_t without_plan = 0;    // whose plan is not told, where there are any
    std::uint64_t of_other_plans = 0;  // whose plan the conf does not have
    std::string other_plan;            // the first of these
    std::uint64_t refused_by_service = 0;  // 429 and 503 that the service said itself
    std::uint64_t rolled_up = 0;           // refusals that stood in lines for many
    std::uint64_t rolled_up_lines = 0;
    std::uint64_t requests = 0;      // that could be made again
    std::uint64_t without_path = 0;  // of those in such lines, more: of which route is not known
    std::uint64_t bad = 0;
    std::uint64_t out_of_order = 0;  // lines that were left out for it
    std::vector<std::string> first_bad;
  } counts_;
};

}  // namespace classgate::planning
