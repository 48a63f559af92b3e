#include "gateway/planning/load.h"

#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <nlohmann/json.hpp>

#include "admission/measure/units.h"
#include "conf/format.h"
#include "conf/printable.h"
#include "conf/units.h"
#include "gateway/planning/conf_source.h"
#include "gateway/planning/knee_finder.h"
#include "gateway/planning/log_traffic.h"
#include "gateway/planning/output.h"
#include "gateway/planning/progress.h"
#include "gateway/planning/question.h"
#include "gateway/planning/request_lines.h"
#include "gateway/planning/result_json.h"
#include "gateway/planning/told.h"

namespace classgate::planning {
namespace {

using nlohmann::ordered_json;
using simulation::Group;
using simulation::Tally;

bool is_loopback(const conf::IpAddress& ip) {
  return ip.text().starts_with("127.") || ip.text() == "::1";
}

std::expected<LoadOptions, std::string> read_target(const conf::PlanningOptions& options) {
  if (options.to.empty())
    return std::unexpected(std::string("name where it goes: --to http://127.0.0.1:8080"));
  const auto address = conf::parse_address(options.to);
  if (!address) return std::unexpected("--to " + address.error());
  if (address->is_http2)
    return std::unexpected(std::string("--to: HTTP/2 is asked for by --h2: write http://"));
  if (address->is_tls)
    return std::unexpected(std::string("--to: TLS is not spoken here; measure without it"));
  if (address->is_service)
    return std::unexpected(std::string("--to: name a host and its port, not a service"));
  auto resolved = address->is_unix ? proxy::net::unix_address(address->host)
                                   : proxy::net::resolve(*address, false);
  if (!resolved) return std::unexpected(resolved.error());
  if (!options.anywhere && !address->is_unix && !is_loopback(resolved->ip()))
    return std::unexpected(fmt::format(
        "{} is not this machine; with --anywhere it is loaded all the same: ask whose it is first",
        options.to));
  std::string host = address->is_unix ? "localhost" : address->text;
  if (const std::size_t slashes = host.find("//"); slashes != std::string::npos)
    host = host.substr(slashes + 2);
  LoadOptions load;
  load.to = *resolved;
  load.host = host;
  load.connections_max = options.connections_max;
  load.time_max = options.seconds_max;
  load.service_time_header = options.service_time_header;
  load.tells_clients = options.forwarded_for;
  load.streams = options.http2 ? options.streams : 0;
  load.calls_grpc = !options.grpc.empty();
  return load;
}

std::string row(const std::string& name, const Group& of, double seconds) {
  const auto& latency = of.latency;
  return fmt::format(
      "{:<22}{:>9}{:>9}{:>9.1f}{:>9}{:>8}{:>8}{:>9}{:>9}{:>9}{:>9}{:>9}\n", name.substr(0, 21),
      of.arrived, of.served, static_cast<double>(of.served) / seconds, of.all_rejected(),
      of.all_failed(), of.abandoned, told_ms(latency.mean()), told_ms(latency.told(0.5)),
      told_ms(latency.told(0.95)), told_ms(latency.told(0.99)), told_ms(latency.most()));
}

std::string report(const Result& result, const OpenLoop& loop, const std::string& to) {
  const Tally& tally = loop.tally();
  const double seconds = result.seconds();
  std::string text = fmt::format(
      "{:.1f} s against {}: {} requests ({:.1f} a second), {} connections, sent {} ms late at "
      "most\nanswers count from the moment a request was due, not from when it could be sent\n\n",
      seconds, to, tally.all().arrived, static_cast<double>(tally.all().arrived) / seconds,
      loop.connections(), told_ms(loop.latest_start()));
  text += fmt::format("{:<22}{:>9}{:>9}{:>9}{:>9}{:>8}{:>8}{:>9}{:>9}{:>9}{:>9}{:>9}\n",
                      "answer in ms", "sent", "served", "a second", "rejected", "failed", "left",
                      "mean", "p50", "p95", "p99", "max");
  text += row("all", tally.all(), seconds);
  for (std::size_t i = 0; i < conf::priority_count; ++i)
    if (tally.by_priority()[i].arrived > 0)
      text += row(fmt::format("priority {}", i + 1), tally.by_priority()[i], seconds);
  for (std::uint32_t i = 0; i < tally.by_group().size(); ++i)
    text += row(fmt::format("{} {}", result.traffic->group_kind(), result.traffic->group_name(i)),
                tally.by_group()[i], seconds);
  return text + "\nanswers: " + loop.answers().by_class() + "\n";
}

ordered_json answers_json(const Answers& answers) {
  ordered_json json;
  for (int hundreds = 2; hundreds <= 5; ++hundreds)
    json[fmt::format("{}xx", hundreds)] = answers.of_class(hundreds);
  json["unanswered"] = answers.all_faults();
  for (const auto& [code, count] : answers.calls) json["grpc_status"][std::to_string(code)] = count;
  return json;
}

std::string conf_text(const Knee& knee) {
  const auto workers = static_cast<int>(std::max(1.0, std::round(knee.capacity)));
  const double rate = knee.per_second_most * 0.95;
  // Who waits for longer than a few seconds has gone: the queue holds what is served in that time.
  const auto queue = static_cast<int>(std::max(1.0, std::round(knee.per_second_most * 5)));
  return fmt::format(
      "# A conf for it\n[admission]\nworkers = {}        # what it computes at once: more would "
      "wait "
      "inside it\nqueue_size = {}     # five seconds of its work: who is behind that has gone "
      "before "
      "his turn\nrate = {:.0f}          # 95 % of what it does at most\nburst = {:.0f}         # "
      "two "
      "seconds of that\n",
      workers, queue, std::max(rate, 1.0), std::max(rate * 2, 1.0));
}

ordered_json knee_json(const Knee& knee, const std::string& to) {
  ordered_json json{{"known", knee.why_unknown.empty()}, {"input", to}};
  if (knee.capacity > 0) {
    json["capacity_least"] = knee.capacity_least;
    json["capacity_most"] = knee.capacity_most;
  }
  if (knee.why_unknown.empty()) {
    json["capacity"] = knee.capacity;
    json["per_second_most"] = knee.per_second_most;
    json["service_mean_ms"] = measure::in_rounded_ms(measure::to_three_digits(knee.service_mean));
    json["service_p95_ms"] = measure::in_rounded_ms(measure::to_three_digits(knee.service_p95));
    json["loss_when_crowded"] = knee.loss_when_crowded;
    json["method"] = knee.method;
    json["conf"] = conf_text(knee);
  } else {
    json["why_unknown"] = knee.why_unknown;
  }
  json["answers"] = answers_json(knee.answers);
  for (const Knee::Step& step : knee.steps)
    json["steps"].push_back(
        {{"at_once", step.at_once},
         {"per_second", step.per_second},
         {"median_ms", measure::in_rounded_ms(measure::to_three_digits(step.median))},
         {"answers", answers_json(step.answers)}});
  return json;
}

std::string steps_text(const Knee& knee, const std::string& to) {
  std::string text = fmt::format("{}\n\n{:>10}{:>12}{:>14}  {}\n", to, "at once", "served/s",
                                 "median ms", "answers");
  for (const Knee::Step& step : knee.steps)
    text += fmt::format("{:>10}{:>12.1f}{:>14}  {}\n", step.at_once, step.per_second,
                        told_ms(step.median), step.answers.by_class());
  return text;
}

std::string knee_text(const Knee& knee, const std::string& to) {
  std::string text = steps_text(knee, to);
  text += fmt::format(
      "\nIt computes {:.1f} requests at once, and {:.1f} a second at most; one takes {} ms on "
      "average, {} at p95.\nTold by: {}; {:.1f} to {:.1f} with 95 % confidence\n",
      knee.capacity, knee.per_second_most, told_ms(knee.service_mean), told_ms(knee.service_p95),
      knee.method, knee.capacity_least, knee.capacity_most);
  if (knee.loss_when_crowded > 0.2)
    text += fmt::format("Crowded, it does {:.0f} % less: keep to the workers below.\n",
                        knee.loss_when_crowded * 100);
  return text + "\n" + conf_text(knee);
}

// Ctrl-C ends the traffic, not the report; the second one ends all.
volatile std::sig_atomic_t is_interrupted = 0;
void on_interrupt(int /*signal*/) { is_interrupted = 1; }
void hear_interrupts() {
  struct sigaction action{};
  action.sa_handler = on_interrupt;
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  ::sigaction(SIGINT, &action, nullptr);
}

// When nothing has been answered after so long, and so many were tried, nobody is there.
constexpr Duration time_in_vain = std::chrono::seconds(3);
constexpr std::uint64_t faults_in_vain = 20;

constexpr int status_interrupted = 130;  // as shells have it: 128 and the signal

std::string why_doubled(const Question& question) {
  if (question.keys.empty() || !question.has(question.key_field)) return {};
  return fmt::format(
      "{} is the key_header of the workload, and stands in -H or --request too: leave it out in "
      "one "
      "of them",
      question.key_field);
}

int find_and_tell(const conf::PlanningOptions& options, const LoadOptions& load,
                  const GivenQuestion& given, const Scenario* scenario) {
  const conf::Law* service = nullptr;
  if (scenario != nullptr && !load.service_time_header.empty())
    service = &scenario->upstream().service;
  const Question question =
      given.over(questions_of(scenario != nullptr ? scenario->workload() : nullptr).front());
  if (const std::string why = why_doubled(question); !why.empty()) return complain(why);
  const std::string asked = fmt::format("{}: {}", options.to, describe(question));
  hear_interrupts();
  Progress progress("looking for the knee");
  const Knee knee = find_knee(load, question, service, options.seed.value_or(1),
                              [&](double share, const std::string& remark) {
                                progress.show(share, remark);
                                return is_interrupted == 0;
                              });
  progress.clear();
  if (!knee.why_unknown.empty()) {
    write(options, steps_text(knee, asked), knee_json(knee, options.to));
    const int status =
        complain(fmt::format("{}: what it can do can't be told: {}", options.to, knee.why_unknown));
    return is_interrupted != 0 ? status_interrupted : status;
  }
  return write(options, knee_text(knee, asked), knee_json(knee, options.to));
}

// Each connection is a descriptor: without them requests would fail, and the service be blamed.
std::expected<void, std::string> make_room_for(std::uint32_t connections) {
  constexpr rlim_t others = 64;  // the log, the report, epoll, standard streams
  const rlim_t needed = connections + others;
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= needed) return {};
  const rlim_t hard = limit.rlim_max;
  limit.rlim_cur = std::min(needed, hard);
  if (hard >= needed && ::setrlimit(RLIMIT_NOFILE, &limit) == 0) return {};
  return std::unexpected(fmt::format(
      "{} connections need {} descriptors, and there are {} at most (ulimit -Hn): raise that, or "
      "give --connections {} or fewer",
      connections, needed, hard, hard > others ? hard - others : 1));
}

}  // namespace

