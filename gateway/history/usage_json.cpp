#include <nlohmann/json.hpp>

#include "conf/printable.h"
#include "conf/reason.h"
#include "gateway/history/usage_cells.h"
#include "gateway/history/usage_report.h"

namespace classgate::gateway {
namespace {

using Json = nlohmann::ordered_json;

// ASCII without control characters, whatever names hold.
std::string usage_json_text(const Json& json) {
  return json.dump(2, ' ', true, Json::error_handler_t::replace) + "\n";
}

Json usage_time_json(const UsageReport& report, std::int64_t at) {
  return at == 0 ? Json(nullptr) : Json(report.time(at));
}

// Of one where nobody waited: null.
Json quantiles_json(const history::QuantileSketch& sketch) {
  if (sketch.count() == 0) return nullptr;
  Json json{{"count", sketch.count()}};
  for (const auto& [name, q] : {std::pair("p50", 0.5), std::pair("p95", 0.95), {"p99", 0.99}})
    json[name] = *milliseconds_at(sketch, q);
  return json;
}

Json usage_row_json(const UsageReport& report, const history::UsageRow& row) {
  Json json{{"requests", row.requests}, {"items", row.cost},         {"served", row.served},
            {"refused", row.refused},   {"failed", row.failed},      {"abandoned", row.abandoned},
            {"bytes_in", row.bytes_in}, {"bytes_out", row.bytes_out}};
  json["wait_ms"] = quantiles_json(row.wait);
  json["service_ms"] = quantiles_json(row.service);
  json["first_seen"] = usage_time_json(report, row.first_seen);
  json["last_seen"] = usage_time_json(report, row.last_seen);
  json["reasons"] = Json::object();
  for (const auto& [reason, times] : row.reasons)
    if (reason < conf::reason_texts.size())
      json["reasons"][std::string(conf::reason_texts[reason].word)] = times;
  json["failed_by"] = Json::object();
  for (std::size_t i = 0; i < row.failed_by.size(); ++i)
    json["failed_by"][std::string(history::failed_by_words[i])] = row.failed_by[i];
  return json;
}

Json named(const char* what, const std::string& name, const Json& rest) {
  Json json{{what, conf::printable(name)}};
  json.update(rest);
  return json;
}

Json sessions_json(const UsageReport& report) {
  Json json = Json::array();
  for (const history::SessionRow& session : report.sessions)
    json.push_back({{"client", conf::printable(session.client)},
                    {"begun", report.time(session.begun)},
                    {"last", report.time(session.last)},
                    {"seconds", session.last - session.begun},
                    {"requests", session.requests},
                    {"ended", session.has_ended}});
  return json;
}

}  // namespace

std::string usage_json(const UsageReport& report) {
  using Question = conf::UsageOptions::Question;
  Json json{{"since", usage_time_json(report, report.since)},
            {"until", usage_time_json(report, report.until)}};
  if (report.options.question == Question::sessions) {
    json["level_seconds"] = seconds_of(report.level);
    json["users"] = Json::array();
    for (const UsersAnswer& row : report.users)
      json["users"].push_back({{"from", report.time(row.start)},
                               {"distinct", row.distinct},
                               {"active_peak", row.active_peak},
                               {"begun", row.begun},
                               {"ended", row.ended},
                               {"new", row.newcomers},
                               {"returning", row.returning}});
    json["sessions"] = sessions_json(report);
    return usage_json_text(json);
  }
  if (report.options.question == Question::client) {
    json["client"] = conf::printable(report.options.client);
    json["all"] = usage_row_json(report, report.sum);
    json["level_seconds"] = seconds_of(report.level);
    json["rows"] = Json::array();
    for (const history::UsageRow& row : report.rows)
      json["rows"].push_back(named("from", report.time(row.start), usage_row_json(report, row)));
    json["sessions"] = sessions_json(report);
    return usage_json_text(json);
  }
  const std::string& by = report.options.by;
  json["by"] = by;
  json["all"] = usage_row_json(report, report.table.all);
  json["lines"] = Json::array();
  for (const history::UsageRow& line : report.table.lines)
    json["lines"].push_back(
        named(by.c_str(), line.key,
              by == "reason" ? Json{{"requests", line.requests}} : usage_row_json(report, line)));
  json["others"] = by == "reason" ? Json{{"requests", report.table.others.requests}}
                                  : usage_row_json(report, report.table.others);
  json["others"]["of"] = report.table.keys_left;
  return usage_json_text(json);
}

}  // namespace classgate::gateway
