#include "gateway/ops/api.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "conf/format.h"
#include "conf/keys.h"
#include "gateway/health_json.h"
#include "gateway/json_text.h"
#include "gateway/ops/client_list.h"
#include "gateway/ops/explanation.h"
#include "gateway/ops/forecast_report.h"
#include "gateway/ops/page.h"
#include "gateway/ops/query.h"
#include "gateway/ops/verdict.h"
#include "gateway/ops/waiters_json.h"
#include "gateway/ops/why.h"
#include "gateway/wall_time.h"

namespace classgate::gateway {
namespace {

using Reply = OperatorServer::Reply;
using nlohmann::ordered_json;

constexpr std::size_t clients_most = 1'000;

Reply as_json(const ordered_json& json, int status = 200) {
  return {.status = status, .content_type = json_type, .body = json_text(json)};
}

Reply refusal(int status, std::string_view why) {
  return as_json(ordered_json{{"error", why}}, status);
}

// A limit: what may be changed here. The rest of the conf is changed in its file.
bool is_limit(std::string_view key) {
  if (key == "admission.shadow_conf") return false;  // a file
  const conf::Key* const known = conf::find_key(key);
  if (known != nullptr && known->needs_restart) return false;
  return std::ranges::any_of(std::array{"admission.", "fairness.", "auto."},
                             [&](std::string_view table) { return key.starts_with(table); });
}

// What can stand in a head as it is.
bool is_plain(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c >= 0x20 && c != 0x7f; });
}

ordered_json changes_json(const ConfChanges& changes) {
  ordered_json list = ordered_json::array();
  for (const ConfChanges::Past& past : changes.past())
    list.push_back({{"at", wall_time_text(past.at)},
                    {"what", past.origin.what},
                    {"by", past.origin.by},
                    {"ok", past.change.ok},
                    {"lines", past.change.lines}});
  return list;
}

}  // namespace

void Api::take_its_places(Desk& desk) {
  using enum Desk::Who;
  desk.add_page("/", visitor, [](const Request&) { return the_page(); });
  desk.add_page("/api/v1/session", visitor,
                [this](const Request& request) { return session(request); });
  desk.add_page("/api/v1/health", reader, [this](const Request&) { return health(); });
  desk.add_page("/api/v1/conf", reader, [this](const Request&) { return conf(); });
  desk.add_page("/api/v1/limits", reader, [this](const Request&) { return limits(); });
  desk.add_page("/api/v1/forecast", reader, [this](const Request&) { return forecast(); });
  desk.add_page("/api/v1/explain", reader,
                [this](const Request& request) { return explain(request); });
  desk.add_page("/api/v1/recent", reader, [this](const Request&) { return of_.events.recent(); });
  desk.add_page("/api/v1/events", reader, [this](const Request& request, const auto& answer) {
    of_.events.add_viewer(request, of_.access.party_of(request, std::chrono::steady_clock::now()),
                          answer);
  });
  desk.add_page("/api/v1/queue", reader,
                [this](const Request&, const auto& answer) { tell_queue(answer); });
  desk.add_page("/api/v1/clients", reader, [this](const Request& request, const auto& answer) {
    tell_clients(request, answer);
  });
  desk.add_page("/api/v1/why", reader,
                [this](const Request& request, const auto& answer) { tell_why(request, answer); });
  usage_.take_their_places(desk);
  desk.add_order("/api/v1/login", visitor,
                 [this](const Request& request, const auto& answer) { answer(log_in(request)); });
  desk.add_order("/api/v1/logout", visitor, [this](const Request& request, const auto& answer) {
    answer(of_.access.log_out(request));
  });
  desk.add_order("/api/v1/limits", changer, [this](const Request& request, const auto& answer) {
    set_limit(request, answer);
  });
  desk.add_order("/api/v1/reload", changer,
                 [this](const Request& request, const auto& answer) { reload(request, answer); });
  desk.add_order("/api/v1/drain", changer,
                 [this](const Request&, const auto& answer) { drain(answer); });
}

Reply Api::health() const {
  const HealthReport report =
      report_health(of_.server.shared(), of_.server.policy(), std::chrono::steady_clock::now(),
                    Asker::operator_of_it);
  ordered_json json = health_json(report, Asker::operator_of_it);
  json["verdict"] = verdict_of(report);
  return as_json(json);
}

Reply Api::conf() const {
  const conf::Loaded& loaded = of_.changes.loaded();
  ordered_json values = ordered_json::array();
  for (const conf::ValueInForce& value : loaded.values) {
    const conf::Key* const key = conf::find_key(value.key);
    values.push_back({{"key", value.key},
                      {"value", value.value},
                      {"origin", value.origin},
                      {"about", key == nullptr ? "" : key->help},
                      {"needs_restart", key != nullptr && key->needs_restart},
                      {"is_limit", is_limit(value.key)}});
  }
  const ConfHistory& history = of_.server.policy().history;
  return as_json({{"values", values},
                  {"read_at", wall_time_text(history.read_at)},
                  {"reloads", history.reloads},
                  {"failed_reloads", history.failed_reloads},
                  {"last_reload_error", history.last_error},
                  {"changes", changes_json(of_.changes)}});
}

Reply Api::limits() const {
  ordered_json list = ordered_json::array();
  for (const conf::ValueInForce& value : of_.changes.loaded().values)
    if (is_limit(value.key))
      list.push_back({{"key", value.key},
                      {"value", value.value},
                      {"origin", value.origin},
                      {"about", conf::find_key(value.key)->help}});
  return as_json({{"limits", list}});
}

