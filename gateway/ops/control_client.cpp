#include "gateway/ops/control_client.h"

#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <expected>
#include <nlohmann/json.hpp>
#include <thread>
#include <utility>

#include "conf/format.h"
#include "conf/keys.h"
#include "conf/printable.h"
#include "conf/units.h"
#include "gateway/decision_ring.h"
#include "gateway/history/usage_command.h"
#include "gateway/json_text.h"
#include "gateway/ops/control_question.h"
#include "gateway/ops/explain_page.h"
#include "gateway/ops/status_page.h"
#include "gateway/ops/status_watch.h"
#include "gateway/ops/why.h"
#include "proxy/net/handles.h"

namespace classgate::gateway {
namespace {

constexpr int nobody_there = 2;
constexpr std::size_t width_of_a_file = 200;

std::size_t terminal_width() {
  winsize size{};
  return ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col
                                                                           : width_of_a_file;
}

int complain(const std::string& text) {
  conf::print(stderr, fmt::format("classgate: {}\n", text));
  return nobody_there;
}

std::string status_target(const conf::CommandLine& command) {
  return command.clients ? fmt::format("/status?clients={}", *command.clients) : "/status";
}

// Two looks, because a rate is between two moments: half a second apart.
int show_status(const std::string& path, const conf::CommandLine& command) {
  const std::string target = status_target(command);
  std::string before;
  for (std::chrono::steady_clock::time_point then{};;) {
    const auto answer = ask_control(path, "GET", target);
    if (!answer) return command.quiet ? nobody_there : complain(answer.error());
    const auto now = std::chrono::steady_clock::now();
    const int status = answer->status == 200 ? 0 : 1;
    if (command.quiet) return status;
    const double seconds = std::chrono::duration<double>(now - then).count();
    if (command.as_json)
      conf::print(stdout, answer->body);
    else if (!before.empty())
      fmt::print("{}", status_page({before, answer->body, seconds}, terminal_width(),
                                   ::isatty(STDOUT_FILENO) == 1));
    if (std::fflush(stdout) != 0)
      return complain(std::string("standard output: ") + std::strerror(errno));
    if (command.as_json || !before.empty()) return status;
    before = answer->body;
    then = now;
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
  }
}

// Of the process alone: a service that is down is no reason to start the gateway anew.
int show_life(const std::string& path, const conf::CommandLine& command) {
  const auto answer = ask_control(path, "GET", "/livez");
  if (!answer) return command.quiet ? nobody_there : complain(answer.error());
  if (!command.quiet) conf::print(stdout, answer->body);
  return answer->status == 200 ? 0 : 1;
}

int show_queue(const std::string& path, const conf::CommandLine& command) {
  const auto answer = ask_control(path, "GET", "/queue");
  if (!answer) return complain(answer.error());
  conf::print(stdout, command.as_json ? answer->body : queue_page(answer->body, terminal_width()));
  return 0;
}

int show_explanation(const std::string& path, const conf::CommandLine& command) {
  const conf::ExplainOptions& options = command.explain;
  const auto answer =
      ask_control(path, "POST", "/explain",
                  options.client + (options.listener.empty() ? "" : " " + options.listener) + "\n" +
                      options.subject + "\n" + options.san + "\n" + conf::head_of(options));
  if (!answer) return complain(answer.error());
  if (answer->status != 200) {
    conf::print(stderr, "classgate: explain: " + answer->body);
    return 1;
  }
  const auto said = nlohmann::json::parse(answer->body);
  conf::print(stdout, command.as_json ? answer->body : explain_page(answer->body));
  return said.at("verdict").at("answer") == "refused" ? 1 : 0;
}

// A request of long ago stands in the log only.
int show_why(const std::string& path, const conf::CommandLine& command) {
  const std::string& id = command.arguments[0];
  const bool is_one =
      !id.empty() && id.size() <= Decision::id_max &&
      std::ranges::all_of(id, [](char c) { return c > 0x20 && c < 0x7f && c != '#'; });
  if (!is_one) {
    conf::print(stderr, id.empty()
                            ? std::string("classgate: why: which request? Its id stands in the "
                                          "answer (X-Request-Id), in the body of a refusal and in "
                                          "the access log\n")
                            : fmt::format("classgate: why: {} is no id: one has up to {} printable "
                                          "characters and no space\n",
                                          conf::quote(id), Decision::id_max));
    return 1;
  }
  const auto answer = ask_control(path, "GET", "/why?id=" + id);
  if (!answer) return complain(answer.error());
  if (answer->status != 200 && answer->status != 404) {
    conf::print(stderr, "classgate: why: " + answer->body);
    return 1;
  }
  auto said = nlohmann::ordered_json::parse(answer->body);
  LogLines log;
  if (said.at("access_log").is_string())
    log = lines_of_id(said.at("access_log").get<std::string>(), id,
                      said.at("why_found_max").get<std::size_t>());
  if (command.as_json) {
    said["access_log_lines"] = nlohmann::ordered_json::array();
    for (const std::string& line : log.lines) said["access_log_lines"].push_back(line);
    said["access_log_lines_more"] = log.more;
    said["access_log_trouble"] = nullptr;
    if (!log.trouble.empty()) said["access_log_trouble"] = log.trouble;
    conf::print(stdout, json_text(said));
  } else {
    std::string out = why_page(answer->body);
    if (!log.lines.empty()) out += out.empty() ? "in the access log:\n" : "\nin the access log:\n";
    for (const std::string& line : log.lines) out += conf::printable(line) + "\n";
    if (log.more > 0) out += fmt::format("and {} older lines\n", log.more);
    conf::print(stdout, out);
  }
  const bool is_known = answer->status == 200 || !log.lines.empty();
  if (!log.trouble.empty() && is_known && !command.as_json)
    conf::print(stderr,
                fmt::format("classgate: why: the access log cannot be read: {}\n", log.trouble));
  if (is_known) return 0;
  if (!command.as_json)
    conf::print(stderr,
                fmt::format("classgate: why: nothing is known of {}: the last {} refusals and "
                            "failures are kept (ops.why_max), and {}\n",
                            conf::printable(id), said.at("why_max").get<std::uint64_t>(),
                            !log.trouble.empty() ? "the access log cannot be read: " + log.trouble
                            : said.at("access_log").is_string() ? "the access log has no line of it"
                                                                : "the access log is no file"));
  return 1;
}

// KEY=VALUE in one word, as others write it.
std::string why_no_change(const std::vector<std::string>& words) {
  if (words[0].empty()) return "which key? classgate --keys lists all of them";
  const std::size_t equals = words[0].find('=');
  if (equals == std::string::npos || conf::find_key(words[0].substr(0, equals)) == nullptr)
    return {};
  return fmt::format("\"{0}\" is no key: write classgate set {1} VALUE, without \"=\"", words[0],
                     words[0].substr(0, equals));
}

int order(const std::string& path, const std::string& target, const std::string& body, bool quiet) {
  const auto answer = ask_control(path, "POST", target, body);
  if (!answer) return complain(answer.error());
  if (answer->status != 200) {
    conf::print(stderr, fmt::format("{}classgate: {} refused\n", answer->body, target.substr(1)));
    return 1;
  }
  if (!quiet) conf::print(stdout, answer->body);
  return 0;
}

// Where a classgate runs it forgets: it would write again what it knows, were that only deleted
// from its file.
int forget(const std::string& path, const conf::CommandLine& command,
           const std::vector<std::pair<std::string, std::string>>& environment) {
  const std::string& client = command.arguments[0];
  if (command.usage.file.empty() && path != "off" && !is_deserted(path)) {
    const auto answer = ask_control(path, "POST", "/forget", client);
    if (!answer) return complain(answer.error());
    if (answer->status == 200) {
      if (!command.quiet) conf::print(stdout, answer->body);
      return 0;
    }
    conf::print(stderr, fmt::format("{}classgate: forget refused{}\n", answer->body,
                                    answer->status == 404 && answer->body.empty()
                                        ? ": this classgate keeps no history"
                                        : ""));
    return 1;
  }
  const auto file = usage_file_of(command, environment);
  if (!file) return complain(file.error());
  return forget_in_file(*file, client);
}

}  // namespace

std::expected<std::string, std::string> control_path(
    const conf::CommandLine& command,
    const std::vector<std::pair<std::string, std::string>>& environment) {
  if (!command.socket.empty()) return command.socket;
  auto path = conf::control_socket({command.conf_path, environment, command.overrides, {}});
  if (path) return std::move(*path);
  std::string said;
  for (const conf::Mistake& mistake : path.error())
    said += fmt::format("{}: {}\n", mistake.place, mistake.text);
  return std::unexpected(
      said +
      "where classgate listens cannot be told from this conf (ops.control): mend it, or "
      "name the socket with --socket");
}

bool is_deserted(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return false;
  path.copy(address.sun_path, path.size());
  const proxy::net::Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  return fd && ::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 &&
         (errno == ENOENT || errno == ECONNREFUSED);
}

int control(const conf::CommandLine& command,
            const std::vector<std::pair<std::string, std::string>>& environment) {
  const bool needs_none = command.command == "forget" && !command.usage.file.empty();
  const auto found = needs_none ? std::string("off") : control_path(command, environment);
  if (!found) return complain(found.error());
  const std::string& path = *found;
  if (command.command == "forget") return forget(path, command, environment);
  if (path == "off") return complain("there is no control socket (ops.control = \"off\")");
  if (command.live) return show_life(path, command);
  if (command.command == "status" && command.watch && !command.quiet)
    return watch_status(path, status_target(command), command.as_json);
  if (command.command == "status") return show_status(path, command);
  if (command.command == "queue") return show_queue(path, command);
  if (command.command == "why") return show_why(path, command);
  if (command.command == "explain") return show_explanation(path, command);
  if (command.command == "set")
    if (const std::string why = why_no_change(command.arguments); !why.empty()) {
      conf::print(stderr, fmt::format("classgate: set: {}\n", why));
      return 1;
    }
  if (command.command == "set")
    return order(path, "/set", command.arguments[0] + "=" + command.arguments[1], command.quiet);
  return order(path, "/" + command.command, {}, command.quiet);
}

}  // namespace classgate::gateway
