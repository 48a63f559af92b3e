// What operators may ask and order, and what they hear.

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "conf/format.h"
#include "conf/printable.h"
#include "gateway/health.h"
#include "gateway/json_text.h"
#include "gateway/ops/client_list.h"
#include "gateway/ops/explanation.h"
#include "gateway/ops/metrics.h"
#include "gateway/ops/supervisor.h"

namespace classgate::gateway {
namespace {

using Reply = OperatorServer::Reply;
using nlohmann::ordered_json;

constexpr auto patience = std::chrono::seconds(1);  // with a loop that does not answer
constexpr std::string_view json_type = "application/json";
constexpr std::size_t clients_shown_max = 1'000;

Reply not_found(bool is_local) {
  return {.status = 404,
          .body = is_local ? "GET /status, /queue, /metrics, /livez, /readyz, /queue/health; POST "
                             "/explain, /reload, /set, /upgrade, /drain\n"
                           : "GET /metrics, /livez, /readyz, /queue/health\n"};
}

std::string lines_of(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += conf::printable(line) + "\n";
  return text;
}

// Takes the first line off a text.
std::string_view take_line(std::string_view& text) {
  const std::size_t end = std::min(text.find('\n'), text.size());
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return line;
}

double in_ms(admission::Duration duration) {
  return std::chrono::duration<double, std::milli>(duration).count();
}

std::string waiters_json(const std::vector<WaitingRequest>& waiters) {
  ordered_json list = ordered_json::array();
  const auto now = std::chrono::steady_clock::now();
  for (const WaitingRequest& waiter : waiters)
    list.push_back({{"id", waiter.id},
                    {"priority", waiter.priority},
                    {"client", waiter.client},
                    {"method", waiter.method},
                    {"path", waiter.path},
                    {"age_ms", in_ms(now - waiter.joined)},
                    {"deadline_ms", in_ms(waiter.deadline)},
                    {"cost", waiter.cost},
                    {"bytes", waiter.bytes}});
  return json_text(list);
}

}  // namespace

void Supervisor::answer(const OperatorServer::Request& request, OperatorServer::Answer answer) {
  const bool is_read = request.method == "GET" || request.method == "HEAD";
  const auto now = std::chrono::steady_clock::now();
  if (request.is_local && request.method == "POST") return obey(request, answer);
  const auto read = [&](auto make) {
    if (!is_read) return answer({.status = 405, .body = "GET or HEAD\n", .allow = "GET, HEAD"});
    answer(make());
  };
  if (request.path == "/metrics")
    return read([&]() -> Reply {
      Exposition exposition = expose_metrics(
          server_, {server_.shared().access_log.dropped_lines(), log_.dropped_lines()},
          operators_.counts(), request.accept);
      return {.content_type = exposition.content_type, .body = std::move(exposition.text)};
    });
  const auto ask = [&](auto begin) {
    if (!is_read) return answer({.status = 405, .body = "GET or HEAD\n", .allow = "GET, HEAD"});
    begin();
  };
  if (request.is_local && request.path == "/status")
    return ask([&] { tell_status_of(request, answer); });
  if (request.path == "/queue/health")
    return read([&]() -> Reply {
      Health health =
          describe_health(server_.shared(), server_.policy(), now, Asker::operator_of_it);
      return {.status = health.status, .content_type = json_type, .body = std::move(health.json)};
    });
  if (request.path == "/livez")
    return ask([&] {
      roll_.ask_turns(patience, [answer](bool every_loop) {
        if (every_loop) return answer({.body = "every event loop turns\n"});
        answer({.status = 503, .body = "an event loop does not turn\n"});
      });
    });
  if (request.path == "/readyz") return read([&] { return readiness(); });
  if (request.is_local && request.path == "/queue")
    return ask([&] {
      roll_.ask_waiters(patience, [answer](const std::vector<WaitingRequest>& waiters) {
        answer({.content_type = json_type, .body = waiters_json(waiters)});
      });
    });
  answer(not_found(request.is_local));
}

Reply Supervisor::readiness() {
  if (draining_) return {.status = 503, .body = "draining\n"};
  const proxy::Servers& servers = *server_.policy().servers;
  if (servers.none_reachable()) {
    std::string text = "no upstream server is reachable (upstream.servers)\n";
    for (std::size_t i = 0; i < servers.count(); ++i)
      if (!servers.has_address(i))
        text += conf::printable("cannot look up " + servers.name(i) + ": " +
                                servers.why_no_address(i)) +
                "\n";
    return {.status = 503, .body = std::move(text)};
  }
  std::string text = "ready\n";
  const auto now = std::chrono::steady_clock::now();
  for (std::size_t i = 0; i < servers.count(); ++i) {
    const std::string_view word = state_word(servers, i, now);
    if (word != "reachable" && word != "unknown")
      text += fmt::format("degraded: {} is {}\n", conf::printable(servers.name(i)), word);
  }
  return {.body = std::move(text)};
}

// As /queue/health; with ?clients=N also the clients that have most.
void Supervisor::tell_status_of(const OperatorServer::Request& request,
                                const OperatorServer::Answer& answer) {
  constexpr std::string_view question = "clients=";
  const auto now = std::chrono::steady_clock::now();
  const auto describe = [this, now] {
    return describe_health(server_.shared(), server_.policy(), now, Asker::operator_of_it);
  };
  if (!request.query.starts_with(question)) {
    Health health = describe();
    return answer(
        {.status = health.status, .content_type = json_type, .body = std::move(health.json)});
  }
  std::size_t most = 0;
  const char* const end = request.query.data() + request.query.size();
  const auto [stop, error] = std::from_chars(request.query.data() + question.size(), end, most);
  if (error != std::errc{} || stop != end || most > clients_shown_max)
    return answer({.status = 400, .body = fmt::format("clients=N: up to {}\n", clients_shown_max)});
  roll_.ask_waiters(
      patience, [this, answer, most, describe, now](const std::vector<WaitingRequest>& waiters) {
        const Health health = describe();
        ordered_json json = ordered_json::parse(health.json);
        json["top_clients"] =
            client_list(server_.shared().gate.top_clients(most, now), waiters, server_.policy());
        answer({.status = health.status, .content_type = json_type, .body = json_text(json)});
      });
}

// The body: a line with the address of the client, a line with the subject of its certificate or
// nothing, then the head of the request as it would come.
Reply Supervisor::explain(const OperatorServer::Request& request) {
  std::string_view rest = request.body;
  const std::string_view address_text = take_line(rest);
  const std::string_view subject = take_line(rest);
  const auto address = conf::IpAddress::parse(address_text);
  if (!address) return {.status = 400, .body = "the first line is no IP address\n"};
  const auto said =
      gateway::explain({.head = rest, .sender = *address, .tls_subject = subject}, server_.shared(),
                       server_.policy(), std::chrono::steady_clock::now());
  if (!said) return {.status = 400, .body = said.error() + "\n"};
  return {.content_type = json_type, .body = *said};
}

void Supervisor::obey(const OperatorServer::Request& request,
                      const OperatorServer::Answer& answer) {
  const auto tell = [answer](const Change& change) {
    answer({.status = change.ok ? 200 : 409, .body = lines_of(change.lines)});
  };
  if (request.path == "/explain") return answer(explain(request));
  if (request.path == "/reload") return reload(tell);
  if (request.path == "/set") {
    const std::size_t equals = request.body.find('=');
    if (equals == std::string::npos)
      return answer({.status = 400, .body = "the body is KEY=VALUE\n"});
    return set(request.body.substr(0, equals), request.body.substr(equals + 1), tell);
  }
  if (request.path == "/upgrade")
    return upgrade([answer](bool ok, const std::string& text) {
      answer({.status = ok ? 200 : 409, .body = text + "\n"});
    });
  if (request.path == "/drain") {
    if (draining_) return answer({.status = 409, .body = "draining already\n"});
    answer({.body = "draining\n"});
    return drain("classgate drain");
  }
  answer(not_found(true));
}

}  // namespace classgate::gateway
