#include "gateway/ops/questions.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "conf/format.h"
#include "conf/printable.h"
#include "gateway/health.h"
#include "gateway/health_json.h"
#include "gateway/json_text.h"
#include "gateway/ops/client_list.h"
#include "gateway/ops/explanation.h"
#include "gateway/ops/metrics.h"
#include "gateway/ops/query.h"
#include "gateway/ops/waiters_json.h"
#include "gateway/ops/why.h"

namespace classgate::gateway {
namespace {

using Reply = OperatorServer::Reply;
using nlohmann::ordered_json;

constexpr std::size_t clients_shown_max = 1'000;

// Takes the first line off a text.
std::string_view take_line(std::string_view& text) {
  const std::size_t end = std::min(text.find('\n'), text.size());
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return line;
}

}  // namespace

void Questions::take_their_places(Desk& desk) {
  using enum Desk::Who;
  desk.add_page("/status", local,
                [this](const Desk::Request& request, const Desk::Responder& answer) {
                  tell_status(request, answer);
                });
  desk.add_page("/queue", local, [this](const Desk::Request&, const Desk::Responder& answer) {
    tell_waiters(answer);
  });
  desk.add_page("/why", local, [this](const Desk::Request& request, const Desk::Responder& answer) {
    tell_why(request, answer);
  });
  desk.add_page("/metrics", anybody,
                [this](const Desk::Request& request) { return metrics(request); });
  desk.add_page("/livez", anybody, [this](const Desk::Request&, const Desk::Responder& answer) {
    tell_turns(answer);
  });
  desk.add_page("/readyz", anybody,
                [this](const Desk::Request& request) { return readiness(request); });
  desk.add_page(health_path, anybody, [this](const Desk::Request&) { return health(); });
  desk.add_order("/explain", [this](const Desk::Request& request, const Desk::Responder& answer) {
    answer(explain(request));
  });
}

Reply Questions::metrics(const Desk::Request& request) const {
  Exposition exposition =
      expose_metrics(of_.server, of_.log.dropped_lines(), of_.operators.counts(),
                     of_.forecast.report().get(), request.accept);
  return {.content_type = exposition.content_type, .body = std::move(exposition.text)};
}

Reply Questions::health() const {
  HealthPage page = make_health_page(of_.server.shared(), of_.server.policy(),
                                     std::chrono::steady_clock::now(), Asker::operator_of_it);
  return {.status = page.status, .content_type = json_type, .body = std::move(page.json)};
}

void Questions::tell_turns(const Desk::Responder& answer) const {
  of_.roll.ask_turns(loop_answer_time, [answer](bool every_loop) {
    if (every_loop) return answer({.body = "every event loop turns\n"});
    answer({.status = 503, .body = "an event loop does not turn\n"});
  });
}

void Questions::tell_waiters(const Desk::Responder& answer) const {
  of_.roll.ask_waiters(loop_answer_time, [answer](const std::vector<WaitingRequest>& waiters) {
    answer({.content_type = json_type, .body = json_text(waiters_json(waiters))});
  });
}

// ?for=gateway asks of this process alone: whoever takes a gateway away because the model is down
// turns its honest 503, with a reason and a time, into a connection that is refused.
Reply Questions::readiness(const Desk::Request& request) const {
  const auto query = Query::read(request.query);
  const std::string_view whose = query ? query->value("for") : "?";
  if (!whose.empty() && whose != "gateway")
    return {.status = 400, .body = "/readyz?for=gateway, or /readyz for both it and the service\n"};
  if (of_.is_draining()) return {.status = 503, .body = "draining\n"};
  if (whose == "gateway") return {.body = "ready\n"};
  const proxy::Servers& servers = *of_.server.policy().servers;
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
    const ServerHealth::State state = state_of(servers, i, now);
    if (!is_well(state))
      text += fmt::format("degraded: {} is {}\n", conf::printable(servers.name(i)), word_of(state));
  }
  return {.body = std::move(text)};
}

// As /queue/health; with ?clients=N also the clients that have most.
void Questions::tell_status(const Desk::Request& request, const Desk::Responder& answer) const {
  constexpr std::string_view question = "clients=";
  if (!request.query.starts_with(question)) return answer(health());
  std::size_t most = 0;
  const char* const end = request.query.data() + request.query.size();
  const auto [stop, error] = std::from_chars(request.query.data() + question.size(), end, most);
  if (error != std::errc{} || stop != end || most > clients_shown_max)
    return answer({.status = 400, .body = fmt::format("clients=N: up to {}\n", clients_shown_max)});
  of_.roll.ask_waiters(
      loop_answer_time, [this, answer, most](const std::vector<WaitingRequest>& waiters) {
        const auto now = std::chrono::steady_clock::now();
        const HealthReport report =
            report_health(of_.server.shared(), of_.server.policy(), now, Asker::operator_of_it);
        ordered_json json = health_json(report, Asker::operator_of_it);
        json["top_clients"] = client_list(of_.server.shared().gate.top_clients(most, now), waiters,
                                          of_.server.policy());
        answer({.status = report.can_serve() ? 200 : 503,
                .content_type = json_type,
                .body = json_text(json)});
      });
}

// id=ID, as it stands in the log.
void Questions::tell_why(const Desk::Request& request, const Desk::Responder& answer) const {
  constexpr std::string_view question = "id=";
  if (!request.query.starts_with(question) || request.query.size() == question.size() ||
      request.query.size() > question.size() + Decision::id_max)
    return answer({.status = 400, .body = "/why?id=ID: the id of a request\n"});
  const std::string id = request.query.substr(question.size());
  of_.roll.ask_decisions(loop_answer_time, id, [this, answer, id](const Decisions& decisions) {
    answer({.status = decisions.told.empty() ? 404 : 200,
            .content_type = json_type,
            .body = why(id, decisions, of_.server.policy())});
  });
}

// The body: a line with the address of the client, behind which may stand that of the listener, a
// line with the subject of its certificate or nothing, a line likewise with its alternative name,
// then the head of the request as it would come.
Reply Questions::explain(const Desk::Request& request) const {
  std::string_view rest = request.body;
  std::string_view address_text = take_line(rest);
  const std::size_t space = std::min(address_text.find(' '), address_text.size());
  const ClientIdentities::Listener listener{
      std::string(address_text.substr(std::min(space + 1, address_text.size()))), 0};
  address_text = address_text.substr(0, space);
  const std::string_view subject = take_line(rest);
  const std::string_view san = take_line(rest);
  const auto address = conf::IpAddress::parse(address_text);
  if (!address) return {.status = 400, .body = "the first line is no IP address\n"};
  const auto& listen = of_.server.settings().listen;
  if (!listener.address.empty() &&
      std::ranges::find(listen, listener.address, &conf::Address::text) == listen.end())
    return {.status = 400, .body = "--listener is none of listen\n"};
  const auto said =
      gateway::explain({.head = rest,
                        .sender = *address,
                        .tls_subject = subject,
                        .tls_san = san,
                        .listener = listener.address.empty() ? nullptr : &listener},
                       of_.server.shared(), of_.server.policy(), std::chrono::steady_clock::now());
  if (!said) return {.status = 400, .body = said.error() + "\n"};
  return {.content_type = json_type, .body = *said};
}

}  // namespace classgate::gateway