int load(const conf::CommandLine& command,
         const std::vector<std::pair<std::string, std::string>>& environment) {
  const conf::PlanningOptions& options = command.planning;
  const auto target = read_target(options);
  if (!target) return complain(target.error());
  const auto given = GivenQuestion::read(options);
  if (!given) return complain(given.error());
  if (const auto room = make_room_for(options.connections_max); !room)
    return complain(room.error());
  if (options.find_knee && options.log.empty() && options.workload.empty())
    return find_and_tell(options, *target, *given, nullptr);
  const auto conf = read_conf(command, environment);
  if (!conf) return complain(conf.error());
  const auto scenario = Scenario::open(options);
  if (!scenario) return complain(scenario.error());
  if (options.find_knee) return find_and_tell(options, *target, *given, &*scenario);
  auto traffic = scenario->traffic(conf->settings);
  if (!traffic) return complain(traffic.error());
  LoadOptions asked = *target;
  if (auto* const log = dynamic_cast<LogTraffic*>(&(*traffic)->source())) {
    log->keep_questions();
    asked.question_of = [log, &given](const simulation::Wish& wish) {
      return given->over_logged(question_of(*log, wish));
    };
  }
  std::optional<RequestLines> lines;
  if (!options.requests.empty()) {
    auto opened = request_lines(options.requests);
    if (!opened) return complain(opened.error());
    lines = std::move(*opened);
    *traffic = lines->wrap(std::move(*traffic));
  }
  std::vector<Question> groups = questions_of(scenario->workload());
  for (Question& group : groups) {
    group = given->over(std::move(group));
    if (const std::string why = why_doubled(group); !why.empty()) return complain(why);
  }
  hear_interrupts();
  Progress progress("loading");
  bool is_in_vain = false;
  const auto began = std::chrono::system_clock::now();
  OpenLoop loop(asked, std::move(groups), **traffic);
  loop.run([&](Duration now) {
    progress.show(
        std::max((*traffic)->progress(), measure::in_ms(now) / measure::in_ms(target->time_max)));
    is_in_vain = now >= time_in_vain && loop.answers().all() == 0 &&
                 loop.answers().all_faults() >= faults_in_vain;
    return is_interrupted == 0 && !is_in_vain;
  });
  progress.clear();
  Result result{.settings = conf->settings,
                .conf = options.to,
                .traffic = std::move(*traffic),
                .tally = loop.tally(),
                .end = Time{},
                .events = 0};
  ordered_json json = to_json(*scenario, result);
  json["began"] = time_text(began);  // whenever its traffic was recorded
  json["connections"] = loop.connections();
  json["answers"] = answers_json(loop.answers());
  if (is_interrupted != 0) json["cut"] = true;
  json["sent_late_ms_most"] = measure::in_rounded_ms(loop.latest_start());
  const auto written = lines ? lines->close() : std::expected<void, std::string>();
  std::string text = report(result, loop, options.to);
  if (is_interrupted != 0)
    text = fmt::format(
               "cut by an interrupt: this is what was measured until then; {} requests had "
               "no answer yet\n\n",
               loop.in_flight()) +
           text;
  const int status = write(options, text, json);
  tell_remarks(result.traffic->remarks());
  if (const std::string complaint = result.traffic->complaint();
      !complaint.empty() && is_interrupted == 0)
    return complain(complaint);
  if (!written) return complain(written.error());
  if (is_interrupted != 0) return status_interrupted;
  if (loop.answers().all() == 0 && loop.tally().all().arrived > 0)
    return complain(fmt::format("{}: {}", options.to, loop.answers().why_not_served()));
  return status;
}

}  // namespace classgate::planning