Reply Api::forecast() const {
  const bool is_kept = of_.server.settings().forecast.keep;
  return as_json(forecast_json(of_.forecast.report().get(), is_kept));
}

// ?client=ADDRESS&method=POST&target=/v1/classify&header=Name:+value
Reply Api::explain(const Request& request) const {
  const auto query = Query::read(request.query);
  if (!query) return refusal(400, "the query is malformed");
  const auto said = [&](std::string_view name, std::string_view otherwise) {
    const std::string_view value = query->value(name);
    return value.empty() ? otherwise : value;
  };
  const auto address = conf::IpAddress::parse(said("client", "127.0.0.1"));
  if (!address) return refusal(400, "client is no IP address");
  const std::string_view method = said("method", "POST");
  const std::string_view target = said("target", "/");
  std::string fields;
  for (const auto& [name, value] : query->all()) {
    if (!is_plain(value)) return refusal(400, "a control character stands in the query");
    if (name == "header") fields += value + "\r\n";
  }
  if (method.contains(' ') || target.contains(' '))
    return refusal(400, "a method and a target have no space");
  const std::string head =
      fmt::format("{} {} HTTP/1.1\r\nHost: classgate\r\n{}\r\n", method, target, fields);
  const auto told = gateway::explain({.head = head, .sender = *address}, of_.server.shared(),
                                     of_.server.policy(), std::chrono::steady_clock::now());
  if (!told) return refusal(400, told.error());
  return {.content_type = json_type, .body = *told};
}

Reply Api::session(const Request& request) const {
  const auto standing = of_.access.standing_of(request, std::chrono::steady_clock::now());
  const conf::OpsSettings& ops = of_.server.settings().ops;
  return as_json({{"logged_in", standing.has_session},
                  {"seconds_left", standing.left.count()},
                  {"may_log_in", !ops.token_file.empty()},
                  {"must_log_in", of_.access.wants_token_to_read(request)}});
}

// {"token": "..."}
Reply Api::log_in(const Request& request) {
  const auto body = ordered_json::parse(request.body, nullptr, false);
  if (!body.is_object() || !body.contains("token") || !body.at("token").is_string())
    return refusal(400, "the body is {\"token\": \"...\"}");
  return of_.access.log_in(request, body.at("token").get<std::string>(),
                           std::chrono::steady_clock::now());
}

void Api::tell_queue(const Desk::Responder& answer) const {
  of_.roll.ask_waiters(loop_answer_time, [answer](const std::vector<WaitingRequest>& waiters) {
    answer(as_json({{"waiting", waiters_json(waiters)}}));
  });
}

// ?top=N
void Api::tell_clients(const Request& request, const Desk::Responder& answer) const {
  const auto query = Query::read(request.query);
  const std::string_view asked = query ? query->value("top") : "?";
  std::size_t most = 20;
  const auto [end, error] = std::from_chars(asked.data(), asked.data() + asked.size(), most);
  if (!asked.empty() &&
      (error != std::errc{} || end != asked.data() + asked.size() || most > clients_most))
    return answer(refusal(400, fmt::format("top=N: up to {}", clients_most)));
  of_.roll.ask_waiters(loop_answer_time, [this, answer,
                                          most](const std::vector<WaitingRequest>& waiters) {
    const auto top = of_.server.shared().gate.top_clients(most, std::chrono::steady_clock::now());
    answer(as_json({{"clients", client_list(top, waiters, of_.server.policy())}}));
  });
}

// ?id=ID
void Api::tell_why(const Request& request, const Desk::Responder& answer) const {
  const auto query = Query::read(request.query);
  const std::string id(query ? query->value("id") : "");
  if (id.empty() || id.size() > Decision::id_max)
    return answer(refusal(400, "id=ID: the id of a request"));
  of_.roll.ask_decisions(loop_answer_time, id, [this, answer, id](const Decisions& decisions) {
    answer({.status = decisions.told.empty() ? 404 : 200,
            .content_type = json_type,
            .body = why(id, decisions, of_.server.policy())});
  });
}

ConfChanges::TellChange Api::teller_to(const Desk::Responder& answer, std::string done) const {
  return [answer, done = std::move(done)](const ConfChanges::Change& change) {
    ordered_json json{{"ok", change.ok}, {"lines", change.lines}};
    if (!change.ok) json["error"] = done + " was refused";
    answer(as_json(json, change.ok ? 200 : 409));
  };
}

// {"key": "admission.workers", "value": "40"}
void Api::set_limit(const Request& request, const Desk::Responder& answer) {
  const auto body = ordered_json::parse(request.body, nullptr, false);
  const auto text_of = [&](const char* name) -> std::string {
    if (!body.is_object() || !body.contains(name)) return {};
    const ordered_json& value = body.at(name);
    return value.is_string() ? value.get<std::string>() : value.is_number() ? value.dump() : "";
  };
  const std::string key = text_of("key");
  const std::string value = text_of("value");
  if (key.empty() || value.empty())
    return answer(refusal(400, "the body is {\"key\": \"admission.workers\", \"value\": \"40\"}"));
  if (!is_limit(key))
    return answer(refusal(400, "not one of the limits: GET /api/v1/limits tells which there are"));
  of_.changes.set(key, value, teller_to(answer, key), who_asked(request));
}

void Api::reload(const Request& request, const Desk::Responder& answer) {
  of_.changes.reload(teller_to(answer, "the reload"), {.by = who_asked(request)});
}

void Api::drain(const Desk::Responder& answer) {
  if (of_.is_draining()) return answer(refusal(409, "draining already"));
  answer(as_json({{"ok", true}, {"lines", {"draining"}}}));
  of_.drain("POST /api/v1/drain");
}

}  // namespace classgate::gateway
