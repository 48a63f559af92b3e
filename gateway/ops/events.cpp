#include "gateway/ops/events.h"

#include <algorithm>
#include <charconv>
#include <map>

#include "admission/measure/units.h"
#include "conf/format.h"
#include "gateway/health_json.h"
#include "gateway/health_report.h"
#include "gateway/json_text.h"
#include "gateway/ops/verdict.h"
#include "gateway/wall_time.h"

namespace classgate::gateway {
namespace {

using nlohmann::ordered_json;
using namespace std::chrono_literals;

constexpr auto interval = 1s;
// Without an id: whoever comes again says which event he had last, and this is none of them.
constexpr std::string_view told_to_go = "event: displaced\ndata: {}\n\n";
constexpr std::uint64_t servers_every = 5;  // seconds: what they answered, of which there is much
constexpr auto shown_fields = {"status",
                               "total_requests",
                               "processed_requests",
                               "failed_requests",
                               "rejected_requests",
                               "abandoned_requests",
                               "queue_size",
                               "active_workers",
                               "workers_without_client",
                               "streams",
                               "wait_time_ms",
                               "process_time_ms",
                               "rejected_by_reason",
                               "failed_by_reason",
                               "queue_by_priority",
                               "limits",
                               "upstream",
                               "connections",
                               "conf",
                               "version"};

std::string one_line(const ordered_json& json) {
  return json.dump(-1, ' ', true, ordered_json::error_handler_t::replace);
}

// What `now` says otherwise than `before`.
ordered_json difference(const ordered_json& before, const ordered_json& now) {
  ordered_json changed = ordered_json::object();
  for (const auto& [pointer, value] : now.items())
    if (const auto known = before.find(pointer); known == before.end() || *known != value)
      changed[pointer] = value;
  for (const auto& [pointer, value] : before.items())
    if (!now.contains(pointer)) changed[pointer] = nullptr;
  return changed;
}

}  // namespace

Events::Events(proxy::net::Loop& loop, const Server& server, OperatorServer& operators)
    : server_(server),
      operators_(operators),
      timer_(loop, [this] { on_tick(); }),
      epoch_(fmt::format("{:x}", std::chrono::system_clock::now().time_since_epoch().count())) {}

// False: nobody has more than the newcomer would have.
bool Events::make_room(const Party& party) {
  std::erase_if(viewers_, [&](const Viewer& one) { return !operators_.has(one.connection); });
  const std::size_t most = server_.settings().ops.viewers_max;
  if (viewers_.size() < most) return true;
  if (most == 0) return false;
  std::map<Party, std::size_t> places;
  for (const Viewer& viewer : viewers_) ++places[viewer.party];
  const std::size_t own = places[party];
  const auto& [greediest, count] =
      *std::ranges::max_element(places, {}, [](const auto& one) { return one.second; });
  if (own == 0 && count < 2) return false;
  const Party& from = count >= own + 2 ? greediest : party;
  const auto gives_way = std::ranges::find(viewers_, from, &Viewer::party);
  operators_.send(gives_way->connection, told_to_go);
  operators_.close(gives_way->connection);
  viewers_.erase(gives_way);
  return true;
}

void Events::add_viewer(const Desk::Request& request, const Party& party,
                        const Desk::Responder& answer) {
  if (request.method != "HEAD" && !make_room(party))
    return answer({.status = 503,
                   .content_type = "application/json",
                   .body = json_text(
                       ordered_json{{"error", "as many watch as may at once (ops.viewers_max)"}}),
                   .fields = "Retry-After: 30\r\n"});
  wake();
  const auto had = number_in(request.last_event_id);
  const bool is_known =
      had && *had <= number_ && !kept_.empty() && *had + 1 >= kept_.front().number;
  if (request.method != "HEAD") viewers_.push_back({request.connection, number_, party});
  answer({.content_type = "text/event-stream",
          .body = "retry: 2000\n\n" + (is_known ? missed_since(*had) : all()),
          .fields = "X-Accel-Buffering: no\r\n",
          .goes_on = true});
}

OperatorServer::Reply Events::recent() {
  wake();
  ordered_json rows = ordered_json::array();
  for (const std::vector<double>& row : recent_) rows.push_back(row);
  return {.content_type = "application/json",
          .body = one_line({{"columns",
                             {"time", "requests", "served", "refused", "failed", "waiting",
                              "active_workers", "wait_p95_ms"}},
                            {"rows", rows}}) +
                  "\n"};
}

void Events::wake() {
  asked_at_ = std::chrono::steady_clock::now();
  if (is_awake_) return;
  is_awake_ = true;
  // Of the time in which nobody looked nothing is known.
  recent_.clear();
  kept_.clear();
  status_.clear();
  look();
  timer_.start(interval);
}

void Events::on_tick() {
  const auto now = std::chrono::steady_clock::now();
  if (!viewers_.empty()) asked_at_ = now;
  if (now - asked_at_ > linger_time) {
    is_awake_ = false;
    return;
  }
  timer_.start(interval);
  look();
  for (Viewer& viewer : viewers_) send_to(viewer);
  std::erase_if(viewers_, [](const Viewer& viewer) { return viewer.connection == 0; });
}

void Events::look() {
  const auto now = std::chrono::system_clock::now();
  const HealthReport report = report_health(
      server_.shared(), server_.policy(), std::chrono::steady_clock::now(), Asker::operator_of_it);
  const ordered_json health = health_json(report, Asker::operator_of_it);
  ordered_json picked = ordered_json::object();
  for (const char* const field : shown_fields) picked[field] = health.at(field);
  const std::string status(word_of(report.status));
  if (status != status_) {
    status_since_ = status_.empty() ? std::string() : wall_time_text(now);
    status_ = status;
  }
  picked["verdict"] = verdict_of(report);
  picked["status_since"] = status_since_;
  const auto seconds =
      std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch());
  picked["time"] = static_cast<double>(seconds.count()) / 1000;
  picked["started"] =
      std::chrono::duration_cast<std::chrono::seconds>((now - report.uptime).time_since_epoch())
          .count();
  ordered_json flat = picked.flatten();
  const ordered_json answers =
      ordered_json{{"upstream_answers", health.at("upstream_answers")}}.flatten();
  const bool has_servers_turn = now_.is_null() || number_ % servers_every == 0;
  const ordered_json& source = has_servers_turn ? answers : now_;
  for (const auto& [pointer, value] : source.items())
    if (pointer.starts_with("/upstream_answers")) flat[pointer] = value;
  ++number_;
  if (now_.is_object()) {
    kept_.push_back({number_, event_text("change", difference(now_, flat))});
    if (kept_.size() > kept_max) kept_.pop_front();
  }
  now_ = std::move(flat);
  const admission::Snapshot& all = report.admission;
  recent_.push_back({static_cast<double>(seconds.count()) / 1000, static_cast<double>(all.total),
                     static_cast<double>(all.processed),
                     static_cast<double>(admission::sum(all.rejected)),
                     static_cast<double>(admission::sum(all.failed)),
                     static_cast<double>(all.waiting), static_cast<double>(all.active_workers),
                     measure::in_rounded_ms(measure::to_three_digits(all.wait.p95))});
  if (recent_.size() > recent_max) recent_.pop_front();
}

void Events::send_to(Viewer& viewer) {
  const bool missed_too_much = kept_.empty() || viewer.has + 1 < kept_.front().number;
  const std::string text = missed_too_much ? all() : missed_since(viewer.has);
  switch (operators_.send(viewer.connection, text)) {
    case OperatorServer::Sent::sent: viewer.has = number_; return;
    case OperatorServer::Sent::not_now: return;
    case OperatorServer::Sent::gone: viewer.connection = 0; return;
  }
}

// Of an event of this process; nothing: of another one, or no id.
std::optional<std::uint64_t> Events::number_in(std::string_view id) const {
  if (!id.starts_with(epoch_) || !id.substr(epoch_.size()).starts_with('-')) return std::nullopt;
  id.remove_prefix(epoch_.size() + 1);
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(id.data(), id.data() + id.size(), number);
  if (error != std::errc{} || end != id.data() + id.size()) return std::nullopt;
  return number;
}

std::string Events::event_text(std::string_view kind, const ordered_json& json) const {
  return fmt::format("id: {}-{}\nevent: {}\ndata: {}\n\n", epoch_, number_, kind, one_line(json));
}

std::string Events::all() const { return event_text("all", now_); }

std::string Events::missed_since(std::uint64_t number) const {
  std::string text;
  for (const Event& event : kept_)
    if (event.number > number) text += event.text;
  return text;
}

}  // namespace classgate::gateway
